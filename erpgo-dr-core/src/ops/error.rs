//! The error of the whole library, and the kinds by which a caller decides what to do.

use crate::container::ContainerError;
use crate::crypto::CryptoError;
use crate::postgres::PostgresError;
use crate::storage::StorageError;

/// A result of the library's top layer.
pub type Result<T> = std::result::Result<T, Error>;

/// What a failure means for the caller: what to do next depends on this and on little else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option or a setting is wrong.
    Invalid,
}

/// Any failure of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A container could not be written or trusted.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// Keys or ciphertext.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// PostgreSQL or its client programs.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// A storage place.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
