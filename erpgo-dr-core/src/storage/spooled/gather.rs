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
