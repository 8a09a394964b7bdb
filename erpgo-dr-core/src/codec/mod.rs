//! Compresses and decompresses single frames. Knows nothing of keys or storage.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How frames are compressed. Written as `zstd:3`, `gzip:6`, `none`; a level left out is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// Frames are stored as they are.
    None,
    /// Zstandard, levels -7 to 22; 3 unless told otherwise.
    Zstd {
        /// The level.
        level: i32,
    },
    /// Gzip members (RFC 1952), levels 0 to 9; 6 unless told otherwise.
    Gzip {
        /// The level.
        level: u32,
    },
}

impl Default for Codec {
    fn default() -> Self {
        Self::Zstd { level: 3 }
    }
}

/// Why a frame could not be compressed or decompressed, or a codec's name not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The compressed bytes are not what the codec writes.
    #[error("a frame does not decompress as {codec}")]
    Corrupt {
        /// The codec.
        codec: &'static str,
        /// What the decompressor said.
        #[source]
        source: std::io::Error,
    },
    /// A frame decompresses to another length than its header says.
    #[error("a frame decompresses to {found} bytes where its header says {expected}")]
    WrongLength {
        /// Bytes according to the header.
        expected: usize,
        /// Bytes that came out.
        found: usize,
    },
    /// The codec exists, and this build leaves it out.
    #[error("this build has no {codec}: enable the cargo feature of that name")]
    Unavailable {
        /// The codec.
        codec: &'static str,
    },
    /// Text that names no codec.
    #[error("not a codec: {0:?} (expected zstd[:LEVEL], gzip[:LEVEL] or none)")]
    UnknownName(String),
    /// A header's number that names no codec.
    #[error("unknown codec number {0}: written by a newer version?")]
    UnknownCode(u8),
    /// A level that the codec does not have.
    #[error("{codec} has no level {level}")]
    LevelOutOfRange {
        /// The codec.
        codec: &'static str,
        /// The level asked for.
        level: i64,
    },
}

impl Codec {
    /// Returns the number by which a container's header names the codec. The level is not stored.
    pub fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Zstd { .. } => 1,
            Self::Gzip { .. } => 2,
        }
    }

    /// Returns the codec's name without its level.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd { .. } => "zstd",
            Self::Gzip { .. } => "gzip",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Zstd { level } => write!(f, "zstd:{level}"),
            Self::Gzip { level } => write!(f, "gzip:{level}"),
        }
    }
}

impl FromStr for Codec {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, CodecError> {
        let unknown = || CodecError::UnknownName(text.to_owned());
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level.parse::<i64>().map_err(|_| unknown())?)),
            None => (text, None),
        };
        let within = |codec, range: std::ops::RangeInclusive<i64>, default| match level {
            None => Ok(default),
            Some(level) if range.contains(&level) => Ok(level),
            Some(level) => Err(CodecError::LevelOutOfRange { codec, level }),
        };
        match name {
            "none" if level.is_none() => Ok(Self::None),
            "zstd" => Ok(Self::Zstd { level: within("zstd", -7..=22, 3)? as i32 }),
            "gzip" => Ok(Self::Gzip { level: within("gzip", 0..=9, 6)? as u32 }),
            _ => Err(unknown()),
        }
    }
}

impl Serialize for Codec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Codec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
