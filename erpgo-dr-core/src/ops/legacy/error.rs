//! What can go wrong with the files of older scripts.

use std::error::Error as StdError;
use std::io;

use crate::crypto::CryptoError;

/// A failure to read a legacy file. Whatever was read before it is not to be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LegacyError {
    /// The bytes could not be had.
    #[error("the file cannot be read")]
    Source(#[source] Box<dyn StdError + Send + Sync>),
    /// The file, or what a layer holds, has no bytes at all.
    #[error("there is nothing in {place}")]
    Empty {
        /// The file, or the layer.
        place: String,
    },
    /// The beginning is nothing that is known.
    #[error("{place} holds neither a dump nor a layer that is known")]
    UnknownContents {
        /// The file, or the layer.
        place: String,
    },
    /// The derivation that was asked for gives nothing that is known.
    #[error("{place} decrypts to nothing that is known: wrong passphrase or key derivation")]
    WrongPassphrase {
        /// The layer.
        place: String,
    },
    /// It can be read, and is nothing that `pg_restore` reads from a pipe.
    #[error("it holds a {contents}, which cannot be restored from here: feed what `decrypt` gives to {instead}")]
    NotAnArchive {
        /// What it holds.
        contents: super::Contents,
        /// The program that takes it.
        instead: &'static str,
    },
    /// A layer is encrypted, and no passphrase was given.
    #[error("the file is encrypted by openssl enc, and no passphrase was given")]
    NeedsPassphrase,
    /// More layers than any script makes.
    #[error("there are more than {limit} layers in the file")]
    TooManyLayers {
        /// How many are read.
        limit: usize,
    },
    /// The end is missing.
    #[error("the file was cut: {place} ends too early")]
    Truncated {
        /// The layer or contents whose end is missing.
        place: String,
    },
    /// The dump itself is damaged or cut short.
    #[error("the dump in the file is not whole")]
    Incomplete {
        /// What its reader said.
        #[source]
        source: Box<crate::postgres::PostgresError>,
    },
    /// The dump is a backup of the repository already.
    #[error("{file} was imported already: {backup} has the same dump")]
    AlreadyImported {
        /// The file.
        file: String,
        /// The backup.
        backup: crate::types::BackupId,
    },
    /// A layer's bytes are damaged.
    #[error("{place} is damaged")]
    Corrupt {
        /// The layer.
        place: String,
        /// What its decoder said.
        #[source]
        source: io::Error,
    },
    /// The `openssl enc` layer cannot be opened.
    #[error(transparent)]
    Openssl(#[from] CryptoError),
    /// This build leaves a layer's codec out.
    #[error("this build cannot read {codec}: enable the cargo feature of that name")]
    Unavailable {
        /// The codec.
        codec: &'static str,
    },
    /// Reading ended without a result: an earlier call failed, or the runtime is shutting down.
    #[error("reading the file was stopped")]
    Stopped,
    /// A name that no script gives.
    #[error("not the name of a backup file: {0:?}")]
    FileName(String),
}

impl LegacyError {
    /// Carries the error through [`io::Read`].
    pub(super) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }

    /// Takes an error out of [`io::Read`]: our own as it was, a decoder's with its `place`.
    pub(super) fn from_io(error: io::Error, place: impl FnOnce() -> String) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Truncated { place: place() },
            Err(source) => Self::Corrupt { place: place(), source },
        }
    }
}
