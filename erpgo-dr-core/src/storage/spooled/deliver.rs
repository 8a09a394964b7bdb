//! Objects that are written into the spool, and brought to the place from there.
//!
//! A mark in the spool says that an object waits: it is written before the object, and removed when the place has it. So what waits is
//! known without asking the place, and a crash leaves at most a mark too many.

use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;

use super::super::{ObjectMeta, PutOptions, StorageError, StorageExt as _};
use super::gather::listing_of_spool;
use super::{OBJECT_LIMIT, Shared};
use crate::types::ObjectKey;

/// How long an object stays in the spool that the place has too.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The folder of the spool for marks.
const WAITING: &str = "waiting";

/// The folder of the spool for objects in whose place the repository has others.
const DIVERGED: &str = "diverged";

/// What became of the objects that waited in the spool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// What the place has now.
    pub delivered: Vec<ObjectKey>,
    /// What somebody else has put another object in the place of: it lies in the folder `diverged` of the spool, and is not delivered.
    pub diverged: Vec<ObjectKey>,
}

/// What came of bringing an object to the place.
enum Arrival {
    /// The place has it.
    There,
    /// The place has another object of that name.
    Diverged,
}

/// Creates an object in the spool and at the place. It exists if one of them has it, and the other one is tried again later.
pub(super) async fn create(shared: &Shared, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
    let kept = match keep(shared, key, data.clone()).await {
        Err(error @ StorageError::AlreadyExists { .. }) => return Err(error),
        Err(error) => {
            // A full disk at hand must not stop what the place would take.
            let error = crate::causes::chain(&error);
            tracing::warn!(spool = %shared.spool.location(), error, "nothing is kept at hand");
            return shared.place.create(key, data).await;
        }
        Ok(kept) => kept,
    };
    deliver_waiting(shared).await;
    match arrive(shared, key, data).await {
        Ok(Arrival::There) => shared.spool.delete(&mark(key)?).await.map(|()| kept),
        Ok(Arrival::Diverged) => {
            shared.spool.delete(key).await?;
            shared.spool.delete(&mark(key)?).await?;
            Err(StorageError::AlreadyExists { location: shared.place.location(), key: key.clone() })
        }
        Err(_) => {
            shared.state().waiting.insert(key.clone());
            Ok(kept)
        }
    }
}

/// Writes an object into the spool, marked as waiting.
async fn keep(shared: &Shared, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
    shared.spool.prepare().await?;
    shared.spool.write(&mark(key)?, Bytes::new(), &PutOptions::default()).await?;
    shared.spool.create(key, data).await
}

/// Brings to the place what this process could not bring there before, in the order of keys, until it fails again.
async fn deliver_waiting(shared: &Shared) {
    let waiting: Vec<ObjectKey> = shared.state().waiting.iter().cloned().collect();
    for key in waiting {
        if shared.is_away() || deliver_one(shared, &key).await.is_err() {
            return;
        }
    }
}

/// Brings everything to the place that waits in the spool.
pub(super) async fn deliver(shared: &Shared) -> Result<Delivery, StorageError> {
    let mut delivery = Delivery::default();
    for marked in listing_of_spool(shared, WAITING).await?.into_keys() {
        let Some(key) = marked_by(&marked) else { continue };
        match deliver_one(shared, &key).await? {
            Some(Arrival::There) => delivery.delivered.push(key),
            Some(Arrival::Diverged) => delivery.diverged.push(key),
            None => {}
        }
    }
    clear(shared).await?;
    Ok(delivery)
}

async fn deliver_one(shared: &Shared, key: &ObjectKey) -> Result<Option<Arrival>, StorageError> {
    let arrival = match shared.spool.read(key, OBJECT_LIMIT).await {
        // Its writer was cut off between the mark and the object.
        Err(StorageError::NotFound { .. }) => None,
        Err(error) => return Err(error),
        Ok(data) => {
            let arrival = arrive(shared, key, data.clone()).await?;
            if matches!(arrival, Arrival::Diverged) {
                let aside = in_folder(DIVERGED, key)?;
                tracing::warn!(%key, kept = %aside, "the place has another object of that name");
                shared.spool.write(&aside, data, &PutOptions::default()).await?;
                shared.spool.delete(key).await?;
            }
            Some(arrival)
        }
    };
    shared.spool.delete(&mark(key)?).await?;
    shared.state().waiting.remove(key);
    Ok(arrival)
}

/// Creates an object at the place. One of the same name with the same bytes is ours: its answer got lost.
async fn arrive(shared: &Shared, key: &ObjectKey, data: Bytes) -> Result<Arrival, StorageError> {
    match shared.ask(shared.place.create(key, data.clone())).await {
        Ok(_) => Ok(Arrival::There),
        Err(StorageError::AlreadyExists { .. }) => match shared.ask(shared.place.read(key, OBJECT_LIMIT)).await? {
            found if found == data => Ok(Arrival::There),
            _ => Ok(Arrival::Diverged),
        },
        Err(error) => Err(error),
    }
}

/// Removes from the spool what is old and waits no more.
async fn clear(shared: &Shared) -> Result<(), StorageError> {
    let before = Utc::now() - KEPT;
    let waiting = listing_of_spool(shared, WAITING).await?;
    for folder in &shared.spooled {
        for meta in listing_of_spool(shared, folder).await?.into_values().filter(|meta| meta.last_modified < before) {
            if !waiting.contains_key(&mark(&meta.key)?) {
                shared.spool.delete(&meta.key).await?;
            }
        }
    }
    Ok(())
}

/// Returns the mark of an object.
fn mark(key: &ObjectKey) -> Result<ObjectKey, StorageError> {
    in_folder(WAITING, key)
}

/// Returns the object that a mark is of.
fn marked_by(mark: &ObjectKey) -> Option<ObjectKey> {
    ObjectKey::new(mark.as_str().strip_prefix(WAITING)?.strip_prefix('/')?).ok()
}

fn in_folder(folder: &str, key: &ObjectKey) -> Result<ObjectKey, StorageError> {
    ObjectKey::new(format!("{folder}/{key}")).map_err(|error| StorageError::Failed {
        location: folder.to_owned(),
        action: "name",
        subject: key.to_string(),
        source: Box::new(error),
    })
}
