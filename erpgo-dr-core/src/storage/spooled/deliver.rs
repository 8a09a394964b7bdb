//! Objects that are written into the spool, and brought to the place from there, in each folder in the order of keys.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::super::{ObjectMeta, StorageError, StorageExt as _};
use super::gather::{folder_of, is_there};
use super::{OBJECT_LIMIT, Shared, diverged, held, marks};
use crate::types::ObjectKey;

/// What became of the objects that waited in the spool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// What the place has now.
    pub delivered: Vec<ObjectKey>,
    /// What somebody else has put another object in the place of, and all that followed it in its folder: it lies in the folder
    /// `diverged` of the spool, and is not delivered.
    pub diverged: Vec<ObjectKey>,
}

/// What came of bringing an object to the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// The place has it.
    There,
    /// The place has another object of that name, or of one before it.
    Diverged,
}

/// Creates an object in the spool and at the place. It exists if one of them has it, and the other one is tried again later.
pub(super) async fn create(shared: &Shared, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
    let folder = folder_of(key);
    let kept = match keep(shared, key, data.clone()).await {
        Err(error @ StorageError::AlreadyExists { .. }) => return Err(error),
        // What the place would then have it follow is only here.
        Err(error) if shared.state().last.contains_key(folder) => return Err(error),
        Err(error) => {
            // A full disk at hand must not stop what the place would take.
            let error = crate::causes::chain(&error);
            tracing::warn!(spool = %shared.spool.location(), error, "nothing is kept at hand");
            return shared.own_place().await?.create(key, data).await;
        }
        Ok(kept) => kept,
    };
    match follow(shared, key, data).await {
        Ok(Arrival::There) => {
            shared.state().last.remove(folder);
            Ok(kept)
        }
        Ok(Arrival::Diverged) => {
            Err(StorageError::AlreadyExists { location: shared.place.location(), key: key.clone() })
        }
        Err(_) => {
            shared.state().last.insert(folder.to_owned(), key.clone());
            Ok(kept)
        }
    }
}

/// Writes an object into the spool, marked as waiting.
async fn keep(shared: &Shared, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
    shared.spool.prepare().await?;
    marks::set(shared, key).await?;
    let kept = shared.spool.create(key, data).await?;
    marks::ensure(shared, key).await?;
    Ok(kept)
}

/// Brings an object of the spool to the place, behind what waits before it in its folder.
async fn follow(shared: &Shared, key: &ObjectKey, data: Bytes) -> Result<Arrival, StorageError> {
    for (earlier, mark) in marks::waiting(shared, folder_of(key)).await?.range(..key.clone()) {
        if folder_of(earlier) == folder_of(key) && deliver_one(shared, earlier, mark).await? == Some(Arrival::Diverged)
        {
            diverged::set_aside(shared, earlier).await?;
            return Ok(Arrival::Diverged);
        }
    }
    let arrival = if is_overtaken(shared, key).await? { Arrival::Diverged } else { arrive(shared, key, data).await? };
    if arrival == Arrival::Diverged {
        shared.spool.delete(key).await?;
    }
    marks::unset(shared, key).await?;
    Ok(arrival)
}

/// Returns whether another process has set aside what this one has written before `key`.
async fn is_overtaken(shared: &Shared, key: &ObjectKey) -> Result<bool, StorageError> {
    let last = shared.state().last.get(folder_of(key)).cloned();
    match last {
        None => Ok(false),
        Some(last) => Ok(!is_there(shared, &last).await?),
    }
}

/// Brings everything to the place that waits in the spool, or that the place has lost.
pub(super) async fn deliver(shared: &Shared) -> Result<Delivery, StorageError> {
    let held = held::compare(shared).await?;
    held.mark_lost(shared).await?;
    let mut delivery = Delivery::default();
    let mut overtaken = BTreeSet::new();
    for (key, mark) in marks::waiting(shared, "").await? {
        if overtaken.contains(folder_of(&key)) {
            continue;
        }
        match deliver_one(shared, &key, &mark).await? {
            None => {}
            Some(Arrival::There) => delivery.delivered.push(key),
            Some(Arrival::Diverged) => {
                delivery.diverged.extend(diverged::set_aside(shared, &key).await?);
                overtaken.insert(folder_of(&key).to_owned());
            }
        }
    }
    held.clear(shared).await?;
    Ok(delivery)
}

/// Brings an object to the place that has a mark; `None` where there is no object.
async fn deliver_one(shared: &Shared, key: &ObjectKey, mark: &ObjectMeta) -> Result<Option<Arrival>, StorageError> {
    let data = match shared.spool.read(key, OBJECT_LIMIT).await {
        Err(StorageError::NotFound { .. }) => return marks::give_up(shared, key, mark).await.map(|()| None),
        data => data?,
    };
    let arrival = arrive(shared, key, data).await?;
    if arrival == Arrival::There {
        marks::unset(shared, key).await?;
    }
    Ok(Some(arrival))
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
