//! Fetches the next segments into a spool, in parallel, while PostgreSQL replays the last.

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures::StreamExt as _;
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
/// Stops at the first that is not in the archive: that is no error, nor is a timeline that ends. One process at a time does this for
/// a cluster; another returns at once.
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
    let window = options.window(name, size);
    spool.keep_only(system_identifier, &window)?;
    let missing = window.into_iter().filter(|name| !spool.segment(system_identifier, *name).exists());
    let missing: Vec<WalSegmentName> = missing.collect();
    let fetches = futures::stream::iter(missing).map(|name| async move {
        let path = spool.segment(system_identifier, name);
        let file = WalFileName::Segment(name);
        (name, fetch_to(repository, system_identifier, file, &path, &options.places).await)
    });
    let mut fetches = fetches.buffered(options.at_once.get()).boxed();
    let mut fetched = Vec::new();
    while let Some((name, outcome)) = fetches.next().await {
        match outcome? {
            Some(_) => fetched.push(name),
            None => break,
        }
    }
    Ok(WalPrefetchReport { busy: false, fetched })
}
