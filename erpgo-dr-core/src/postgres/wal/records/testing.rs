//! Writes a log as a server would, for tests of those who read it.

use super::reader::LogPlace;
use crate::types::{Lsn, TimelineId, WalSegmentSize};

pub(crate) const SYSTEM: u64 = 7_577_000_111_222_333_444;
/// Where the log begins: a segment of 1 MiB.
pub(crate) const BEGIN: u64 = 5 << 20;
const PAGE: usize = 8192;

/// A log in segments of 1 MiB.
pub(crate) struct Log {
    pub(crate) place: LogPlace,
    pub(crate) bytes: Vec<u8>,
    pub(crate) previous: u64,
    /// Where records began.
    pub(crate) begins: Vec<Lsn>,
}

impl Log {
    pub(crate) fn new(major: u32) -> Self {
        let magic = [0xD10D, 0xD110, 0xD113, 0xD116, 0xD118][major as usize - 14];
        let place = LogPlace {
            magic,
            major,
            system_identifier: SYSTEM,
            timeline: TimelineId::FIRST,
            segment_size: WalSegmentSize::new(1 << 20).unwrap(),
            page_bytes: PAGE as u32,
        };
        Self { place, bytes: Vec::new(), previous: BEGIN - 64, begins: Vec::new() }
    }

    /// Where the next byte is written.
    pub(crate) fn end(&self) -> Lsn {
        Lsn(BEGIN + self.bytes.len() as u64)
    }

    /// Begins a page, where one ends.
    pub(crate) fn page(&mut self, info: u16, remaining: u32) {
        assert!(self.bytes.len().is_multiple_of(PAGE));
        let is_first = self.bytes.len().is_multiple_of(1 << 20);
        let info = info | if is_first { 2 } else { 0 };
        let (timeline, at) = (self.place.timeline.get(), self.end());
        self.bytes.extend_from_slice(&self.place.magic.to_le_bytes());
        self.bytes.extend_from_slice(&info.to_le_bytes());
        self.bytes.extend_from_slice(&timeline.to_le_bytes());
        self.bytes.extend_from_slice(&at.0.to_le_bytes());
        self.bytes.extend_from_slice(&remaining.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        if is_first {
            self.bytes.extend_from_slice(&SYSTEM.to_le_bytes());
            self.bytes.extend_from_slice(&(1_u32 << 20).to_le_bytes());
            self.bytes.extend_from_slice(&(PAGE as u32).to_le_bytes());
        }
    }

    /// Writes a record; what follows its header is `body`.
    pub(crate) fn push(&mut self, manager: u8, info: u8, body: &[u8]) -> Lsn {
        self.push_some(manager, info, body, usize::MAX)
    }

    /// Writes as much of a record as lies on this many pages.
    pub(crate) fn push_some(&mut self, manager: u8, info: u8, body: &[u8], mut pages: usize) -> Lsn {
        if self.bytes.len().is_multiple_of(PAGE) {
            self.page(0, 0);
        }
        let at = self.end();
        let record = self.sealed(manager, info, body);
        let mut rest = record.as_slice();
        while !rest.is_empty() && pages > 0 {
            if self.bytes.len().is_multiple_of(PAGE) {
                self.page(1, rest.len() as u32);
            }
            let room = PAGE - self.bytes.len() % PAGE;
            let (piece, more) = rest.split_at(rest.len().min(room));
            self.bytes.extend_from_slice(piece);
            (rest, pages) = (more, pages - 1);
        }
        if rest.is_empty() {
            self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
            self.begins.push(at);
            self.previous = at.0;
        }
        at
    }

    fn sealed(&self, manager: u8, info: u8, body: &[u8]) -> Vec<u8> {
        let mut record = (body.len() as u32 + 24).to_le_bytes().to_vec();
        record.extend_from_slice(&7_u32.to_le_bytes());
        record.extend_from_slice(&self.previous.to_le_bytes());
        record.extend_from_slice(&[info, manager, 0, 0]);
        let sum = crc32c::crc32c_append(crc32c::crc32c(body), &record);
        record.extend_from_slice(&sum.to_le_bytes());
        record.extend_from_slice(body);
        record
    }

    /// Leaves the rest of the segment empty, as a switch does.
    pub(crate) fn leave_segment(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(1 << 20), 0);
    }
}

/// A record's own data, with its header.
pub(crate) fn own(data: &[u8]) -> Vec<u8> {
    let mut body = match u8::try_from(data.len()) {
        Ok(length) => vec![255, length],
        Err(_) => [&[254], &(data.len() as u32).to_le_bytes()[..]].concat(),
    };
    body.extend_from_slice(data);
    body
}

/// Words, as fields of a structure.
pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A reference to a block of the main fork, without data.
pub(crate) fn block(number: u8, relation: [u32; 3], block: u32) -> Vec<u8> {
    [&[number, 0, 0, 0][..], &words(&relation), &words(&[block])].concat()
}
