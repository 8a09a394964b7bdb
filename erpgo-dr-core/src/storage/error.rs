//! What can go wrong with a storage place.

use std::time::Duration;

use crate::types::ObjectKey;

/// A boxed cause.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A failure of a storage place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no such object.
    #[error("{location}: no object {key}")]
    NotFound {
        /// Where.
        location: String,
        /// Which.
        key: ObjectKey,
    },
    /// [`create`](super::Storage::create) found an object in its place.
    #[error("{location}: object {key} already exists")]
    AlreadyExists {
        /// Where.
        location: String,
        /// Which.
        key: ObjectKey,
    },
    /// The object is in an archive class and must be thawed before it can be read.
    #[error("{location}: object {key} is archived and must be thawed before it can be read")]
    Archived {
        /// Where.
        location: String,
        /// Which.
        key: ObjectKey,
    },
    /// The place refused the credentials or the action.
    #[error("{location}: permission denied on {subject}")]
    PermissionDenied {
        /// Where.
        location: String,
        /// The object or folder.
        subject: String,
        /// What the place said.
        #[source]
        source: BoxError,
    },
    /// The place has no room left.
    #[error("{location}: no space left")]
    NoSpace {
        /// Where.
        location: String,
        /// What the place said.
        #[source]
        source: BoxError,
    },
    /// The folder of a place on disk is not there: not mounted, moved away, or never made.
    #[error("{location}: the folder is not there")]
    FolderMissing {
        /// Where.
        location: String,
    },
    /// Another folder has come into the place of the one that was there: the empty one below a mount, say.
    #[error("{location}: the folder is another one than before")]
    FolderReplaced {
        /// Where.
        location: String,
    },
    /// The place cannot be reached, or gave up; trying again may help.
    #[error("{location}: cannot {action} {subject}")]
    Unavailable {
        /// Where.
        location: String,
        /// What was tried: `read`, `write`, `list`...
        action: &'static str,
        /// The object or folder.
        subject: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// An answer did not come in time.
    #[error("{location}: no answer within {timeout:?}")]
    TimedOut {
        /// Where.
        location: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The place answered with something that trying again will not mend.
    #[error("{location}: cannot {action} {subject}")]
    Failed {
        /// Where.
        location: String,
        /// What was tried.
        action: &'static str,
        /// The object or folder.
        subject: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// A read delivered fewer bytes than the object has.
    #[error("{location}: object {key} ended after {found} of {expected} bytes")]
    ShortRead {
        /// Where.
        location: String,
        /// Which.
        key: ObjectKey,
        /// Bytes promised.
        expected: u64,
        /// Bytes delivered.
        found: u64,
    },
    /// An object is larger than its reader allows.
    #[error("object {key} is larger than the {limit} bytes that it may have")]
    TooLarge {
        /// Which.
        key: ObjectKey,
        /// The bound in bytes.
        limit: usize,
    },
    /// The place does not do this.
    #[error("{location} does not support {action}")]
    Unsupported {
        /// Where.
        location: String,
        /// What was asked.
        action: &'static str,
    },
    /// Text that is not the address of a storage place.
    #[error("not a storage address: {address}: {reason}")]
    InvalidAddress {
        /// The text, without credentials.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Text that is not a storage class.
    #[error("not a storage class: {0:?}")]
    InvalidStorageClass(String),
    /// Some of several places failed. `durable` of `places` have the object.
    #[error("only {durable} of {places} storage places have {subject}: {detail}")]
    Degraded {
        /// Places that have it.
        durable: usize,
        /// Places that should.
        places: usize,
        /// The object.
        subject: String,
        /// Which place failed and how.
        detail: String,
    },
}

impl StorageError {
    /// Returns whether the same call may succeed later without anything being changed by hand.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::TimedOut { .. } | Self::ShortRead { .. })
    }
}
