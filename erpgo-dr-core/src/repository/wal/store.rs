//! Archiving a file: created once, and compared when it is there already.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::identity;
use super::memory::{Gathered, MemoryWriter};
use crate::container::{ContainerError, ContainerReader, ContainerWriter, SealingKey};
use crate::repository::{Repository, RepositoryError, layout};
use crate::storage::{MissedWrite, ObjectWriter, PutOptions, Storage, StorageError, StorageExt as _};
use crate::types::{ContentHash, ContentHasher, ObjectKey, WalFileName};

/// Files up to this size are sealed in memory, and created as a whole: of two hosts that push the same name, one creates it.
///
/// A larger one (segments of 128 MiB and more) is streamed. Of two hosts that push such a one at the same moment the last to
/// end wins; `create` takes whole objects only.
pub(crate) const WAL_IN_MEMORY: u64 = 64 << 20;

/// Twice the plaintext's bound: a container is never that much larger.
const SEALED_LIMIT: usize = 2 * WAL_IN_MEMORY as usize;

/// The bytes of a file that is to be archived.
pub(crate) enum WalContent {
    /// All of them.
    Whole(Bytes),
    /// A large file, as it is read.
    Stream(BoxStream<'static, std::io::Result<Bytes>>),
}

/// A file that is to be archived.
pub(crate) struct WalSource {
    pub(crate) system_identifier: u64,
    pub(crate) name: WalFileName,
    pub(crate) content: WalContent,
}

/// What came of archiving a file.
#[derive(Debug)]
pub(crate) struct WalOutcome {
    /// Whether the same file was there already.
    pub(crate) identical: bool,
    /// Bytes of the file.
    pub(crate) plaintext_bytes: u64,
    /// Bytes that are stored.
    pub(crate) stored_bytes: u64,
    /// Places behind the first that lacked it, and could not be given it.
    pub(crate) missed: Vec<MissedWrite>,
}

impl Repository {
    /// Archives a file. `places` are those of this repository, the primary first; they are looked at when the file is there already,
    /// because an earlier attempt may have ended between two of them.
    pub(crate) async fn store_wal(
        &self,
        source: WalSource,
        places: &[Arc<dyn Storage>],
    ) -> Result<WalOutcome, RepositoryError> {
        let sealing = self.sealing_key()?;
        let key = layout::wal_file(source.system_identifier, source.name);
        match source.content {
            WalContent::Whole(plain) => self.store_whole(&key, &sealing, plain, places).await,
            WalContent::Stream(chunks) => self.store_stream(&key, &sealing, chunks, places).await,
        }
    }

    async fn store_whole(
        &self,
        key: &ObjectKey,
        sealing: &SealingKey,
        plain: Bytes,
        places: &[Arc<dyn Storage>],
    ) -> Result<WalOutcome, RepositoryError> {
        let gathered = Gathered::default();
        let target = Box::new(MemoryWriter { key: key.clone(), gathered: gathered.clone() });
        let mut writer = self.wal_writer(key, sealing, target)?;
        writer.write(plain.clone()).await?;
        writer.finish().await?;
        let sealed = gathered.concat();
        let stored_bytes = sealed.len() as u64;
        let plaintext_bytes = plain.len() as u64;
        match self.storage.create(key, sealed).await {
            Ok(_) => Ok(WalOutcome { identical: false, plaintext_bytes, stored_bytes, missed: Vec::new() }),
            Err(StorageError::AlreadyExists { .. }) => {
                self.settle(key, (plaintext_bytes, ContentHash::of(&plain)), places).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn store_stream(
        &self,
        key: &ObjectKey,
        sealing: &SealingKey,
        mut chunks: BoxStream<'static, std::io::Result<Bytes>>,
        places: &[Arc<dyn Storage>],
    ) -> Result<WalOutcome, RepositoryError> {
        let present = match self.storage.head(key).await {
            Ok(_) => true,
            Err(StorageError::NotFound { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        let mut writer = match present {
            true => None,
            false => {
                let target = self.storage.put(key, &PutOptions::default()).await?;
                Some(self.wal_writer(key, sealing, target)?)
            }
        };
        let (mut hasher, mut plaintext_bytes) = (ContentHasher::new(), 0);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|source| RepositoryError::WalUnreadable { key: key.clone(), source })?;
            hasher.update(&chunk);
            plaintext_bytes += chunk.len() as u64;
            if let Some(writer) = &mut writer {
                writer.write(chunk).await?;
            }
        }
        let Some(writer) = writer else {
            return self.settle(key, (plaintext_bytes, hasher.finish()), places).await;
        };
        let stored_bytes = writer.finish().await?.stored_bytes;
        Ok(WalOutcome { identical: false, plaintext_bytes, stored_bytes, missed: Vec::new() })
    }

    pub(super) fn wal_writer(
        &self,
        key: &ObjectKey,
        sealing: &SealingKey,
        target: Box<dyn ObjectWriter>,
    ) -> Result<ContainerWriter, RepositoryError> {
        let options = self.settings.container_options(None);
        Ok(ContainerWriter::new(identity(key), sealing, &options, self.environment.pool.clone(), target)?)
    }

    /// Compares a file with the one of its name that is archived, and gives that to the places that lack it.
    async fn settle(
        &self,
        key: &ObjectKey,
        pushed: (u64, ContentHash),
        places: &[Arc<dyn Storage>],
    ) -> Result<WalOutcome, RepositoryError> {
        let primary = places.first().unwrap_or(&self.storage);
        let archived = self.archived(primary, key).await.map_err(|error| match error {
            ContainerError::Storage(error) => RepositoryError::Storage(error),
            error @ ContainerError::NoKey { .. } => error.into(),
            error => RepositoryError::WalDamaged { key: key.clone(), source: Box::new(error) },
        })?;
        if archived != pushed {
            return Err(RepositoryError::WalConflict { key: key.clone() });
        }
        let size = primary.head(key).await?.size;
        let missed = self.spread(primary, key, size, places.get(1..).unwrap_or_default()).await?;
        let (plaintext_bytes, _) = pushed;
        Ok(WalOutcome { identical: true, plaintext_bytes, stored_bytes: size, missed })
    }

    /// Reads an archived file to its end, and returns the length and hash of its plaintext.
    async fn archived(&self, place: &Arc<dyn Storage>, key: &ObjectKey) -> Result<(u64, ContentHash), ContainerError> {
        let stored = place.get(key, None).await?;
        let pool = self.environment.pool.clone();
        let reader = ContainerReader::open(stored, &identity(key), &self.keyring, pool).await?;
        let (mut hasher, mut length) = (ContentHasher::new(), 0);
        let mut chunks = reader.into_stream();
        while let Some(chunk) = chunks.try_next().await? {
            hasher.update(&chunk);
            length += chunk.len() as u64;
        }
        Ok((length, hasher.finish()))
    }

    /// Gives an object that was found good at the primary to the others that lack it.
    async fn spread(
        &self,
        primary: &Arc<dyn Storage>,
        key: &ObjectKey,
        size: u64,
        others: &[Arc<dyn Storage>],
    ) -> Result<Vec<MissedWrite>, RepositoryError> {
        let mut missed = Vec::new();
        for place in others {
            let outcome = match place.head(key).await {
                Ok(meta) if meta.size == size => continue,
                Ok(_) | Err(StorageError::NotFound { .. }) if size <= SEALED_LIMIT as u64 => {
                    let stored = primary.read(key, SEALED_LIMIT).await?;
                    place.write(key, stored, &PutOptions::default()).await.map(drop)
                }
                Ok(_) => Err(StorageError::ShortRead {
                    location: place.location(),
                    key: key.clone(),
                    expected: size,
                    found: 0,
                }),
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                let (location, key, error) = (place.location(), key.clone(), error.to_string());
                missed.push(MissedWrite { location, key, error });
            }
        }
        Ok(missed)
    }
}
