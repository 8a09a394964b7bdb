//! Work in flight on the pool, given back in the order in which it was queued.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::compute::ComputePool;
use crate::types::{ContentHash, ContentHasher};

/// A bounded queue of results that are being computed.
pub(super) struct Ordered<T> {
    queue: VecDeque<BoxFuture<'static, T>>,
    limit: usize,
}

impl<T> Ordered<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { queue: VecDeque::with_capacity(limit), limit }
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= self.limit
    }

    /// Adds work that has been queued on the pool; the caller saw to it that there is room.
    pub(super) fn push(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.queue.push_back(work.boxed());
    }

    /// Waits for the oldest; `None` when nothing is in flight. Nothing is lost when the wait is cancelled.
    pub(super) async fn next(&mut self) -> Option<T> {
        let value = self.queue.front_mut()?.await;
        self.queue.pop_front();
        Some(value)
    }
}

impl<T> fmt::Debug for Ordered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ordered").field("in_flight", &self.queue.len()).field("limit", &self.limit).finish()
    }
}

/// Bytes that are hashed in one go.
const HASH_BYTES: usize = 1 << 20;

/// Hashes bytes on the pool, one piece of about a mebibyte behind the caller.
pub(super) struct HashChain {
    pool: ComputePool,
    pending: Vec<Bytes>,
    pending_len: usize,
    hasher: BoxFuture<'static, ContentHasher>,
}

impl HashChain {
    pub(super) fn new(pool: ComputePool) -> Self {
        let hasher = std::future::ready(ContentHasher::new()).boxed();
        Self { pool, pending: Vec::new(), pending_len: 0, hasher }
    }

    /// Takes the next bytes; waits for the hash of earlier ones when enough has come together.
    pub(super) async fn update(&mut self, data: Bytes) {
        self.pending_len += data.len();
        self.pending.push(data);
        if self.pending_len >= HASH_BYTES {
            self.submit().await;
        }
    }

    pub(super) async fn finish(mut self) -> ContentHash {
        self.submit().await;
        self.hasher.await.finish()
    }

    async fn submit(&mut self) {
        let mut hasher = (&mut self.hasher).await;
        let pieces = std::mem::take(&mut self.pending);
        self.pending_len = 0;
        let work = move || {
            pieces.iter().for_each(|piece| hasher.update(piece));
            hasher
        };
        self.hasher = self.pool.run(work).boxed();
    }
}

impl fmt::Debug for HashChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashChain")
    }
}
