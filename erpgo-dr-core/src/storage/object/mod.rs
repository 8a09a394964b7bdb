//! Object stores: S3, Google Cloud Storage, Azure and memory, through the `object_store` crate.
//!
//! Owns what that crate leaves to its caller: parts and their number, reading ahead, resuming a read, the one winner of a
//! `create` whose answer was lost, thawing, stale uploads, and errors that tell no secret.

#[cfg(feature = "azure")]
mod azure;
mod create;
mod download;
mod error;
#[cfg(feature = "gcs")]
mod gcs;
#[cfg(feature = "cloud")]
mod http;
mod options;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "s3")]
mod s3_command;
mod upload;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

pub use self::options::{RetryOptions, TransferOptions};

use self::error::Attempt;
use super::{
    ByteStream, Capabilities, ObjectMeta, ObjectWriter, PutOptions, Storage, StorageError, ThawOptions, ThawState,
    folder_of,
};
use crate::types::ObjectKey;

/// A prefix in an object store.
#[derive(Debug, Clone)]
pub struct ObjectStorage {
    place: Arc<Place>,
}

/// What the writers and readers of one prefix share.
struct Place {
    store: Arc<dyn ObjectStore>,
    /// The same store, but one that never repeats a request: see `create`.
    once: Arc<dyn ObjectStore>,
    provider: Option<Arc<dyn Provider>>,
    prefix: Path,
    location: String,
    capabilities: Capabilities,
    transfer: TransferOptions,
    retry: RetryOptions,
}

/// What a provider can do that `object_store` has no call for.
#[async_trait]
trait Provider: Send + Sync + fmt::Debug {
    /// Asks for an archived object, or says how far that has come.
    async fn thaw(&self, attempt: Attempt<'_>, path: &Path, options: &ThawOptions) -> Result<ThawState, StorageError>;

    /// Removes the unfinished uploads below `prefix` that began before `older_than`; returns how many.
    async fn sweep(&self, attempt: Attempt<'_>, prefix: &Path, older_than: DateTime<Utc>) -> Result<u64, StorageError>;
}

impl ObjectStorage {
    /// Takes all of `store`, which is named `location` in errors.
    ///
    /// With a store that repeats requests by itself, a [`create`](Storage::create) whose answer was lost may fail with
    /// `AlreadyExists` although it is the one that won.
    pub fn new(store: Arc<dyn ObjectStore>, location: impl Into<String>) -> Self {
        Self {
            place: Arc::new(Place {
                once: Arc::clone(&store),
                store,
                provider: None,
                prefix: Path::default(),
                location: location.into(),
                capabilities: Capabilities::PLAIN,
                transfer: TransferOptions::default(),
                retry: RetryOptions::default(),
            }),
        }
    }

    /// Makes an empty place in the memory of this process.
    pub fn memory() -> Self {
        Self::new(Arc::new(object_store::memory::InMemory::new()), "memory:")
    }

    /// Sets how much travels at once.
    pub fn with_transfer(mut self, transfer: TransferOptions) -> Self {
        self.place_mut().transfer = transfer;
        self
    }

    #[cfg(feature = "cloud")]
    fn in_bucket(mut self, bucket: &super::Bucket, options: &super::StorageOptions) -> Self {
        let place = self.place_mut();
        place.prefix = Path::from(bucket.prefix.as_str());
        place.transfer = options.transfer.clone();
        place.retry = options.retry.clone();
        self
    }

    fn place_mut(&mut self) -> &mut Place {
        Arc::make_mut(&mut self.place)
    }
}

impl Clone for Place {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            once: Arc::clone(&self.once),
            provider: self.provider.clone(),
            prefix: self.prefix.clone(),
            location: self.location.clone(),
            capabilities: self.capabilities,
            transfer: self.transfer.clone(),
            retry: self.retry.clone(),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Place {
    fn path(&self, key: &ObjectKey) -> Path {
        // The alphabet of keys needs no encoding anywhere.
        key.as_str().split('/').fold(self.prefix.clone(), |path, segment| path.join(segment))
    }

    /// Returns the key of a path below the prefix; `None` for what no writer of ours has put there.
    fn key(&self, path: &Path) -> Option<ObjectKey> {
        let rest = path.as_ref().strip_prefix(self.prefix.as_ref())?;
        ObjectKey::new(rest.trim_start_matches('/')).ok()
    }

    fn attempt<'a>(&'a self, action: &'static str, key: Option<&'a ObjectKey>) -> Attempt<'a> {
        Attempt { location: &self.location, action, key }
    }

    fn error(&self, action: &'static str, key: &ObjectKey, error: &object_store::Error) -> StorageError {
        self.attempt(action, Some(key)).error(error)
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError> {
        match self.store.head(&self.path(key)).await {
            Ok(meta) => Ok(ObjectMeta::new(key.clone(), meta.size, meta.last_modified)),
            Err(error) => Err(self.error("look at", key, &error)),
        }
    }

    /// Looks at what was just written: the clock of the place, and that it is all there.
    async fn written(&self, key: &ObjectKey, size: u64) -> Result<ObjectMeta, StorageError> {
        match self.head(key).await {
            Ok(meta) if meta.size == size => Ok(meta),
            Ok(meta) => Err(StorageError::ShortRead {
                location: self.location.clone(),
                key: key.clone(),
                expected: size,
                found: meta.size,
            }),
            // An identity that may only write.
            Err(StorageError::PermissionDenied { .. }) => Ok(ObjectMeta::new(key.clone(), size, Utc::now())),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Storage for ObjectStorage {
    fn location(&self) -> String {
        self.place.location.clone()
    }

    fn capabilities(&self) -> Capabilities {
        self.place.capabilities
    }

    async fn put(&self, key: &ObjectKey, options: &PutOptions) -> Result<Box<dyn ObjectWriter>, StorageError> {
        let class = options.storage_class.clone().filter(|_| self.place.capabilities.storage_classes);
        Ok(Box::new(upload::Upload::new(Arc::clone(&self.place), key.clone(), class, options.parts_in_flight)))
    }

    async fn create(&self, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
        create::create(&self.place, key, data).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        download::open(Arc::clone(&self.place), key.clone(), range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError> {
        self.place.head(key).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        let place = Arc::clone(&self.place);
        let folder = match folder_of(&place.location, prefix) {
            Ok(folder) => folder.map_or_else(|| place.prefix.clone(), |folder| place.path(&folder)),
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let found = place.store.list(Some(&folder).filter(|folder| !folder.as_ref().is_empty()));
        found
            .filter_map(move |found| {
                let item = match found {
                    Ok(meta) => place
                        .key(&meta.location)
                        .filter(|_| meta.location != folder)
                        .map(|key| Ok(ObjectMeta::new(key, meta.size, meta.last_modified))),
                    Err(error) => Some(Err(place.attempt("list", None).error(&error))),
                };
                std::future::ready(item)
            })
            .boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        match self.place.store.delete(&self.place.path(key)).await {
            Ok(()) => Ok(()),
            Err(error) => match self.place.error("delete", key, &error) {
                StorageError::Failed { .. } if matches!(error, object_store::Error::NotFound { .. }) => Ok(()),
                error => Err(error),
            },
        }
    }

    async fn thaw(&self, key: &ObjectKey, options: &ThawOptions) -> Result<ThawState, StorageError> {
        match &self.place.provider {
            Some(provider) if self.place.capabilities.thaw => {
                provider.thaw(self.place.attempt("thaw", Some(key)), &self.place.path(key), options).await
            }
            _ => Err(StorageError::Unsupported { location: self.location(), action: "thawing" }),
        }
    }

    async fn sweep(&self, older_than: DateTime<Utc>) -> Result<u64, StorageError> {
        match &self.place.provider {
            Some(provider) => provider.sweep(self.place.attempt("sweep", None), &self.place.prefix, older_than).await,
            None => Ok(0),
        }
    }
}
