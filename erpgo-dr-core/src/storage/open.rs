//! From an address and options to a storage place.

use std::sync::Arc;

use super::{ObjectStorage, RetryOptions, Storage, StorageAddress, StorageError, TransferOptions};

/// What an address leaves open. Each kind of place takes what concerns it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StorageOptions {
    /// How much travels at once.
    pub transfer: TransferOptions,
    /// How long to wait, and how often to ask again.
    pub retry: RetryOptions,
}

impl StorageOptions {
    /// Sets how much travels at once.
    pub fn with_transfer(mut self, transfer: TransferOptions) -> Self {
        self.transfer = transfer;
        self
    }

    /// Sets how long to wait, and how often to ask again.
    pub fn with_retry(mut self, retry: RetryOptions) -> Self {
        self.retry = retry;
        self
    }
}

/// Makes a storage place. Touches neither disk nor network: what is wrong with the place shows at its first use.
///
/// # Errors
/// [`StorageError::InvalidAddress`] for options that do not fit; [`StorageError::Unsupported`] for a kind of place that
/// this build was made without.
pub fn open(address: &StorageAddress, options: &StorageOptions) -> Result<Arc<dyn Storage>, StorageError> {
    match address {
        #[cfg(feature = "local")]
        StorageAddress::Local(path) => Ok(Arc::new(super::LocalStorage::open(path)?)),
        StorageAddress::Memory => Ok(Arc::new(ObjectStorage::memory().with_transfer(options.transfer.clone()))),
        #[allow(unreachable_patterns, reason = "reached where a feature is off")]
        other => Err(StorageError::Unsupported { location: other.to_string(), action: "this kind of storage place" }),
    }
}
