//! Names of files in the write-ahead log and its archive.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lsn::{Lsn, TimelineId};

/// The size of WAL segments of a cluster, chosen by `initdb --wal-segsize`: a power of two from 1 MiB to 1 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WalSegmentSize(u32);

impl WalSegmentSize {
    /// 16 MiB, which `initdb` takes by itself.
    pub const DEFAULT: Self = Self(16 << 20);

    /// Returns the size of `bytes`, if PostgreSQL knows segments of that size.
    pub fn new(bytes: u64) -> Option<Self> {
        let valid = bytes.is_power_of_two() && (1 << 20..=1 << 30).contains(&bytes);
        valid.then_some(Self(bytes as u32))
    }

    /// Returns it in bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// Segments in one `xlogid`, the middle eight digits of a name: 4 GiB of WAL.
    fn per_id(self) -> u64 {
        (1 << 32) / self.bytes()
    }
}

/// A segment of the write-ahead log: `000000010000001600000059`.
///
/// The digits are the timeline and two halves of a number, which is a position only together with the size of segments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WalSegmentName {
    timeline: TimelineId,
    high: u32,
    low: u32,
}

impl WalSegmentName {
    /// Names the segment of `timeline` that the byte at `position` lies in.
    pub fn containing(timeline: TimelineId, position: Lsn, size: WalSegmentSize) -> Self {
        Self::numbered(timeline, position.0 / size.bytes(), size)
    }

    /// Names the segment of this number on `timeline`, counted from the beginning of the log.
    pub fn numbered(timeline: TimelineId, number: u64, size: WalSegmentSize) -> Self {
        Self { timeline, high: (number / size.per_id()) as u32, low: (number % size.per_id()) as u32 }
    }

    /// Returns its timeline.
    pub fn timeline(self) -> TimelineId {
        self.timeline
    }

    /// Returns its number, counted from the beginning of the log; `None` when segments of `size` are never named so.
    pub fn number(self, size: WalSegmentSize) -> Option<u64> {
        let low = u64::from(self.low);
        (low < size.per_id()).then(|| u64::from(self.high) * size.per_id() + low)
    }

    /// Returns the position of its first byte; `None` as for [`WalSegmentName::number`].
    pub fn start(self, size: WalSegmentSize) -> Option<Lsn> {
        self.number(size).map(|number| Lsn(number * size.bytes()))
    }

    /// Names the segment after it on the same timeline.
    pub fn next(self, size: WalSegmentSize) -> Option<Self> {
        self.number(size).map(|number| Self::numbered(self.timeline, number + 1, size))
    }
}

impl fmt::Display for WalSegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline.get(), self.high, self.low)
    }
}

impl fmt::Debug for WalSegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A file that PostgreSQL archives or asks the archive for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WalFileName {
    /// A whole segment.
    Segment(WalSegmentName),
    /// The last segment of a timeline, as far as it went when a standby was promoted: `….partial`.
    Partial(WalSegmentName),
    /// How a timeline came about: `00000002.history`.
    History(TimelineId),
    /// The note on a base backup, named for the segment and the byte in it where the backup begins: `….00000028.backup`.
    BackupHistory(WalSegmentName, u32),
}

impl WalFileName {
    /// Returns the timeline in the name.
    pub fn timeline(self) -> TimelineId {
        match self {
            Self::Segment(name) | Self::Partial(name) | Self::BackupHistory(name, _) => name.timeline,
            Self::History(timeline) => timeline,
        }
    }
}

/// Text that names no file of a write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the name of a WAL file: {0:?} (expected a segment as 000000010000000000000001, or .partial, .backup, .history)"
)]
pub struct WalNameError(String);

impl FromStr for WalFileName {
    type Err = WalNameError;

    fn from_str(text: &str) -> Result<Self, WalNameError> {
        parse(text).ok_or_else(|| WalNameError(text.to_owned()))
    }
}

impl FromStr for WalSegmentName {
    type Err = WalNameError;

    fn from_str(text: &str) -> Result<Self, WalNameError> {
        segment(text).ok_or_else(|| WalNameError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<WalFileName> {
    match text.split_once('.') {
        None => segment(text).map(WalFileName::Segment),
        Some((timeline, "history")) => TimelineId::new(digits(timeline)?).map(WalFileName::History),
        Some((name, "partial")) => segment(name).map(WalFileName::Partial),
        Some((name, rest)) => Some(WalFileName::BackupHistory(segment(name)?, digits(rest.strip_suffix(".backup")?)?)),
    }
}

fn segment(text: &str) -> Option<WalSegmentName> {
    let part = |range| text.get(range).and_then(digits);
    let name = WalSegmentName { timeline: TimelineId::new(part(0..8)?)?, high: part(8..16)?, low: part(16..24)? };
    (text.len() == 24).then_some(name)
}

/// Eight digits as PostgreSQL writes them: upper case.
fn digits(text: &str) -> Option<u32> {
    let valid = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    valid.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for WalFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(name) => write!(f, "{name}"),
            Self::Partial(name) => write!(f, "{name}.partial"),
            Self::History(timeline) => write!(f, "{:08X}.history", timeline.get()),
            Self::BackupHistory(name, offset) => write!(f, "{name}.{offset:08X}.backup"),
        }
    }
}

macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(WalSegmentName, WalFileName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name_reads_and_prints_the_same() {
        for text in [
            "000000010000001600000059",
            "0000000A00000000000000FF.partial",
            "00000002.history",
            "000000010000000000000002.00000028.backup",
        ] {
            assert_eq!(text.parse::<WalFileName>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "00000001000000160000005",
            "0000000100000016000000590",
            "00000001000000160000005g",
            "00000001000000160000005a",
            "000000000000001600000059",
            "00000000.history",
            "2.history",
            "000000010000001600000059.Partial",
            "000000010000001600000059.28.backup",
            "000000010000001600000059.00000028",
            "../000000010000001600000059",
            "ü0000001000000160000005",
        ] {
            assert!(text.parse::<WalFileName>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_follow_positions_for_every_size_of_segment() {
        let one = TimelineId::FIRST;
        let name = |lsn: &str, mib: u64| {
            WalSegmentName::containing(one, lsn.parse().unwrap(), WalSegmentSize::new(mib << 20).unwrap()).to_string()
        };
        // As pg_walfile_name() gives them.
        assert_eq!(name("16/B374D848", 16), "0000000100000016000000B3");
        assert_eq!(name("1/0", 16), "000000010000000100000000");
        assert_eq!(name("16/B374D848", 64), "00000001000000160000002C");
        assert_eq!(name("16/B374D848", 1024), "000000010000001600000002");
        let size = WalSegmentSize::DEFAULT;
        let last: WalSegmentName = "0000000100000016000000FF".parse().unwrap();
        assert_eq!(last.next(size).unwrap().to_string(), "000000010000001700000000");
        assert_eq!(last.start(size).unwrap().to_string(), "16/FF000000");
        let foreign: WalSegmentName = "000000010000001600000100".parse().unwrap();
        assert_eq!(foreign.number(size), None);
        assert_eq!(foreign.number(WalSegmentSize::new(1 << 20).unwrap()), Some(0x16100));
        assert!([0, 1, 3 << 20, 1 << 19, 1 << 31].into_iter().all(|bytes| WalSegmentSize::new(bytes).is_none()));
    }
}
