//! Reads the files of older backup scripts: a dump of `pg_dump`, perhaps compressed, perhaps in `openssl enc`.
//!
//! The layers are told by what the bytes are and not by a file's name. They come off as the bytes stream
//! past, in bounded memory and never on disk. Nothing in such a file is authenticated: what its layers
//! can show is accidental damage, and [`Layer::integrity`] says for each how much.
//!
//! What is inside a dump is not looked at. A custom-format archive is proven whole by
//! [`ArchiveScanner`](crate::postgres::archive::ArchiveScanner).

mod decode;
mod error;
mod file_name;
mod reader;
mod sniff;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;

use secrecy::SecretString;

use crate::crypto::openssl_enc::OpensslKdf;
use crate::postgres::BackupContents;

pub use error::LegacyError;
pub use file_name::{LegacyFileName, LegacyPeriod, LegacyScope};
pub use reader::LegacyReader;
pub use sniff::{Sniffed, sniff};
pub(crate) use source::LegacySource;

/// Reads the dump in a file to its end, whatever layers are around it, and tells what is in it.
///
/// Rows are counted only in an archive that pg_dump did not compress itself.
///
/// # Errors
/// [`LegacyError`] for what cannot be read, is not whole, or is no archive of `pg_restore`.
pub async fn examine(path: &Path, options: &LegacyOptions) -> super::Result<ExaminedFile> {
    let source = LegacySource::examine(path, options).await?;
    Ok(ExaminedFile { contents: source.contents().clone(), rows_counted: source.is_fingerprinted() })
}

/// A file whose dump was read to its end and found whole.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExaminedFile {
    /// What is in it, as the manifest of a backup has it: one database.
    pub contents: BackupContents,
    /// Whether the rows of its tables were counted.
    pub rows_counted: bool,
}

/// What is needed to read a file.
#[derive(Debug, Clone, Default)]
pub struct LegacyOptions {
    /// The passphrase of an `openssl enc` layer.
    pub passphrase: Option<SecretString>,
    /// How the key comes from the passphrase; found out where it is left open.
    pub kdf: Option<OpensslKdf>,
    /// The `-iter` of `openssl enc -pbkdf2`, to be tried as well when `kdf` is left open.
    pub iterations: Option<NonZeroU32>,
}

/// A layer around the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// What it is.
    pub kind: LayerKind,
    /// What it can show about damage.
    pub integrity: Integrity,
}

/// What a layer around a dump is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerKind {
    /// `openssl enc -aes-256-cbc`, with the derivation that opens it.
    Openssl(OpensslKdf),
    /// Gzip, of one or more members.
    Gzip,
    /// Zstandard, of one or more frames.
    Zstd,
}

/// How much damage a layer can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Integrity {
    /// Nothing but a wrong end.
    None,
    /// A checksum, checked at the end. It finds accidents; an attacker computes it anew.
    Checksum,
}

/// What is inside of all layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contents {
    /// An archive of `pg_dump --format=custom`.
    PgDumpCustom,
    /// An archive of `pg_dump --format=tar`.
    PgDumpTar,
    /// A tar archive that is not of `pg_dump --format=tar`.
    Tar,
    /// SQL text with the head of `pg_dump` or `pg_dumpall`. Its closing line is checked for.
    PgDumpText,
    /// Other SQL text. Whether its end is missing cannot be told.
    Sql,
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Openssl(kdf) => write!(f, "openssl enc ({kdf}, unauthenticated)"),
            Self::Gzip => f.write_str("gzip"),
            Self::Zstd => f.write_str("zstd"),
        }
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PgDumpCustom => "custom-format archive of pg_dump",
            Self::PgDumpTar => "tar-format archive of pg_dump",
            Self::Tar => "tar archive, which is not one of pg_dump",
            Self::PgDumpText => "SQL text of pg_dump",
            Self::Sql => "SQL text",
        })
    }
}
