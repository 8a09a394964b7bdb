//! Where objects lie. Sees opaque bytes only.
//!
//! [`Storage`] is the contract; [`LocalStorage`] serves a folder, [`ObjectStorage`] S3, GCS, Azure and memory. [`open`]
//! makes either from a [`StorageAddress`]. [`ReplicatedStorage`] writes to several of them at once, [`SpooledStorage`] has some
//! objects at hand while the place is away, [`LimitedStorage`] keeps to a bandwidth.

mod address;
mod error;
mod limited;
#[cfg(feature = "local")]
mod local;
mod object;
mod open;
mod options;
mod replicated;
mod spooled;

pub use address::{Bucket, StorageAddress};
pub use error::StorageError;
pub use limited::{Bandwidth, LimitedStorage};
#[cfg(feature = "local")]
pub use local::LocalStorage;
pub use object::{ObjectStorage, RetryOptions, TransferOptions};
pub use open::open;
pub use options::{
    AzureCredentials, AzureOptions, GcsCredentials, GcsOptions, HttpOptions, S3Checksum, S3Credentials, S3Options,
    StorageOptions,
};
pub use replicated::{
    RepairAction, RepairCopy, RepairFailure, RepairJudge, RepairOptions, RepairPlan, RepairReport, ReplicatedStorage,
    WritePolicy,
};
#[cfg(feature = "local")]
pub(crate) use spooled::PATIENCE as SPOOL_PATIENCE;
pub use spooled::{Delivery, SpooledStorage};

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::types::ObjectKey;

/// The bytes of an object as they arrive.
pub type ByteStream = BoxStream<'static, Result<Bytes, StorageError>>;

/// What a storage place says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// Its key.
    pub key: ObjectKey,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written, by the clock of the storage place.
    pub last_modified: DateTime<Utc>,
}

impl ObjectMeta {
    /// Describes an object.
    pub fn new(key: ObjectKey, size: u64, last_modified: DateTime<Utc>) -> Self {
        Self { key, size, last_modified }
    }
}

/// How an object is to be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutOptions {
    /// The storage class; `None` leaves the choice to the place.
    pub storage_class: Option<StorageClass>,
    /// How many parts of it may be on their way at once, where several objects are written at the same time; `None` leaves the choice
    /// to the place.
    pub parts_in_flight: Option<usize>,
}

impl PutOptions {
    /// Sets the storage class.
    pub fn with_storage_class(mut self, class: Option<StorageClass>) -> Self {
        self.storage_class = class;
        self
    }

    /// Sets how many parts may be on their way at once, to bound the memory of several objects that are written at the same time.
    pub fn with_parts_in_flight(mut self, parts: Option<usize>) -> Self {
        self.parts_in_flight = parts;
        self
    }
}

/// The provider's own name of a storage class or access tier: `GLACIER`, `DEEP_ARCHIVE`, `GLACIER_IR`, `Archive`...
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StorageClass(String);

impl StorageClass {
    /// Returns the provider's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StorageClass {
    type Err = StorageError;

    fn from_str(text: &str) -> Result<Self, StorageError> {
        let valid =
            !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if valid { Ok(Self(text.to_owned())) } else { Err(StorageError::InvalidStorageClass(text.to_owned())) }
    }
}

impl fmt::Display for StorageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a storage place can do beyond the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether storage classes mean anything here.
    pub storage_classes: bool,
    /// Whether [`Storage::thaw`] works here.
    pub thaw: bool,
}

impl Capabilities {
    /// A place with neither classes nor thawing.
    pub const PLAIN: Self = Self { storage_classes: false, thaw: false };

    /// Sets both capabilities.
    pub fn new(storage_classes: bool, thaw: bool) -> Self {
        Self { storage_classes, thaw }
    }
}

/// How an archived object is to be made readable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThawOptions {
    /// For how many days the readable copy is kept.
    pub days: u32,
    /// How fast, and at what price.
    pub tier: ThawTier,
}

impl Default for ThawOptions {
    fn default() -> Self {
        Self { days: 7, tier: ThawTier::Standard }
    }
}

/// The speed of a thaw, by S3's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThawTier {
    /// Minutes; not for DEEP_ARCHIVE.
    Expedited,
    /// Hours.
    Standard,
    /// Half a day and more, cheapest.
    Bulk,
}

/// Where a thaw stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThawState {
    /// The object can be read now.
    Readable,
    /// The provider is at work; ask again later.
    Ongoing,
}

/// A place that keeps objects by key. Object-safe; shared as `Arc<dyn Storage>`.
///
/// An object is visible whole or not at all, and once a write has returned it is durable: it survives
/// the loss of power as far as the place can promise that.
#[async_trait]
pub trait Storage: Send + Sync + fmt::Debug {
    /// Describes the place for a person, without secrets: `s3://bucket/prefix`, `/var/backups`.
    fn location(&self) -> String;

    /// Returns what the place can do beyond this contract.
    fn capabilities(&self) -> Capabilities;

    /// Makes what objects are to lie in, where a place needs that and it was never there: a folder. Comes before the first
    /// write of a new repository, and before none of an old one: what is missing then is lost or not mounted.
    ///
    /// # Errors
    /// Any [`StorageError`]. A wrapper passes it on.
    async fn prepare(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Begins to write an object of unknown size. Nothing is visible before [`ObjectWriter::finish`].
    ///
    /// # Errors
    /// Any [`StorageError`]; an object already at `key` is replaced at `finish`.
    async fn put(&self, key: &ObjectKey, options: &PutOptions) -> Result<Box<dyn ObjectWriter>, StorageError>;

    /// Writes a small object only if there is none at `key`: of several writers exactly one succeeds.
    ///
    /// # Errors
    /// [`StorageError::AlreadyExists`] when there is one.
    async fn create(&self, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError>;

    /// Reads an object, or the part of it in `range` (bytes; what lies beyond its end is left out).
    ///
    /// A stream that ends without an error has delivered all bytes.
    ///
    /// # Errors
    /// [`StorageError::NotFound`]; [`StorageError::Archived`] when it must be thawed first.
    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StorageError>;

    /// Returns an object's size and time.
    ///
    /// # Errors
    /// [`StorageError::NotFound`].
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError>;

    /// Lists the objects in the folder `prefix` and its sub-folders, in no particular order; `""` lists all.
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>>;

    /// Removes an object. One that is not there is no error: deletes are repeated after a crash.
    ///
    /// # Errors
    /// Any [`StorageError`] but `NotFound`.
    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError>;

    /// Asks for an archived object to be made readable, or says that it already is.
    ///
    /// # Errors
    /// [`StorageError::Unsupported`] where [`Capabilities::thaw`] is not set.
    async fn thaw(&self, key: &ObjectKey, options: &ThawOptions) -> Result<ThawState, StorageError>;

    /// Removes what crashed or cut off writers left before `older_than` (unfinished uploads, temporary files), which no
    /// list shows and which costs room all the same. Returns how many such things it removed; 0 where none can be.
    ///
    /// # Errors
    /// Any [`StorageError`]; what could not be removed is found by the next sweep.
    async fn sweep(&self, _older_than: DateTime<Utc>) -> Result<u64, StorageError> {
        Ok(0)
    }

    /// Returns, and forgets, the writes that succeeded here but that one of several places behind it missed.
    ///
    /// A single place misses nothing: what it returned `Ok` for is durable.
    fn take_missed_writes(&self) -> Vec<MissedWrite> {
        Vec::new()
    }
}

/// A write that one of several places does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissedWrite {
    /// The place that lacks it.
    pub location: String,
    /// The object.
    pub key: ObjectKey,
    /// What went wrong there, in words.
    pub error: String,
}

/// An object being written. Dropping it without `finish` leaves nothing visible.
#[async_trait]
pub trait ObjectWriter: Send + fmt::Debug {
    /// Takes the next bytes; waits while too much is in flight, so that memory stays bounded.
    ///
    /// # Errors
    /// Any [`StorageError`]; the writer is then of no further use but for [`ObjectWriter::abort`].
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError>;

    /// Makes the object visible and durable.
    ///
    /// # Errors
    /// Any [`StorageError`]; the object is then not visible, unless the place failed while it was making it so. The
    /// caller takes it for not written, and may write it again.
    async fn finish(self: Box<Self>) -> Result<ObjectMeta, StorageError>;

    /// Gives up and frees what the place holds of it (parts of a multipart upload, a temporary file).
    ///
    /// # Errors
    /// Any [`StorageError`]; what stays behind is invisible and does no harm.
    async fn abort(self: Box<Self>) -> Result<(), StorageError>;
}

/// Checks the prefix of a list; `None` for all.
fn folder_of(location: &str, prefix: &str) -> Result<Option<ObjectKey>, StorageError> {
    match prefix.trim_end_matches('/') {
        "" => Ok(None),
        // No object can lie there: silence would hide the mistake of the caller.
        folder => ObjectKey::new(folder).map(Some).map_err(|error| StorageError::Failed {
            location: location.to_owned(),
            action: "list",
            subject: prefix.to_owned(),
            source: Box::new(error),
        }),
    }
}

/// Sugar over [`Storage`].
#[async_trait]
pub trait StorageExt: Storage {
    /// Reads a whole object of at most `limit` bytes into memory.
    ///
    /// # Errors
    /// As [`Storage::get`]; [`StorageError::TooLarge`] beyond `limit`.
    async fn read(&self, key: &ObjectKey, limit: usize) -> Result<Bytes, StorageError> {
        use futures::TryStreamExt as _;
        let mut stream = self.get(key, None).await?;
        let mut whole = bytes::BytesMut::new();
        while let Some(chunk) = stream.try_next().await? {
            if whole.len() + chunk.len() > limit {
                return Err(StorageError::TooLarge { key: key.clone(), limit });
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Writes a small object, replacing what was there.
    ///
    /// # Errors
    /// As [`Storage::put`].
    async fn write(&self, key: &ObjectKey, data: Bytes, options: &PutOptions) -> Result<ObjectMeta, StorageError> {
        let mut writer = self.put(key, options).await?;
        match writer.write(data).await {
            Ok(()) => writer.finish().await,
            Err(error) => {
                // The first error is the one that tells something.
                let _ = writer.abort().await;
                Err(error)
            }
        }
    }
}

impl<S: Storage + ?Sized> StorageExt for S {}
