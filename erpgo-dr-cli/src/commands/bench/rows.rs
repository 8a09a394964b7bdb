//! The rows of the table.

use std::fmt;

use erpgo_dr_core::Codec;

use super::Algorithm;

/// One thing that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    Seal,
    Open,
    Compress(Codec),
    Decompress(Codec),
    /// A container as a backup writes it: codec, cipher and MAC.
    Write(Codec),
    /// The same, read to the end.
    Read(Codec),
}

const ZSTD: Codec = Codec::Zstd { level: 3 };

impl Row {
    /// Returns the rows of these algorithms, or of all where none is named.
    pub(super) fn all(wanted: &[Algorithm]) -> Vec<Self> {
        let has = |algorithm| wanted.is_empty() || wanted.contains(&algorithm);
        let codecs = |codec| [Self::Compress(codec), Self::Decompress(codec)];
        let mut rows = Vec::new();
        if has(Algorithm::Cipher) {
            rows.extend([Self::Seal, Self::Open]);
        }
        if has(Algorithm::Zstd) {
            rows.extend([1, 3, 9].into_iter().flat_map(|level| codecs(Codec::Zstd { level })));
        }
        if has(Algorithm::Gzip) {
            rows.extend([1, 6].into_iter().flat_map(|level| codecs(Codec::Gzip { level })));
        }
        if has(Algorithm::Container) {
            rows.extend([Self::Write(Codec::None), Self::Read(Codec::None), Self::Write(ZSTD), Self::Read(ZSTD)]);
        }
        rows
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seal => f.write_str("aes-256-cbc-hmac-sha256 seal"),
            Self::Open => f.write_str("aes-256-cbc-hmac-sha256 open"),
            Self::Compress(codec) => write!(f, "{codec} compress"),
            Self::Decompress(codec) => write!(f, "{codec} decompress"),
            Self::Write(codec) => write!(f, "container {codec} write"),
            Self::Read(codec) => write!(f, "container {codec} read"),
        }
    }
}
