//! Marks in the spool: which objects wait for the place.
//!
//! A mark is written before its object, and removed when the place has that. So what waits is known without asking the place, and a
//! crash leaves at most a mark too many. Several processes work in one spool: a mark without its object may be of a writer that is
//! about to write that, and is left to it for an hour.

use bytes::Bytes;
use chrono::{TimeDelta, Utc};

use super::super::{ObjectMeta, PutOptions, StorageError, StorageExt as _};
use super::Shared;
use super::gather::{Listing, in_folder, is_there, listing_of_spool};
use crate::types::ObjectKey;

/// The folder of the spool for marks.
const WAITING: &str = "waiting";

/// How old a mark without its object is when its writer is thought to be gone.
const ABANDONED: TimeDelta = TimeDelta::hours(1);

/// Says that an object waits.
pub(super) async fn set(shared: &Shared, key: &ObjectKey) -> Result<(), StorageError> {
    shared.spool.write(&in_folder(WAITING, key)?, Bytes::new(), &PutOptions::default()).await.map(|_| ())
}

/// Says that an object waits, unless that was said.
pub(super) async fn ensure(shared: &Shared, key: &ObjectKey) -> Result<(), StorageError> {
    if is_there(shared, &in_folder(WAITING, key)?).await? { Ok(()) } else { set(shared, key).await }
}

/// Says that an object waits no more.
pub(super) async fn unset(shared: &Shared, key: &ObjectKey) -> Result<(), StorageError> {
    shared.spool.delete(&in_folder(WAITING, key)?).await
}

/// Removes the mark of an object that is not there, if it is old. Its writer looks for the mark once the object is there, and here the
/// object is looked for once the mark is gone: one of the two sees the other.
pub(super) async fn give_up(shared: &Shared, key: &ObjectKey, mark: &ObjectMeta) -> Result<(), StorageError> {
    if mark.last_modified > Utc::now() - ABANDONED {
        return Ok(());
    }
    unset(shared, key).await?;
    if is_there(shared, key).await? { set(shared, key).await } else { Ok(()) }
}

/// Lists what waits in a folder, in the order of keys, each with the description of its mark.
pub(super) async fn waiting(shared: &Shared, folder: &str) -> Result<Listing, StorageError> {
    let marks = listing_of_spool(shared, format!("{WAITING}/{folder}").trim_end_matches('/')).await?;
    Ok(marks.into_values().filter_map(|mark| Some((marked_by(&mark.key)?, mark))).collect())
}

/// Returns the object that a mark is of.
fn marked_by(mark: &ObjectKey) -> Option<ObjectKey> {
    ObjectKey::new(mark.as_str().strip_prefix(WAITING)?.strip_prefix('/')?).ok()
}
