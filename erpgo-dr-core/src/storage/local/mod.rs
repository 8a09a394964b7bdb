//! A folder of a local or mounted file system.
//!
//! Owns what a file system needs for an object to be whole or absent, and to survive the loss of power: a write goes to a
//! temporary file, which is synced, renamed over its place, and made durable by syncing the folder. `object_store`'s own
//! local store syncs nothing, which is why this is not it.

mod cancel;
mod files;
mod folders;
mod reader;
mod root;
mod sweep;
mod walk;
mod writer;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt as _};

use self::cancel::{Caller, LastSteps};
use self::files::{TemporaryFile, map_io, map_io_subject};
use self::folders::Folders;
use self::root::Root;
use self::writer::LocalWriter;
use super::{
    ByteStream, Capabilities, ObjectMeta, ObjectWriter, PutOptions, Storage, StorageError, ThawOptions, ThawState,
};
use crate::types::ObjectKey;

/// A folder whose files are the objects. Files have mode 0600 and folders 0700, whatever the umask allows beyond.
///
/// The folder must be there: only [`Storage::prepare`] makes it, and never again once it was seen. Where a disk is not
/// mounted, everything else fails with [`StorageError::FolderMissing`], or with [`StorageError::FolderReplaced`] if another
/// folder has come into its place, until it is back; nothing is read from or written to what is there instead. Since
/// folders are folders here, `a` and `a/b` cannot both be objects. Symbolic links inside it are an error of `list`.
#[derive(Debug, Clone)]
pub struct LocalStorage {
    place: Arc<Place>,
}

/// What the writers and readers of one folder share.
#[derive(Debug)]
struct Place {
    root: Root,
    folders: Folders,
    last_steps: LastSteps,
}

impl LocalStorage {
    /// Takes the folder at `root`, which need not exist yet: [`Storage::prepare`] makes it.
    ///
    /// # Errors
    /// [`StorageError::InvalidAddress`] for an empty path or one of which the working directory cannot be read.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, StorageError> {
        let root = root.as_ref();
        let root = std::path::absolute(root).map_err(|error| StorageError::InvalidAddress {
            address: root.display().to_string(),
            reason: error.to_string(),
        })?;
        let (root, folders, last_steps) = (Root::new(root), Folders::default(), LastSteps::default());
        Ok(Self { place: Arc::new(Place { root, folders, last_steps }) })
    }

    /// Returns the folder.
    pub fn root(&self) -> &Path {
        self.place.root.path()
    }
}

impl Place {
    fn location(&self) -> String {
        self.root.path().display().to_string()
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root.path().join(key.as_str())
    }

    /// Says what went wrong with an object; that it is absent is believed only of the right folder.
    fn error(&self, action: &'static str, key: &ObjectKey, error: io::Error) -> StorageError {
        let error = if files::is_absent(&error) { self.root.check().err().unwrap_or(error) } else { error };
        map_io(self.location(), action, key, error)
    }
}

#[async_trait]
impl Storage for LocalStorage {
    fn location(&self) -> String {
        self.place.location()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::PLAIN
    }

    async fn prepare(&self) -> Result<(), StorageError> {
        let place = Arc::clone(&self.place);
        blocking(move || {
            let made = place.root.make();
            made.map_err(|error| map_io_subject(place.location(), "make", "the folder".to_owned(), error))
        })
        .await
    }

    async fn put(&self, key: &ObjectKey, _options: &PutOptions) -> Result<Box<dyn ObjectWriter>, StorageError> {
        let (place, key) = (Arc::clone(&self.place), key.clone());
        blocking(move || {
            let file = TemporaryFile::create(&place).map_err(|error| place.error("write", &key, error))?;
            Ok(Box::new(LocalWriter::new(place, key, file)) as Box<dyn ObjectWriter>)
        })
        .await
    }

    async fn create(&self, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
        let (place, key, caller) = (Arc::clone(&self.place), key.clone(), Caller::default());
        let called = caller.called();
        blocking(move || {
            let publish = || {
                let mut file = TemporaryFile::create(&place)?;
                file.write(&data)?;
                file.publish_new(&place, &key, &called)
            };
            match publish() {
                Ok(modified) => Ok(ObjectMeta::new(key.clone(), data.len() as u64, modified)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    Err(StorageError::AlreadyExists { location: place.location(), key: key.clone() })
                }
                Err(error) => Err(place.error("create", &key, error)),
            }
        })
        .await
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        let (place, key) = (Arc::clone(&self.place), key.clone());
        blocking(move || reader::open(&place, key, range)).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError> {
        let (place, key) = (Arc::clone(&self.place), key.clone());
        blocking(move || {
            let looked = place.root.check().and_then(|()| std::fs::metadata(place.path(&key)));
            let metadata = looked.and_then(files::regular);
            let metadata = metadata.map_err(|error| place.error("look at", &key, error))?;
            Ok(ObjectMeta::new(key, metadata.len(), files::modified(&metadata)))
        })
        .await
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        walk::list(Arc::clone(&self.place), prefix).boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        let (place, key) = (Arc::clone(&self.place), key.clone());
        blocking(move || {
            let removed = place.root.check().and_then(|()| files::remove(&place.path(&key)));
            // Where the folder has gone meanwhile, nobody knows what was removed.
            let removed = removed.and_then(|()| place.root.check());
            removed.map_err(|error| place.error("delete", &key, error))
        })
        .await
    }

    async fn thaw(&self, _key: &ObjectKey, _options: &ThawOptions) -> Result<ThawState, StorageError> {
        Err(StorageError::Unsupported { location: self.location(), action: "thawing" })
    }

    async fn sweep(&self, older_than: DateTime<Utc>) -> Result<u64, StorageError> {
        let place = Arc::clone(&self.place);
        blocking(move || sweep::sweep(&place, older_than)).await
    }
}

/// Runs `work` where it may block. A panic in it goes on in the caller.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StorageError::Failed {
                location: "local disk".to_owned(),
                action: "finish",
                subject: "a file operation".to_owned(),
                source: "the runtime is shutting down".into(),
            }),
        },
    }
}

#[cfg(test)]
mod tests;
