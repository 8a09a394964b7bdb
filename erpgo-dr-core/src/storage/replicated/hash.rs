//! Hashing and copying an object in one pass.

use futures::TryStreamExt as _;

use crate::storage::{ObjectMeta, ObjectWriter, PutOptions, Storage, StorageError};
use crate::types::{ContentHash, ContentHasher, ObjectKey};

/// Hashes all bytes of an object.
pub(super) async fn hash(place: &dyn Storage, key: &ObjectKey) -> Result<ContentHash, StorageError> {
    let mut hasher = ContentHasher::new();
    let mut stream = place.get(key, None).await?;
    while let Some(chunk) = stream.try_next().await? {
        hasher.update(&chunk);
    }
    Ok(hasher.finish())
}

/// Copies an object, and lets it appear only if it is what was judged: `size` bytes, and of `expected` hash if known.
pub(super) async fn copy(
    from: &dyn Storage,
    to: &dyn Storage,
    key: &ObjectKey,
    size: u64,
    expected: Option<ContentHash>,
) -> Result<ObjectMeta, StorageError> {
    let mut writer = to.put(key, &PutOptions::default()).await?;
    match transfer(from, &mut *writer, key, size, expected).await {
        Ok(()) => writer.finish().await,
        Err(error) => {
            // The first error is the one that tells something.
            let _ = writer.abort().await;
            Err(error)
        }
    }
}

async fn transfer(
    from: &dyn Storage,
    writer: &mut dyn ObjectWriter,
    key: &ObjectKey,
    size: u64,
    expected: Option<ContentHash>,
) -> Result<(), StorageError> {
    let mut hasher = ContentHasher::new();
    let mut copied = 0;
    let mut stream = from.get(key, None).await?;
    while let Some(chunk) = stream.try_next().await? {
        hasher.update(&chunk);
        copied += chunk.len() as u64;
        writer.write(chunk).await?;
    }
    let changed = copied != size || expected.is_some_and(|hash| hash != hasher.finish());
    if changed {
        return Err(StorageError::Failed {
            location: from.location(),
            action: "copy",
            subject: key.to_string(),
            source: "it is no longer what the plan was made for".into(),
        });
    }
    Ok(())
}
