//! Removes pieces of segments that have become whole.

use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::causes::chain;
use crate::ops::Result;
use crate::repository::Repository;
use crate::types::{WalFileName, WalSegmentName};

/// Pieces that are removed at once: of a segment that was stored commit by commit there are thousands.
const AT_ONCE: usize = 16;

/// Works until nobody is left to name segments. What cannot be removed now is found at the next start, or goes with the log of its time.
pub(super) async fn run(repository: &Repository, mut whole: mpsc::UnboundedReceiver<(u64, WalSegmentName)>) {
    while let Some((system, segment)) = whole.recv().await {
        if let Err(error) = forget(repository, system, segment).await {
            tracing::warn!(%segment, error = chain(&error), "pieces of a whole segment are left");
        }
    }
}

async fn forget(repository: &Repository, system: u64, segment: WalSegmentName) -> Result<()> {
    if !repository.has_wal(system, WalFileName::Segment(segment)).await? {
        return Ok(());
    }
    let pieces = repository.wal_tails(Some(system), Some(segment)).await?;
    let removals = pieces.into_iter().map(|piece| async move { repository.remove_wal_tail(&piece).await });
    let mut removals = futures::stream::iter(removals).buffer_unordered(AT_ONCE);
    while let Some(removed) = removals.next().await {
        removed?;
    }
    Ok(())
}
