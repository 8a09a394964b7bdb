//! The error of the whole library, and the kinds by which a caller decides what to do.

use std::error::Error as StdError;

use super::legacy::LegacyError;
use super::wal::WalStreamError;
use crate::codec::CodecError;
use crate::container::ContainerError;
use crate::crypto::CryptoError;
use crate::postgres::physical::PhysicalError;
use crate::postgres::wal::WalError;
use crate::postgres::{PostgresError, Refusal};
use crate::repository::RepositoryError;
use crate::storage::StorageError;

/// A result of the library's top layer.
pub type Result<T> = std::result::Result<T, Error>;

/// Any failure of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The repository: catalogue, keys, leases.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A container could not be written or trusted.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// Keys or ciphertext.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A codec or its name.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// PostgreSQL or its client programs.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// A file of the write-ahead log is not what its name says.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// A stream of the write-ahead log cannot begin, or go on.
    #[error(transparent)]
    WalStream(#[from] WalStreamError),
    /// A storage place.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A file of older scripts.
    #[error(transparent)]
    Legacy(#[from] LegacyError),
    /// Something outside of the repository could not be read or written.
    #[error("cannot {action}")]
    Io {
        /// What was tried, and on what.
        action: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// What a failure means for the caller: what to do next depends on this and on little else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option, a setting or an argument is wrong. Nothing was done.
    Invalid,
    /// What was asked for is not there.
    NotFound,
    /// What was to be made is there already.
    AlreadyExists,
    /// A key, passphrase or identity is missing or wrong.
    Locked,
    /// Stored data is damaged, or somebody altered it.
    Integrity,
    /// Stored data must be thawed before it can be read.
    Archived,
    /// Credentials or permissions do not allow it.
    Permission,
    /// A disk or a storage place is full.
    NoSpace,
    /// A server or a storage place cannot be reached; trying again may help.
    Unavailable,
    /// PostgreSQL or one of its programs said no.
    Database,
    /// A guard stopped what would have destroyed data.
    Refused,
    /// Another process is at it.
    Busy,
    /// The operating system failed a read or write outside of the repository.
    Io,
}

impl Error {
    /// Returns what the failure means for the caller, found at the innermost error that this library typed.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Repository(error) => repository_kind(error),
            Self::Container(error) => container_kind(error),
            Self::Crypto(error) => crypto_kind(error),
            Self::Codec(error) => codec_kind(error),
            Self::Postgres(error) => postgres_kind(error),
            Self::Storage(error) => storage_kind(error),
            Self::Wal(_) => ErrorKind::Integrity,
            Self::WalStream(error) => stream_kind(error),
            Self::Legacy(error) => legacy_kind(error),
            Self::Io { source, .. } => io_kind(source),
        }
    }

    /// Returns whether the same call may succeed later without anything being changed by hand.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::Busy)
    }
}

fn stream_kind(error: &WalStreamError) -> ErrorKind {
    use WalStreamError as E;
    match error {
        E::NoSlot { .. } | E::Removed { .. } => ErrorKind::NotFound,
        E::OtherCluster { .. } | E::LeftBehind { .. } | E::Diverged { .. } => ErrorKind::Refused,
        E::WentBack { .. } | E::Rewritten { .. } => ErrorKind::Refused,
        E::FolderBusy { .. } => ErrorKind::Busy,
        E::SeveralClusters { .. } => ErrorKind::Invalid,
        E::OutOfOrder { .. } => ErrorKind::Integrity,
    }
}

/// Returns what a failure of the repository means for the caller.
pub(crate) fn repository_kind(error: &RepositoryError) -> ErrorKind {
    use RepositoryError as E;
    match error {
        E::NotARepository { .. } | E::NoSuchSlot { .. } | E::NoSuchBackup(_) | E::NoBackup(_) => ErrorKind::NotFound,
        E::AlreadyInitialized { .. } | E::SlotExists { .. } => ErrorKind::AlreadyExists,
        E::UnsupportedFormat { .. } | E::NoSlots => ErrorKind::Invalid,
        E::Damaged { .. } | E::NotAuthentic { .. } | E::EpochConflict { .. } => ErrorKind::Integrity,
        E::Locked { .. } | E::NoSlotOpened { .. } => ErrorKind::Locked,
        E::LastSlot { .. } | E::OnHold { .. } | E::ForeignPlace { .. } => ErrorKind::Refused,
        E::WalConflict { .. } => ErrorKind::AlreadyExists,
        E::WalDamaged { .. } | E::WalGap { .. } => ErrorKind::Integrity,
        E::WalUnreadable { source, .. } => io_kind(source),
        E::WalSystemUnknown { .. } => ErrorKind::Invalid,
        E::NoWalOfSystem { .. } | E::NoSuchEvidence(_) => ErrorKind::NotFound,
        E::Busy { .. } | E::Revoked { .. } | E::EntryExists { .. } => ErrorKind::Busy,
        E::Container(error) => container_kind(error),
        E::Crypto(error) => crypto_kind(error),
        E::Storage(error) => storage_kind(error),
    }
}

fn container_kind(error: &ContainerError) -> ErrorKind {
    use ContainerError as E;
    match error {
        E::Storage(error) => storage_kind(error),
        E::Codec { source, .. } => codec_kind(source),
        E::NoKey { .. } => ErrorKind::Locked,
        E::InvalidOption { .. } | E::OutOfRange { .. } | E::UnsupportedVersion { .. } => ErrorKind::Invalid,
        _ => ErrorKind::Integrity,
    }
}

fn codec_kind(error: &CodecError) -> ErrorKind {
    match error {
        CodecError::Corrupt { .. } | CodecError::WrongLength { .. } => ErrorKind::Integrity,
        _ => ErrorKind::Invalid,
    }
}

fn crypto_kind(error: &CryptoError) -> ErrorKind {
    use CryptoError as E;
    match error {
        E::SegmentNotAuthentic { .. } | E::SegmentOutOfOrder { .. } | E::SegmentMalformed { .. } => {
            ErrorKind::Integrity
        }
        E::SlotCorrupt { .. } | E::WrongSlot { .. } | E::WorkFactorTooHigh { .. } => ErrorKind::Integrity,
        E::OpensslTruncated { .. } | E::OpensslBadPadding => ErrorKind::Integrity,
        E::SlotName(_) | E::RecipientInvalid { .. } | E::NoRecipients | E::WrapFailed { .. } => ErrorKind::Invalid,
        E::OpensslNotSalted => ErrorKind::Invalid,
        _ => ErrorKind::Locked,
    }
}

fn legacy_kind(error: &LegacyError) -> ErrorKind {
    use LegacyError as E;
    match error {
        E::Source(source) => boxed_kind(source.as_ref()),
        E::Openssl(error) => crypto_kind(error),
        E::NotAnArchive { .. } => ErrorKind::Invalid,
        E::NeedsPassphrase | E::WrongPassphrase { .. } => ErrorKind::Locked,
        E::Empty { .. } | E::Truncated { .. } | E::Corrupt { .. } | E::Incomplete { .. } => ErrorKind::Integrity,
        E::AlreadyImported { .. } => ErrorKind::AlreadyExists,
        E::Stopped => ErrorKind::Io,
        E::UnknownContents { .. } | E::TooManyLayers { .. } | E::Unavailable { .. } | E::FileName(_) => {
            ErrorKind::Invalid
        }
    }
}

fn storage_kind(error: &StorageError) -> ErrorKind {
    use StorageError as E;
    match error {
        E::NotFound { .. } => ErrorKind::NotFound,
        E::AlreadyExists { .. } => ErrorKind::AlreadyExists,
        E::Archived { .. } => ErrorKind::Archived,
        E::PermissionDenied { .. } => ErrorKind::Permission,
        E::NoSpace { .. } => ErrorKind::NoSpace,
        E::TooLarge { .. } => ErrorKind::Integrity,
        E::Unsupported { .. } | E::InvalidAddress { .. } | E::InvalidStorageClass(_) => ErrorKind::Invalid,
        E::Failed { .. } => ErrorKind::Io,
        _ => ErrorKind::Unavailable,
    }
}

fn postgres_kind(error: &PostgresError) -> ErrorKind {
    use PostgresError as E;
    match error.refusal() {
        Some(Refusal::Credentials | Refusal::Privilege) => return ErrorKind::Permission,
        Some(Refusal::NoSuchDatabase) => return ErrorKind::NotFound,
        Some(Refusal::DiskFull) => return ErrorKind::NoSpace,
        Some(Refusal::NotNow) if !matches!(error, E::LeftBehind { .. }) => return ErrorKind::Unavailable,
        _ => {}
    }
    match error {
        error if error.is_outage() => ErrorKind::Unavailable,
        E::ScratchFull { .. } => ErrorKind::NoSpace,
        // What is in the way must go first, whatever the reason was.
        E::LeftBehind { source, .. } => match postgres_kind(source) {
            ErrorKind::Unavailable | ErrorKind::Busy => ErrorKind::Database,
            kind => kind,
        },
        E::InvalidSettings(_) | E::InvalidOptions(_) => ErrorKind::Invalid,
        E::NoSuchDatabase { .. } | E::NotInBackup(_) | E::NoClientProgram { .. } => ErrorKind::NotFound,
        E::MalformedArchive(_) | E::ContentsDiffer(_) | E::MalformedCluster(_) => ErrorKind::Integrity,
        E::TargetNotEmpty { .. } | E::FolderNotEmpty { .. } => ErrorKind::Refused,
        E::Sink(source) | E::Source(source) => boxed_kind(source.as_ref()),
        E::File { source, .. } | E::Spawn { source, .. } => io_kind(source),
        E::Physical(error) => physical_kind(error),
        _ => ErrorKind::Database,
    }
}

fn physical_kind(error: &PhysicalError) -> ErrorKind {
    use PhysicalError as E;
    match error {
        E::ForeignDirectory { .. } | E::WalLevel { .. } => ErrorKind::Invalid,
        E::ControlFile { .. } | E::Tablespace { .. } | E::Label { .. } => ErrorKind::Integrity,
        E::ServerRuns { .. } | E::OtherCluster { .. } => ErrorKind::Refused,
        E::ForeignTablespace { .. } | E::UnarchivedWal { .. } => ErrorKind::Refused,
        E::TargetNotReached { .. } => ErrorKind::NotFound,
        E::NotStarted { .. } | E::ReplayStalled { .. } | E::ReplayTimedOut { .. } => ErrorKind::Database,
        E::SessionLost { .. } | E::Promoted { .. } | E::TimelineChanged { .. } => ErrorKind::Unavailable,
    }
}

/// Finds one of our own errors in a boxed one, along its chain of sources.
fn boxed_kind(error: &(dyn StdError + 'static)) -> ErrorKind {
    let mut next = Some(error);
    while let Some(error) = next {
        let known = (error.downcast_ref().map(container_kind))
            .or_else(|| error.downcast_ref().map(storage_kind))
            .or_else(|| error.downcast_ref().map(repository_kind))
            .or_else(|| error.downcast_ref().map(legacy_kind))
            .or_else(|| error.downcast_ref().map(postgres_kind))
            .or_else(|| error.downcast_ref().map(legacy_kind))
            .or_else(|| error.downcast_ref().map(io_kind));
        if let Some(kind) = known {
            return kind;
        }
        next = error.source();
    }
    ErrorKind::Io
}

fn io_kind(error: &std::io::Error) -> ErrorKind {
    match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Permission,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        _ => ErrorKind::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(source: impl Into<crate::postgres::BoxError>) -> Error {
        let (server, action) = ("db1/erp".to_owned(), "read table a".to_owned());
        PostgresError::Query { server, action, source: source.into() }.into()
    }

    #[test]
    fn a_connection_that_was_lost_in_a_query_is_an_outage_and_an_answer_is_none() {
        let lost = failed(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert_eq!((lost.kind(), lost.is_retryable()), (ErrorKind::Unavailable, true));
        let answer = failed("a column is no number");
        assert_eq!((answer.kind(), answer.is_retryable()), (ErrorKind::Database, false));
    }
}
