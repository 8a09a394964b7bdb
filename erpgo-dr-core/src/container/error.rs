//! What can go wrong while a container is written or read.

use crate::codec::CodecError;
use crate::crypto::CryptoError;
use crate::storage::StorageError;
use crate::types::EpochId;

/// A failure to write a container, or to trust one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// The object does not begin like a container.
    #[error("{object}: not an erpgo-dr container")]
    NotAContainer {
        /// The object.
        object: String,
    },
    /// The object is of a format version that this build does not know.
    #[error("{object}: format version {version} is newer than this build reads")]
    UnsupportedVersion {
        /// The object.
        object: String,
        /// Its version.
        version: u16,
    },
    /// A field of the header, index or trailer cannot be.
    #[error("{object}: malformed {part}")]
    Malformed {
        /// The object.
        object: String,
        /// `header`, `frame`, `index` or `trailer`.
        part: &'static str,
    },
    /// A container of another object lies here: two were swapped, or an old one was put back.
    #[error("{expected}: another object lies in its place: {found}")]
    WrongObject {
        /// What was asked for.
        expected: String,
        /// What the header says.
        found: String,
    },
    /// The key of the object's epoch has not been unlocked.
    #[error("{object}: no key for epoch {epoch}")]
    NoKey {
        /// The object.
        object: String,
        /// The epoch in its header.
        epoch: EpochId,
    },
    /// The header's MAC does not match: a wrong key, or an altered header.
    #[error("{object}: its header is not authentic: wrong key, or altered")]
    HeaderNotAuthentic {
        /// The object.
        object: String,
    },
    /// The index or trailer does not match what was read.
    #[error("{object}: its {part} is not authentic")]
    NotAuthentic {
        /// The object.
        object: String,
        /// `index` or `trailer`.
        part: &'static str,
    },
    /// The object ends before its trailer.
    #[error("{object}: truncated")]
    Truncated {
        /// The object.
        object: String,
    },
    /// Bytes follow the trailer.
    #[error("{object}: bytes follow its end")]
    TrailingBytes {
        /// The object.
        object: String,
    },
    /// A range that does not lie in the object.
    #[error("{object}: bytes {start}..{end} lie outside its {length}")]
    OutOfRange {
        /// The object.
        object: String,
        /// First byte asked for.
        start: u64,
        /// End of what was asked for.
        end: u64,
        /// Plaintext bytes of the object.
        length: u64,
    },
    /// A segment is not authentic.
    #[error("{object}: not trusted")]
    Crypto {
        /// The object.
        object: String,
        /// Which segment, and why.
        #[source]
        source: CryptoError,
    },
    /// A frame could not be compressed or decompressed.
    #[error("{object}: codec failed")]
    Codec {
        /// The object.
        object: String,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// More than the format numbers, or than the caller allowed.
    #[error("{object}: larger than allowed")]
    TooLarge {
        /// The object.
        object: String,
    },
    /// An earlier call failed or was cancelled, or a check began after something had been read.
    #[error("{object}: an earlier call left it unusable")]
    Unusable {
        /// The object.
        object: String,
    },
    /// An option has a value that the format does not allow.
    #[error("container option {option} cannot be {value}")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// The value.
        value: u64,
    },
    /// The storage place failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ContainerError {
    /// Returns whether the same call may succeed later without anything being changed by hand.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_retryable())
    }
}
