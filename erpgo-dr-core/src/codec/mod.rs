//! Compresses and decompresses single frames. Knows nothing of keys or storage.
//!
//! Each frame is by itself what the codec's own tool reads: one zstd frame, or one gzip member.

#[cfg(feature = "gzip")]
mod gzip_member;
#[cfg(feature = "zstd")]
mod zstd_frame;

use std::fmt;
use std::ops::RangeInclusive;
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
    /// The compressor gave up.
    #[error("{codec} cannot compress a frame")]
    Failed {
        /// The codec.
        codec: &'static str,
        /// What the compressor said.
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

    /// Returns the codec of a header's number, at its default level.
    ///
    /// # Errors
    /// [`CodecError::UnknownCode`]; [`CodecError::Unavailable`] when this build cannot read it.
    pub fn from_code(code: u8) -> Result<Self, CodecError> {
        let codec = match code {
            0 => Self::None,
            1 => Self::Zstd { level: 3 },
            2 => Self::Gzip { level: 6 },
            _ => return Err(CodecError::UnknownCode(code)),
        };
        codec.check_available()?;
        Ok(codec)
    }

    /// Checks that this build has the codec, and that the codec has the level.
    ///
    /// # Errors
    /// [`CodecError::Unavailable`], [`CodecError::LevelOutOfRange`].
    pub fn check_available(self) -> Result<(), CodecError> {
        let codec = self.name();
        let (built_in, level, levels) = match self {
            Self::None => return Ok(()),
            Self::Zstd { level } => (cfg!(feature = "zstd"), i64::from(level), ZSTD_LEVELS),
            Self::Gzip { level } => (cfg!(feature = "gzip"), i64::from(level), GZIP_LEVELS),
        };
        if !built_in {
            return Err(CodecError::Unavailable { codec });
        }
        if !levels.contains(&level) {
            return Err(CodecError::LevelOutOfRange { codec, level });
        }
        Ok(())
    }

    /// Appends the compressed form of `plain` to `out`; [`Codec::None`] appends `plain` itself.
    ///
    /// The compressor's tables are kept by the thread and used again.
    ///
    /// # Errors
    /// [`CodecError::Unavailable`], [`CodecError::LevelOutOfRange`], [`CodecError::Failed`].
    pub fn compress(self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.check_available()?;
        match self {
            Self::None => out.extend_from_slice(plain),
            #[cfg(feature = "zstd")]
            Self::Zstd { level } => zstd_frame::compress(level, plain, out)?,
            #[cfg(feature = "gzip")]
            Self::Gzip { level } => gzip_member::compress(level, plain, out)?,
            #[cfg(not(all(feature = "zstd", feature = "gzip")))]
            _ => return Err(CodecError::Unavailable { codec: self.name() }),
        }
        Ok(())
    }

    /// Appends to `out` the `plain_len` bytes that `stored` decompresses to. The level plays no part.
    ///
    /// Never writes more than `plain_len` bytes, whatever `stored` holds; on an error `out` is as it was.
    ///
    /// # Errors
    /// [`CodecError::Corrupt`], [`CodecError::WrongLength`], [`CodecError::Unavailable`].
    pub fn decompress(self, stored: &[u8], plain_len: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = out.len();
        out.reserve_exact(plain_len);
        let outcome = match self {
            Self::None if stored.len() != plain_len => {
                Err(CodecError::WrongLength { expected: plain_len, found: stored.len() })
            }
            Self::None => {
                out.extend_from_slice(stored);
                Ok(())
            }
            #[cfg(feature = "zstd")]
            Self::Zstd { .. } => zstd_frame::decompress(stored, plain_len, out),
            #[cfg(feature = "gzip")]
            Self::Gzip { .. } => gzip_member::decompress(stored, plain_len, out),
            #[cfg(not(all(feature = "zstd", feature = "gzip")))]
            _ => Err(CodecError::Unavailable { codec: self.name() }),
        };
        if outcome.is_err() {
            out.truncate(start);
        }
        outcome
    }
}

const ZSTD_LEVELS: RangeInclusive<i64> = -7..=22;
const GZIP_LEVELS: RangeInclusive<i64> = 0..=9;

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
        let within = |codec, range: RangeInclusive<i64>, default| match level {
            None => Ok(default),
            Some(level) if range.contains(&level) => Ok(level),
            Some(level) => Err(CodecError::LevelOutOfRange { codec, level }),
        };
        match name {
            "none" if level.is_none() => Ok(Self::None),
            "zstd" => Ok(Self::Zstd { level: within("zstd", ZSTD_LEVELS, 3)? as i32 }),
            "gzip" => Ok(Self::Gzip { level: within("gzip", GZIP_LEVELS, 6)? as u32 }),
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

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 7] = [
        Codec::None,
        Codec::Zstd { level: 3 },
        Codec::Zstd { level: -7 },
        Codec::Zstd { level: 19 },
        Codec::Gzip { level: 6 },
        Codec::Gzip { level: 0 },
        Codec::Gzip { level: 9 },
    ];

    fn samples() -> Vec<Vec<u8>> {
        let mut state = 1u32;
        let noise = (0..70_000).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        vec![vec![7], vec![0; 100_000], b"insert into t values (1), (2);\n".repeat(3000), noise.collect()]
    }

    #[test]
    fn what_is_compressed_decompresses_behind_what_was_there() {
        for codec in ALL {
            for plain in samples() {
                let mut stored = b"header".to_vec();
                codec.compress(&plain, &mut stored).unwrap();
                let mut back = b"before".to_vec();
                codec.decompress(&stored[6..], plain.len(), &mut back).unwrap();
                assert!(stored.starts_with(b"header") && back.starts_with(b"before"));
                assert_eq!(&back[6..], plain, "{codec}");
            }
        }
    }

    #[test]
    fn another_length_than_promised_is_an_error_and_leaves_nothing() {
        for codec in ALL {
            for plain in samples() {
                let mut stored = Vec::new();
                codec.compress(&plain, &mut stored).unwrap();
                for wrong in [plain.len() - 1, plain.len() + 1] {
                    let mut out = b"before".to_vec();
                    assert!(codec.decompress(&stored, wrong, &mut out).is_err(), "{codec}");
                    assert_eq!(out, b"before");
                }
            }
        }
    }

    #[test]
    fn cut_or_lengthened_frames_are_corrupt() {
        for codec in ALL.into_iter().filter(|codec| *codec != Codec::None) {
            let plain = &samples()[2];
            let mut stored = Vec::new();
            codec.compress(plain, &mut stored).unwrap();
            let mut out = Vec::new();
            assert!(codec.decompress(&stored[..stored.len() - 1], plain.len(), &mut out).is_err(), "{codec}");
            assert!(codec.decompress(&[], plain.len(), &mut out).is_err(), "{codec}");
            stored.push(0);
            assert!(codec.decompress(&stored, plain.len(), &mut out).is_err(), "{codec}");
        }
    }

    #[test]
    fn names_parse_and_levels_are_checked() {
        for codec in ALL {
            assert_eq!(codec.to_string().parse::<Codec>().unwrap(), codec);
            assert_eq!(Codec::from_code(codec.code()).unwrap().name(), codec.name());
        }
        assert_eq!("zstd".parse::<Codec>().unwrap(), Codec::Zstd { level: 3 });
        assert!(matches!("zstd:23".parse::<Codec>(), Err(CodecError::LevelOutOfRange { level: 23, .. })));
        assert!(matches!("none:1".parse::<Codec>(), Err(CodecError::UnknownName(_))));
        assert!(matches!("lz4".parse::<Codec>(), Err(CodecError::UnknownName(_))));
        assert!(matches!(Codec::from_code(3), Err(CodecError::UnknownCode(3))));
        let codec = Codec::Gzip { level: 10 };
        assert!(matches!(codec.compress(b"x", &mut Vec::new()), Err(CodecError::LevelOutOfRange { .. })));
    }
}
