//! Copies of the place's objects, for when the place is away.

use chrono::{TimeDelta, Utc};
use futures::stream::{self, TryStreamExt as _};

use super::super::{ObjectMeta, PutOptions, Storage, StorageError, StorageExt as _};
use super::gather::{Listing, listing};
use super::{OBJECT_LIMIT, Shared};
use crate::types::ObjectKey;

/// By how much the clocks of the place and the spool may differ before a copy is thought to be new that is old.
const SKEW: TimeDelta = TimeDelta::days(1);

/// Copies that are made at once.
const AT_ONCE: usize = 8;

pub(super) async fn refresh(shared: &Shared) -> Result<(), StorageError> {
    shared.spool.prepare().await?;
    for name in &shared.mirrored {
        let at_place = shared.ask(named(shared.place.as_ref(), name)).await?;
        let in_spool = named(shared.spool.as_ref(), name).await?;
        let stale = at_place.values().filter(|meta| in_spool.get(&meta.key).is_none_or(|copy| may_differ(meta, copy)));
        stream::iter(stale.map(Ok)).try_for_each_concurrent(AT_ONCE, |meta| copy(shared, meta)).await?;
        // Only a list that has something in it is believed: an emptied place is when the copies are needed.
        for gone in in_spool.keys().filter(|key| !at_place.is_empty() && !at_place.contains_key(*key)) {
            shared.spool.delete(gone).await?;
        }
    }
    Ok(())
}

/// Lists the folder of a name, and the object that is called so.
async fn named(place: &dyn Storage, name: &str) -> Result<Listing, StorageError> {
    let mut found = listing(place, name).await?;
    if let Ok(key) = ObjectKey::new(name) {
        match place.head(&key).await {
            Ok(meta) => found.extend([(key, meta)]),
            Err(StorageError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn may_differ(meta: &ObjectMeta, copy: &ObjectMeta) -> bool {
    meta.size != copy.size || meta.last_modified + SKEW > copy.last_modified
}

/// Copies an object, if its copy is another. One that is old enough is written anew all the same: from then on its copy is newer by more
/// than clocks can differ, and it is not read again each time.
async fn copy(shared: &Shared, meta: &ObjectMeta) -> Result<(), StorageError> {
    let key = &meta.key;
    let data = match shared.ask(shared.place.read(key, OBJECT_LIMIT)).await {
        // Removed since it was listed.
        Err(StorageError::NotFound { .. }) => return Ok(()),
        data => data?,
    };
    let settles = meta.last_modified + SKEW < Utc::now();
    if settles || !shared.spool.read(key, OBJECT_LIMIT).await.is_ok_and(|there| there == data) {
        shared.spool.write(key, data, &PutOptions::default()).await?;
    }
    Ok(())
}
