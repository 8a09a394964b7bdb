//! What the place and the spool have, as one list.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use super::super::{ObjectMeta, Storage, StorageError};
use super::{Shared, Treatment};
use crate::types::ObjectKey;

/// Objects by their keys.
pub(super) type Listing = BTreeMap<ObjectKey, ObjectMeta>;

/// Lists a folder: of what is spooled all that there is, of what is mirrored the place's own list where it gives one.
pub(super) async fn list(shared: &Shared, treatment: Treatment, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError> {
    let at_place = shared.ask(listing(shared.place.as_ref(), prefix)).await;
    let mut found = match (at_place, treatment) {
        (Ok(at_place), Treatment::Mirrored) => at_place,
        (at_place, _) => {
            let mut in_spool = listing_of_spool(shared, prefix).await?;
            match at_place {
                Ok(at_place) => in_spool.extend(at_place),
                Err(error) if in_spool.is_empty() => return Err(error),
                Err(_) => {}
            }
            in_spool
        }
    };
    Ok(std::mem::take(&mut found).into_values().collect())
}

/// Lists a folder of a place.
pub(super) async fn listing(place: &dyn Storage, prefix: &str) -> Result<Listing, StorageError> {
    place.list(prefix).map_ok(|meta| (meta.key.clone(), meta)).try_collect().await
}

/// Lists a folder of the spool; nothing where the spool was never made.
pub(super) async fn listing_of_spool(shared: &Shared, prefix: &str) -> Result<Listing, StorageError> {
    match listing(shared.spool.as_ref(), prefix).await {
        Err(StorageError::FolderMissing { .. }) => Ok(Listing::new()),
        listed => listed,
    }
}

/// Takes a spool that is not there for an empty one.
pub(super) fn unless_missing(result: Result<(), StorageError>) -> Result<(), StorageError> {
    match result {
        Err(StorageError::FolderMissing { .. }) => Ok(()),
        result => result,
    }
}

/// Returns whether the spool has an object.
pub(super) async fn is_there(shared: &Shared, key: &ObjectKey) -> Result<bool, StorageError> {
    match shared.spool.head(key).await {
        Ok(_) => Ok(true),
        Err(StorageError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the folder that an object lies in.
pub(super) fn folder_of(key: &ObjectKey) -> &str {
    key.as_str().rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns the name of an object in a folder of the spool's own.
pub(super) fn in_folder(folder: &str, key: &ObjectKey) -> Result<ObjectKey, StorageError> {
    spelled(format!("{folder}/{key}"))
}

/// Checks a name that was made of another.
pub(super) fn spelled(name: String) -> Result<ObjectKey, StorageError> {
    ObjectKey::new(name.as_str()).map_err(|error| StorageError::Failed {
        location: "the spool".to_owned(),
        action: "name",
        subject: name,
        source: Box::new(error),
    })
}
