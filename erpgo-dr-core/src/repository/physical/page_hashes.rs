//! The hashes of a physical backup's pages, by which the next one knows what has changed: for each file of the map, in the
//! map's order, one hash a page and nothing else.

use bytes::{Bytes, BytesMut};

use super::super::manifest::StoredObject;
use super::super::{RepositoryError, layout};
use crate::compute::ComputePool;
use crate::container::{ContainerOptions, ContainerReader, ContainerWriter, KeySource, SealingKey};
use crate::storage::{PutOptions, Storage};
use crate::types::{BackupId, ObjectKey};

/// Bytes that are gathered before they are written.
const CHUNK: usize = 256 << 10;

/// Writes the hashes of a backup.
#[derive(Debug)]
pub(crate) struct PageHashWriter {
    object: ObjectKey,
    writer: ContainerWriter,
    gathered: BytesMut,
}

impl PageHashWriter {
    pub(crate) async fn begin(
        storage: &dyn Storage,
        pool: ComputePool,
        key: &SealingKey,
        options: &ContainerOptions,
        id: &BackupId,
    ) -> Result<Self, RepositoryError> {
        let object = layout::page_hashes(id);
        let target = storage.put(&object, &PutOptions::default()).await?;
        let writer = ContainerWriter::new(layout::identity_of(&object), key, options, pool, target)?;
        Ok(Self { object, writer, gathered: BytesMut::new() })
    }

    /// Takes the hashes of the next file.
    pub(crate) async fn push(&mut self, hashes: &[u8]) -> Result<(), RepositoryError> {
        self.gathered.extend_from_slice(hashes);
        if self.gathered.len() >= CHUNK {
            self.writer.write(self.gathered.split().freeze()).await?;
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<StoredObject, RepositoryError> {
        self.writer.write(self.gathered.freeze()).await?;
        Ok(StoredObject::new(self.object, &self.writer.finish().await?))
    }
}

/// Reads the hashes of a backup.
#[derive(Debug)]
pub(crate) struct PageHashReader {
    object: ObjectKey,
    reader: ContainerReader,
    buffer: BytesMut,
}

impl PageHashReader {
    pub(crate) async fn open(
        storage: &dyn Storage,
        pool: ComputePool,
        keys: &dyn KeySource,
        id: &BackupId,
    ) -> Result<Self, RepositoryError> {
        let object = layout::page_hashes(id);
        let stored = storage.get(&object, None).await?;
        let reader = ContainerReader::open(stored, &layout::identity_of(&object), keys, pool).await?;
        Ok(Self { object, reader, buffer: BytesMut::new() })
    }

    /// Returns the next so many bytes: the hashes of the next file.
    pub(crate) async fn next(&mut self, bytes: usize) -> Result<Bytes, RepositoryError> {
        while self.buffer.len() < bytes {
            match self.reader.next().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => {
                    let reason = "it ends before the map does".to_owned();
                    return Err(RepositoryError::Damaged { record: self.object.to_string(), reason });
                }
            }
        }
        Ok(self.buffer.split_to(bytes).freeze())
    }
}
