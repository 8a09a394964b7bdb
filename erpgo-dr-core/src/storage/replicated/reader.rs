//! Reading from the first place that can, and from the next where it breaks off.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt as _};

use super::Shared;
use crate::storage::{ByteStream, ObjectMeta, StorageError};
use crate::types::ObjectKey;

/// Opens `key` at the first place that has it.
pub(super) async fn open(
    shared: &Arc<Shared>,
    key: &ObjectKey,
    range: Option<Range<u64>>,
) -> Result<ByteStream, StorageError> {
    let mut reading = Reading { shared: Arc::clone(shared), key: key.clone(), range, next: 0, stream: None };
    reading.advance(None).await?;
    Ok(stream::unfold(Some(reading), step).boxed())
}

/// The places are tried in their order, and each once: what failed a moment ago is not the place to go back to.
struct Reading {
    shared: Arc<Shared>,
    key: ObjectKey,
    /// What is still to come; `None` for all of it.
    range: Option<Range<u64>>,
    next: usize,
    stream: Option<ByteStream>,
}

impl Reading {
    /// Goes to the next place that can deliver the rest, or fails with what says most about why none can.
    async fn advance(&mut self, failed: Option<StorageError>) -> Result<(), StorageError> {
        let mut worst = failed;
        while let Some(place) = self.shared.places.get(self.next) {
            self.next += 1;
            match place.get(&self.key, self.range.clone()).await {
                Ok(stream) => {
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(error) => {
                    tracing::debug!(key = %self.key, %error, "trying the next place");
                    // `NotFound` is believed only if every place says so.
                    let absent = |error: &StorageError| matches!(error, StorageError::NotFound { .. });
                    if worst.as_ref().is_none_or(|worst| absent(worst) && !absent(&error)) {
                        worst = Some(error);
                    }
                }
            }
        }
        Err(worst.unwrap_or_else(|| super::unreachable_place(&self.shared)))
    }
}

async fn step(reading: Option<Reading>) -> Option<(Result<bytes::Bytes, StorageError>, Option<Reading>)> {
    let mut reading = reading?;
    loop {
        match reading.stream.as_mut()?.next().await? {
            Ok(chunk) => {
                let range = reading.range.get_or_insert(0..u64::MAX);
                range.start += chunk.len() as u64;
                return Some((Ok(chunk), Some(reading)));
            }
            Err(error) => {
                tracing::warn!(key = %reading.key, %error, "a read broke off, trying the next place");
                if let Err(error) = reading.advance(Some(error)).await {
                    return Some((Err(error), None));
                }
            }
        }
    }
}

type Listing = BoxStream<'static, Result<ObjectMeta, StorageError>>;

/// Lists the primary, or the union of the secondaries where that cannot even begin.
pub(super) fn list(shared: Arc<Shared>, prefix: String) -> Listing {
    stream::once(async move {
        let mut listing = shared.primary().list(&prefix);
        match listing.next().await {
            None => {
                shared.listed_with_primary(&prefix);
                stream::empty().boxed()
            }
            Some(Ok(first)) => heed_end(shared, prefix, stream::iter([Ok(first)]).chain(listing).boxed()),
            Some(Err(error)) if shared.places.len() > 1 && !matches!(error, StorageError::Failed { .. }) => {
                tracing::warn!(%error, "the primary cannot be listed, listing the secondaries");
                shared.listed_without_primary(&prefix);
                union(&shared, &prefix)
            }
            Some(Err(error)) => stream::iter([Err(error)]).boxed(),
        }
    })
    .flatten()
    .boxed()
}

/// Remembers that the primary was listed, once that has come to its end.
fn heed_end(shared: Arc<Shared>, prefix: String, listing: Listing) -> Listing {
    stream::unfold(Some((shared, prefix, listing)), |state| async move {
        let (shared, prefix, mut listing) = state?;
        match listing.next().await {
            Some(Ok(meta)) => Some((Ok(meta), Some((shared, prefix, listing)))),
            Some(Err(error)) => Some((Err(error), None)),
            None => {
                shared.listed_with_primary(&prefix);
                None
            }
        }
    })
    .boxed()
}

/// Lists all secondaries, each key once. One that fails fails the list: a partial one would pass for the whole.
fn union(shared: &Arc<Shared>, prefix: &str) -> Listing {
    let listings: Vec<Listing> = shared.places[1..].iter().map(|place| place.list(prefix)).collect();
    let mut seen = HashSet::new();
    stream::iter(listings)
        .flatten()
        .filter(move |item| std::future::ready(item.as_ref().map_or(true, |meta| seen.insert(meta.key.clone()))))
        .boxed()
}
