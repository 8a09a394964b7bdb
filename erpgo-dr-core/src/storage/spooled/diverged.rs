//! What is set aside because the place has something else in its stead.
//!
//! Objects of a folder follow one another. Once one of them has lost its place to another host's, those behind it follow what the place
//! does not have: they are set aside with it, and never delivered behind the other's.

use bytes::Bytes;

use super::super::{StorageError, StorageExt as _};
use super::gather::{folder_of, in_folder, listing_of_spool, spelled};
use super::{OBJECT_LIMIT, Shared, marks};
use crate::types::ObjectKey;

/// The folder of the spool for objects in whose place the repository has others.
const DIVERGED: &str = "diverged";

/// Moves an object of the spool and all behind it in its folder aside. Returns their keys in order.
///
/// The last one goes first: until all are gone the first still waits, and whoever finds it there finds out for himself.
pub(super) async fn set_aside(shared: &Shared, first: &ObjectKey) -> Result<Vec<ObjectKey>, StorageError> {
    let folder = folder_of(first);
    tracing::warn!(%first, "the place has another object of that name: it is set aside, with all behind it");
    let listed = listing_of_spool(shared, folder).await?;
    let mut moved: Vec<ObjectKey> = listed.into_keys().filter(|key| key >= first && folder_of(key) == folder).collect();
    for key in moved.iter().rev() {
        set_one_aside(shared, key).await?;
    }
    moved.sort_unstable();
    Ok(moved)
}

async fn set_one_aside(shared: &Shared, key: &ObjectKey) -> Result<(), StorageError> {
    match shared.spool.read(key, OBJECT_LIMIT).await {
        // Another process has set it aside meanwhile.
        Err(StorageError::NotFound { .. }) => {}
        Err(error) => return Err(error),
        Ok(data) => {
            store(shared, key, data).await?;
            shared.spool.delete(key).await?;
        }
    }
    marks::unset(shared, key).await
}

/// Writes what is set aside, beside what was before: a run may diverge again at the same object.
async fn store(shared: &Shared, key: &ObjectKey, data: Bytes) -> Result<(), StorageError> {
    let first = in_folder(DIVERGED, key)?;
    let mut name = first.clone();
    for number in 2_u32.. {
        match shared.spool.create(&name, data.clone()).await {
            Err(StorageError::AlreadyExists { .. }) => {}
            created => return created.map(|_| ()),
        }
        // Left by one that was cut off before it had removed the object itself.
        if shared.spool.read(&name, OBJECT_LIMIT).await? == data {
            break;
        }
        name = spelled(format!("{first}.{number}"))?;
    }
    Ok(())
}
