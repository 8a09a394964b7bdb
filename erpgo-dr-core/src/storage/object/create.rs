//! Writing an object only where there is none, also when the answer gets lost.

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutMode, PutOptions};

use super::Place;
use crate::storage::{ObjectMeta, StorageError};
use crate::types::ObjectKey;

/// Writes `data` at `key` if nothing is there.
///
/// A request whose answer was lost may have written the object, and its repetition would then find it and take it for
/// another writer's. So the store repeats nothing by itself here, and after a lost answer an object with exactly our
/// bytes counts as ours: what is created carries something that only its writer could have written.
pub(super) async fn create(place: &Place, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
    let path = place.path(key);
    let mut answer_lost = false;
    let mut attempt = 0;
    loop {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let error = match place.once.put_opts(&path, data.clone().into(), options).await {
            Ok(_) => return place.written(key, data.len() as u64).await,
            Err(error) => place.error("create", key, &error),
        };
        match error {
            StorageError::AlreadyExists { .. } if answer_lost && is_ours(place, key, &data).await? => {
                return place.written(key, data.len() as u64).await;
            }
            error if error.is_retryable() && attempt < place.retry.max_retries as u32 => answer_lost = true,
            error => return Err(error),
        }
        attempt += 1;
        tokio::time::sleep(place.retry.pause(attempt)).await;
    }
}

async fn is_ours(place: &Place, key: &ObjectKey, data: &Bytes) -> Result<bool, StorageError> {
    let read = |error| place.error("read", key, &error);
    let found = match place.store.get(&place.path(key)).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(read(error)),
    };
    if found.meta.size != data.len() as u64 {
        return Ok(false);
    }
    Ok(found.bytes().await.map_err(read)? == *data)
}
