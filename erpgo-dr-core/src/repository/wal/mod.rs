//! The archive of the write-ahead log: an object for each file, by cluster and timeline. It knows no server.

mod continuity;
mod memory;
mod object;
mod store;
mod tail;

pub use continuity::{SegmentGap, SegmentRange, segment_ranges};
pub use object::WalObject;

pub(crate) use store::{WAL_IN_MEMORY, WalContent, WalOutcome, WalSource};
pub(crate) use tail::{TailPiece, covered};

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;

use super::{Repository, RepositoryError, layout};
use crate::container::{ContainerError, ContainerReader, ObjectIdentity, ObjectKind, SeekableContainer};
use crate::storage::{Storage, StorageError};
use crate::types::{ObjectKey, TimelineId, WalFileName};

impl Repository {
    /// Opens an archived file for reading, from one of the places of this repository; `None` if it is not there.
    ///
    /// What the reader gives is authentic piece by piece, and whole only once it has given all.
    pub(crate) async fn open_wal(
        &self,
        place: &dyn Storage,
        system_identifier: u64,
        name: WalFileName,
    ) -> Result<Option<ContainerReader>, RepositoryError> {
        self.open_wal_object(place, &layout::wal_file(system_identifier, name)).await
    }

    async fn open_wal_object(
        &self,
        place: &dyn Storage,
        key: &ObjectKey,
    ) -> Result<Option<ContainerReader>, RepositoryError> {
        let stored = match place.get(key, None).await {
            Ok(stored) => stored,
            Err(StorageError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let pool = self.environment.pool.clone();
        match ContainerReader::open(stored, &identity(key), &self.keyring, pool).await {
            Ok(reader) => Ok(Some(reader)),
            Err(ContainerError::Storage(StorageError::NotFound { .. })) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a range of the plaintext of an archived file, cut where the file ends.
    pub(crate) async fn wal_bytes(
        &self,
        system_identifier: u64,
        name: WalFileName,
        range: Range<u64>,
    ) -> Result<Bytes, RepositoryError> {
        let key = layout::wal_file(system_identifier, name);
        let (storage, pool) = (Arc::clone(&self.storage), self.environment.pool.clone());
        let identity = identity(&key);
        let container = SeekableContainer::open(storage, key, &identity, &self.keyring, pool).await?;
        let end = range.end.min(container.plaintext_bytes());
        let mut whole = BytesMut::new();
        let mut pieces = container.read(range.start.min(end)..end);
        while let Some(piece) = pieces.try_next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Returns whether a file is archived.
    pub(crate) async fn has_wal(&self, system_identifier: u64, name: WalFileName) -> Result<bool, RepositoryError> {
        match self.storage.head(&layout::wal_file(system_identifier, name)).await {
            Ok(_) => Ok(true),
            Err(StorageError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a small archived file, as histories are; `None` if it is not there.
    pub(crate) async fn small_wal_file(
        &self,
        system_identifier: u64,
        name: WalFileName,
    ) -> Result<Option<Bytes>, RepositoryError> {
        let Some(mut reader) = self.open_wal(self.storage.as_ref(), system_identifier, name).await? else {
            return Ok(None);
        };
        let mut whole = BytesMut::new();
        while let Some(chunk) = reader.next().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(Some(whole.freeze()))
    }

    /// Lists what is archived, of one cluster or of all, in order of clusters and names.
    pub(crate) async fn wal_objects(&self, system_identifier: Option<u64>) -> Result<Vec<WalObject>, RepositoryError> {
        let folder = match system_identifier {
            Some(identifier) => layout::wal_system(identifier),
            None => layout::WAL.to_owned(),
        };
        self.list_wal(&folder).await
    }

    async fn list_wal(&self, folder: &str) -> Result<Vec<WalObject>, RepositoryError> {
        let mut found = Vec::new();
        let mut objects = self.storage.list(folder);
        while let Some(meta) = objects.try_next().await? {
            match layout::parse_wal_file(&meta.key) {
                Some((system, name)) => found.push(WalObject::new(system, name, &meta)),
                None => tracing::warn!(key = %meta.key, "no file of the write-ahead log has such a name"),
            }
        }
        found.sort_by_key(|object| (object.system_identifier, object.name));
        Ok(found)
    }

    /// Lists what is archived of one timeline, in order of names.
    pub(crate) async fn wal_of_timeline(
        &self,
        system_identifier: u64,
        timeline: TimelineId,
    ) -> Result<(Vec<WalObject>, Vec<TailPiece>), RepositoryError> {
        // The pieces first: of a segment that becomes whole meanwhile, the one or the other is seen.
        let mut tails = self.wal_tails(Some(system_identifier), None).await?;
        tails.retain(|piece| piece.segment.timeline() == timeline);
        Ok((self.list_wal(&layout::wal_timeline(system_identifier, timeline)).await?, tails))
    }

    /// Removes an archived file.
    pub(crate) async fn remove_wal(&self, object: &WalObject) -> Result<(), RepositoryError> {
        Ok(self.storage.delete(&layout::wal_file(object.system_identifier, object.name)).await?)
    }

    /// Returns whether the archive holds anything of a cluster.
    pub(crate) async fn has_wal_of(&self, system_identifier: u64) -> Result<bool, RepositoryError> {
        let (files, tails) = (layout::wal_system(system_identifier), layout::wal_tails(system_identifier));
        Ok(self.storage.list(&files).try_next().await?.is_some()
            || self.storage.list(&tails).try_next().await?.is_some())
    }

    /// Returns the clusters whose log is archived here, in order. Lists the whole archive.
    pub(crate) async fn wal_systems(&self) -> Result<Vec<u64>, RepositoryError> {
        let mut systems: Vec<u64> =
            self.wal_objects(None).await?.into_iter().map(|object| object.system_identifier).collect();
        systems.dedup();
        Ok(systems)
    }
}

/// Returns whether an object below the archive's folders has a name that one of its files can have.
pub(super) fn is_named(key: &ObjectKey) -> bool {
    layout::parse_wal_file(key).is_some() || TailPiece::parse(key).is_some()
}

/// What an archived file says that it is.
fn identity(key: &ObjectKey) -> ObjectIdentity {
    ObjectIdentity::new(ObjectKind::Wal, key.as_str())
}
