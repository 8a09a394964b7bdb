//! Fetches the next segments into a spool, in parallel, while PostgreSQL replays the last.

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures::stream::FuturesOrdered;
use futures::{FutureExt as _, StreamExt as _};
use serde::Serialize;

use super::fetch::fetch_to;
use super::spool::WalSpool;
use crate::ops::Result;
use crate::repository::Repository;
use crate::storage::Storage;
use crate::types::{WalFileName, WalSegmentName, WalSegmentSize};

/// How far a fetch runs ahead.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WalPrefetchOptions {
    /// How many segments are fetched ahead.
    pub segments: NonZeroUsize,
    /// How many at once.
    pub at_once: NonZeroUsize,
    /// The places of the repository, as for [`WalFetchOptions`](super::WalFetchOptions).
    pub places: Vec<Arc<dyn Storage>>,
}

impl WalPrefetchOptions {
    /// Fetches `segments` ahead, four at once.
    pub fn new(segments: NonZeroUsize) -> Self {
        let at_once = NonZeroUsize::MIN.saturating_add(3);
        Self { segments, at_once, places: Vec::new() }
    }

    /// Sets the places of the repository, the primary first.
    pub fn with_places(mut self, places: Vec<Arc<dyn Storage>>) -> Self {
        self.places = places;
        self
    }

    /// Names the segments that are fetched ahead when `name` has been asked for.
    pub fn window(&self, name: WalSegmentName, size: WalSegmentSize) -> Vec<WalSegmentName> {
        std::iter::successors(name.next(size), |name| name.next(size)).take(self.segments.get()).collect()
    }
}

/// What was fetched ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WalPrefetchReport {
    /// Whether another process is at it, so that nothing was done.
    pub busy: bool,
    /// The segments that were fetched.
    pub fetched: Vec<WalSegmentName>,
}

/// Fetches the segments behind `name` into the spool, and removes those that are not among them.
///
/// It goes on while what it fetched is taken away, and ends when `segments` of them wait, or at the first that is not in the archive:
/// that is no error, nor is a timeline that ends. One process at a time does this for a cluster; another returns at once.
///
/// # Errors
/// As [`wal_fetch`](super::wal_fetch()).
pub async fn wal_prefetch(
    repository: &Repository,
    spool: &WalSpool,
    (system_identifier, name, size): (u64, WalSegmentName, WalSegmentSize),
    options: &WalPrefetchOptions,
) -> Result<WalPrefetchReport> {
    let Some(_lock) = spool.lock_fetching(system_identifier)? else {
        return Ok(WalPrefetchReport { busy: true, fetched: Vec::new() });
    };
    spool.keep_only(system_identifier, &options.window(name, size))?;
    let fetch = |name: WalSegmentName| async move {
        let path = spool.segment(system_identifier, name);
        let outcome = match path.exists() {
            true => Ok(Ahead::Waits),
            false => {
                let file = WalFileName::Segment(name);
                let fetched = fetch_to(repository, system_identifier, file, &path, &options.places).await;
                fetched.map(|fetched| if fetched.is_some() { Ahead::Fetched } else { Ahead::Absent })
            }
        };
        (name, outcome)
    };
    let (mut fetches, mut fetched, mut next) = (FuturesOrdered::new(), Vec::new(), name.next(size));
    loop {
        let reached = spool.reached(system_identifier).filter(|reached| reached.timeline() == name.timeline());
        let last = options.window(reached.unwrap_or(name).max(name), size).last().copied();
        while let Some(ahead) = next.filter(|ahead| Some(*ahead) <= last && fetches.len() < options.at_once.get()) {
            fetches.push_back(fetch(ahead).boxed());
            next = ahead.next(size);
        }
        let Some((name, outcome)) = fetches.next().await else { break };
        match outcome? {
            Ahead::Waits => {}
            Ahead::Fetched => fetched.push(name),
            Ahead::Absent => break,
        }
    }
    Ok(WalPrefetchReport { busy: false, fetched })
}

/// What became of a segment.
enum Ahead {
    Waits,
    Fetched,
    Absent,
}
