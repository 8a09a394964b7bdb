//! What a place is known by: the empty folder below a mount answers as well, and so does another repository at the same address.

use bytes::Bytes;

use super::super::{StorageError, StorageExt as _};
use super::{OBJECT_LIMIT, Shared};
use crate::types::ObjectKey;

/// An object that the place has if it is the one that the spool is of.
#[derive(Debug, Clone)]
pub(super) struct Landmark {
    pub(super) key: ObjectKey,
    /// Whether what the spool has of it (first) and what the place has are of the same place: they may differ in age.
    pub(super) is_same: fn(&Bytes, &Bytes) -> bool,
}

/// Fails unless the place is the one that the spool is of, or nobody can tell: the spool has no landmark yet.
pub(super) async fn recognise(shared: &Shared) -> Result<(), StorageError> {
    let Some(landmark) = &shared.landmark else { return Ok(()) };
    if shared.state().recognised == Some(true) {
        return Ok(());
    }
    let Ok(known) = shared.spool.read(&landmark.key, OBJECT_LIMIT).await else { return Ok(()) };
    let recognised = match find(shared, &landmark.key).await? {
        Some(found) => (landmark.is_same)(&known, &found),
        None => false,
    };
    shared.state().recognised = Some(recognised);
    if recognised { Ok(()) } else { Err(StorageError::FolderReplaced { location: shared.place.location() }) }
}

/// Reads it at the place. Asked for by `head` first: of several places the first must have it, where lists are made.
async fn find(shared: &Shared, key: &ObjectKey) -> Result<Option<Bytes>, StorageError> {
    let found = match shared.place.head(key).await {
        Ok(_) => shared.place.read(key, OBJECT_LIMIT).await.map(Some),
        Err(error) => Err(error),
    };
    match found {
        Err(StorageError::NotFound { .. }) => Ok(None),
        found => found,
    }
}
