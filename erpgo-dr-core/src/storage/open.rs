//! From an address and options to a storage place.

use std::sync::Arc;

use super::{ObjectStorage, Storage, StorageAddress, StorageError, StorageOptions};

/// Makes a storage place. Touches neither disk nor network, but for files that hold credentials: what is wrong with the
/// place shows at its first use.
///
/// # Errors
/// [`StorageError::InvalidAddress`] for options that do not fit; [`StorageError::Unsupported`] for a kind of place that
/// this build was made without.
pub fn open(address: &StorageAddress, options: &StorageOptions) -> Result<Arc<dyn Storage>, StorageError> {
    match address {
        #[cfg(feature = "local")]
        StorageAddress::Local(path) => Ok(Arc::new(super::LocalStorage::open(path)?)),
        StorageAddress::Memory => Ok(Arc::new(ObjectStorage::memory().with_transfer(options.transfer.clone()))),
        #[cfg(feature = "s3")]
        StorageAddress::S3(bucket) => Ok(Arc::new(ObjectStorage::s3(bucket, options)?)),
        #[cfg(feature = "gcs")]
        StorageAddress::Gcs(bucket) => Ok(Arc::new(ObjectStorage::gcs(bucket, options)?)),
        #[cfg(feature = "azure")]
        StorageAddress::Azure(bucket) => Ok(Arc::new(ObjectStorage::azure(bucket, options)?)),
        #[allow(unreachable_patterns, reason = "reached where a feature is off")]
        other => Err(StorageError::Unsupported { location: other.to_string(), action: "this kind of storage place" }),
    }
}
