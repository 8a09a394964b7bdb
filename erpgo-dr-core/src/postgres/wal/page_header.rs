//! The first bytes of a WAL segment: the long page header, and whether it agrees with the file's name.

use crate::types::{Lsn, TimelineId, WalSegmentName, WalSegmentSize};

use super::WalError;

/// `XLOG_PAGE_MAGIC` of each major version (`src/include/access/xlog_internal.h`).
const MAGICS: [(u16, u32); 6] = [(0xD106, 13), (0xD10D, 14), (0xD110, 15), (0xD113, 16), (0xD116, 17), (0xD118, 18)];

const LONG_HEADER: u16 = 0x0002;
const ALL_FLAGS: u16 = 0x000F;

/// The long header of a segment's first page, `XLogLongPageHeaderData`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentHeader {
    /// The major version of the server that wrote it.
    pub major: u32,
    /// The timeline that the first record of the page was written on: that of the name, or of an ancestor, where the segment is the
    /// copy with which a timeline begins.
    pub timeline: TimelineId,
    /// Where the segment begins.
    pub start: Lsn,
    /// The cluster.
    pub system_identifier: u64,
    /// The size of segments.
    pub segment_size: WalSegmentSize,
    /// The size of a page of the log, in bytes.
    pub page_bytes: u32,
}

impl SegmentHeader {
    /// Bytes that the header takes.
    pub const LEN: usize = 40;

    /// Reads the header that `file` begins with. `begin` is its first [`SegmentHeader::LEN`] bytes, or more.
    ///
    /// The log is in the byte order of its server; only little-endian ones are read.
    ///
    /// # Errors
    /// [`WalError::TooShort`], [`WalError::UnknownMagic`], [`WalError::Malformed`].
    pub fn parse(file: &str, begin: &[u8]) -> Result<Self, WalError> {
        let Some(header) = begin.first_chunk::<{ Self::LEN }>() else {
            return Err(WalError::TooShort { file: file.to_owned(), length: begin.len() as u64 });
        };
        let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let word = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let malformed = |field, value| WalError::Malformed { file: file.to_owned(), field, value };
        let magic = short(0);
        let Some((_, major)) = MAGICS.iter().find(|(known, _)| *known == magic) else {
            return Err(WalError::UnknownMagic { file: file.to_owned(), magic });
        };
        let (info, timeline, start, system_identifier) = (short(2), word(4), long(8), long(24));
        let (segment_bytes, page_bytes) = (word(32), word(36));
        if info & LONG_HEADER == 0 || info & !ALL_FLAGS != 0 {
            return Err(malformed("xlp_info", info.into()));
        }
        if !page_bytes.is_power_of_two() || !(1 << 10..=1 << 16).contains(&page_bytes) {
            return Err(malformed("xlp_xlog_blcksz", page_bytes.into()));
        }
        let size = WalSegmentSize::new(segment_bytes.into());
        Ok(Self {
            major: *major,
            timeline: TimelineId::new(timeline).ok_or_else(|| malformed("xlp_tli", 0))?,
            start: Lsn(start),
            system_identifier,
            segment_size: size.ok_or_else(|| malformed("xlp_seg_size", segment_bytes.into()))?,
            page_bytes,
        })
    }

    /// Returns the number that every page of this version begins with.
    pub(super) fn magic(&self) -> u16 {
        MAGICS.iter().find(|(_, major)| *major == self.major).map_or(0, |(magic, _)| *magic)
    }

    /// Checks that the header is that of the segment `name`, and of the cluster `system_identifier` where one is expected.
    ///
    /// # Errors
    /// [`WalError::WrongName`], [`WalError::WrongPosition`], [`WalError::WrongTimeline`], [`WalError::WrongSystem`].
    pub fn check(&self, name: WalSegmentName, system_identifier: Option<u64>) -> Result<(), WalError> {
        let file = || name.to_string();
        let Some(expected) = name.start(self.segment_size) else {
            return Err(WalError::WrongName { file: file(), segment_bytes: self.segment_size.bytes() });
        };
        if self.start != expected {
            return Err(WalError::WrongPosition { file: file(), found: self.start, expected });
        }
        if self.timeline > name.timeline() {
            let (found, expected) = (self.timeline, name.timeline());
            return Err(WalError::WrongTimeline { file: file(), found, expected });
        }
        match system_identifier {
            Some(expected) if expected != self.system_identifier => {
                Err(WalError::WrongSystem { file: file(), found: self.system_identifier, expected })
            }
            _ => Ok(()),
        }
    }

    /// Checks that a whole segment is as long as its header says.
    ///
    /// # Errors
    /// [`WalError::WrongLength`].
    pub fn check_length(&self, name: WalSegmentName, length: u64) -> Result<(), WalError> {
        let expected = self.segment_size.bytes();
        if length == expected {
            return Ok(());
        }
        Err(WalError::WrongLength { file: name.to_string(), length, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: u64 = 7_577_000_111_222_333_444;

    /// The header of 000000010000000000000003 of PostgreSQL 17.
    fn header() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&0xD116_u16.to_le_bytes());
        bytes.extend_from_slice(&LONG_HEADER.to_le_bytes());
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        bytes.extend_from_slice(&(3_u64 << 24).to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&SYSTEM.to_le_bytes());
        bytes.extend_from_slice(&(16_u32 << 20).to_le_bytes());
        bytes.extend_from_slice(&8192_u32.to_le_bytes());
        bytes
    }

    fn name(text: &str) -> WalSegmentName {
        text.parse().unwrap()
    }

    #[test]
    fn a_header_is_read_and_agrees_with_its_own_name_only() {
        let header = SegmentHeader::parse("x", &header()).unwrap();
        assert_eq!((header.major, header.system_identifier, header.page_bytes), (17, SYSTEM, 8192));
        header.check(name("000000010000000000000003"), Some(SYSTEM)).unwrap();
        header.check_length(name("000000010000000000000003"), 16 << 20).unwrap();
        // The segment with which timeline 2 begins is a copy of its parent's.
        header.check(name("000000020000000000000003"), None).unwrap();
        let error = header.check(name("000000010000000000000004"), None).unwrap_err();
        assert!(matches!(error, WalError::WrongPosition { .. }), "{error}");
        let error = header.check(name("000000010000000000000103"), None).unwrap_err();
        assert!(matches!(error, WalError::WrongName { segment_bytes: 16_777_216, .. }), "{error}");
        let error = header.check(name("000000010000000000000003"), Some(1)).unwrap_err();
        assert!(matches!(error, WalError::WrongSystem { expected: 1, found: SYSTEM, .. }), "{error}");
        let later = SegmentHeader { timeline: TimelineId::new(2).unwrap(), ..header };
        let error = later.check(name("000000010000000000000003"), None).unwrap_err();
        assert!(matches!(error, WalError::WrongTimeline { .. }), "{error}");
        let error = header.check_length(name("000000010000000000000003"), 8192).unwrap_err();
        assert!(matches!(error, WalError::WrongLength { length: 8192, .. }), "{error}");
    }

    #[test]
    fn no_byte_of_a_header_can_be_anything() {
        let alter = |at: usize, to: &[u8]| {
            let mut bytes = header();
            bytes[at..at + to.len()].copy_from_slice(to);
            SegmentHeader::parse("x", &bytes)
        };
        assert!(matches!(SegmentHeader::parse("x", &header()[..39]), Err(WalError::TooShort { length: 39, .. })));
        assert!(matches!(SegmentHeader::parse("x", &[]), Err(WalError::TooShort { length: 0, .. })));
        assert!(matches!(alter(0, &[0xFF; 2]), Err(WalError::UnknownMagic { magic: 0xFFFF, .. })));
        for (field, outcome) in [
            ("xlp_info", alter(2, &[0; 2])),
            ("xlp_info", alter(2, &[0xFF; 2])),
            ("xlp_tli", alter(4, &[0; 4])),
            ("xlp_seg_size", alter(32, &[0; 4])),
            ("xlp_seg_size", alter(32, &[1; 4])),
            ("xlp_xlog_blcksz", alter(36, &[0; 4])),
            ("xlp_xlog_blcksz", alter(36, &[0xFF; 4])),
        ] {
            let found = matches!(&outcome, Err(WalError::Malformed { field: named, .. }) if *named == field);
            assert!(found, "{field}: {outcome:?}");
        }
        assert!(SegmentHeader::parse("x", &[0; 40]).is_err());
        for version in MAGICS {
            assert_eq!(alter(0, &version.0.to_le_bytes()).unwrap().major, version.1);
        }
    }
}
