//! Reads ranges of packs. Every byte it yields is authentic.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;

use super::super::RepositoryError;
use super::super::manifest::StoredObject;
use crate::compute::ComputePool;
use crate::container::{ContainerError, KeySource, ObjectIdentity, ObjectKind, SeekableContainer};
use crate::storage::Storage;

/// The packs that one backup points into.
#[derive(Debug)]
pub(crate) struct PackReader {
    storage: Arc<dyn Storage>,
    pool: ComputePool,
    keys: Arc<dyn KeySource>,
    packs: Vec<StoredObject>,
}

impl PackReader {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        pool: ComputePool,
        keys: Arc<dyn KeySource>,
        packs: Vec<StoredObject>,
    ) -> Self {
        Self { storage, pool, keys, packs }
    }

    /// Opens the pack of this number in the manifest's table.
    pub(crate) async fn open(&self, number: u32) -> Result<OpenPackReader, RepositoryError> {
        let Some(pack) = self.packs.get(number as usize) else {
            let reason = format!("the map points into pack {number} of {}", self.packs.len());
            return Err(RepositoryError::Damaged { record: "manifest".to_owned(), reason });
        };
        let identity = ObjectIdentity::new(ObjectKind::Pack, pack.key.as_str());
        let storage = Arc::clone(&self.storage);
        let container = SeekableContainer::open_sized(
            storage,
            pack.key.clone(),
            pack.stored_bytes,
            &identity,
            self.keys.as_ref(),
            self.pool.clone(),
        );
        Ok(OpenPackReader { container: container.await? })
    }
}

/// A pack whose index has been read and checked.
#[derive(Debug)]
pub(crate) struct OpenPackReader {
    container: SeekableContainer,
}

impl OpenPackReader {
    /// Reads a range of the pack's plaintext.
    pub(crate) fn read(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes, ContainerError>> {
        self.container.read(range)
    }
}
