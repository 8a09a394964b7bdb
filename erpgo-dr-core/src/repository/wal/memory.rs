//! A container that is gathered in memory, so that it can be created as a whole.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::Utc;

use crate::storage::{ObjectMeta, ObjectWriter, StorageError};
use crate::types::ObjectKey;

/// What a [`MemoryWriter`] was given. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered(Arc<Mutex<Vec<Bytes>>>);

impl Gathered {
    /// Returns all of it in one piece.
    pub(super) fn concat(&self) -> Bytes {
        let pieces = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
        pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole.freeze()
    }
}

/// Keeps what is written.
#[derive(Debug)]
pub(super) struct MemoryWriter {
    pub(super) key: ObjectKey,
    pub(super) gathered: Gathered,
}

#[async_trait]
impl ObjectWriter for MemoryWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError> {
        self.gathered.0.lock().unwrap_or_else(PoisonError::into_inner).push(data);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta, StorageError> {
        let pieces = self.gathered.0.lock().unwrap_or_else(PoisonError::into_inner);
        let size = pieces.iter().map(|piece| piece.len() as u64).sum();
        drop(pieces);
        Ok(ObjectMeta::new(self.key, size, Utc::now()))
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        Ok(())
    }
}
