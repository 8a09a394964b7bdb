//! Puts records together from pages, and checks that nothing is missing between them.

use std::ops::ControlFlow;

use super::fault::RecordFault;
use super::page::PageHeader;
use super::record::{self, Blocks, HEADER, WalRecord};
use crate::postgres::wal::SegmentHeader;
use crate::types::{Lsn, TimelineId, WalSegmentSize};

/// Records that are longer are not read: nothing but a logical message is.
const MOST: u32 = 64 << 20;
/// Records begin at multiples of it.
const ALIGNMENT: u64 = 8;

/// Versions whose records are known.
const MAJORS: std::ops::RangeInclusive<u32> = 14..=18;

const XLOG: u8 = 0;
const SWITCH: u8 = 0x40;
const OVERWRITE_CONTRECORD: u8 = 0xD0;

/// Which log is read: what every page of it must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPlace {
    pub(super) magic: u16,
    pub(super) major: u32,
    pub(super) system_identifier: u64,
    pub(super) timeline: TimelineId,
    pub(super) segment_size: WalSegmentSize,
    pub(super) page_bytes: u32,
}

impl LogPlace {
    /// Reads the log that the segment with this header is a part of, along `timeline`: that of the segment's name.
    ///
    /// # Errors
    /// [`RecordFault::Version`].
    pub fn new(header: &SegmentHeader, timeline: TimelineId) -> Result<Self, RecordFault> {
        let SegmentHeader { major, system_identifier, segment_size, page_bytes, .. } = *header;
        if !MAJORS.contains(&major) {
            return Err(RecordFault::Version { major });
        }
        Ok(Self { magic: header.magic(), major, system_identifier, timeline, segment_size, page_bytes })
    }

    /// Returns the timeline along which the log is read.
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }
}

/// Reads records from the bytes of the log, which come in pieces of any size.
///
/// From the first record on each is checked to follow the one before it, so that up to any position that is reached they are all
/// that were written.
#[derive(Debug)]
pub struct RecordReader {
    place: LogPlace,
    /// Where the first record begins; not known while it is sought.
    start: Lsn,
    is_sought: bool,
    /// Whether pages of earlier timelines may come, which the first segment of one begins with.
    takes_earlier: bool,
    /// Where the next page begins that is to be read.
    position: Lsn,
    /// Whether the last record was a switch to the next segment.
    switched: bool,
    /// Pages before this position are of no interest: a switch left them empty.
    next: Lsn,
    previous: Option<Lsn>,
    /// The beginning of a page that has not come whole yet.
    page: Vec<u8>,
    /// A record of which more is on the next page.
    begun: Option<Begun>,
    /// A record that a crash cut off: the next one must say so.
    overwritten: Option<Lsn>,
    blocks: Blocks,
}

#[derive(Debug)]
struct Begun {
    at: Lsn,
    length: usize,
    bytes: Vec<u8>,
}

impl RecordReader {
    /// Reads from the record on that begins at `start`.
    pub fn new(place: LogPlace, start: Lsn) -> Self {
        let position = Lsn(start.0 - start.0 % u64::from(place.page_bytes));
        Self {
            place,
            start,
            is_sought: false,
            takes_earlier: false,
            position,
            switched: false,
            next: position,
            previous: None,
            page: Vec::new(),
            begun: None,
            overwritten: None,
            blocks: Blocks::default(),
        }
    }

    /// Reads from the first record on that begins on the page at `page`, or behind it.
    pub fn seek(place: LogPlace, page: Lsn) -> Self {
        Self { is_sought: true, takes_earlier: true, ..Self::new(place, page) }
    }

    /// Returns the position of the byte that is to be fed next: at first, of the page that the first record begins on.
    pub fn position(&self) -> Lsn {
        Lsn(self.position.0.saturating_add(self.page.len() as u64))
    }

    /// Reads on with the bytes at [`position`](Self::position), and gives each record to `visit` until that breaks off.
    ///
    /// After a break or a fault the reader is of no use any more.
    ///
    /// # Errors
    /// [`RecordFault`]; what was visited before it is good.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        visit: &mut impl FnMut(&WalRecord<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, RecordFault> {
        let size = self.place.page_bytes as usize;
        while !bytes.is_empty() {
            let outcome = if self.page.is_empty() && bytes.len() >= size {
                let (page, rest) = bytes.split_at(size);
                bytes = rest;
                self.read_page(page, visit)?
            } else {
                let (more, rest) = bytes.split_at(bytes.len().min(size - self.page.len()));
                bytes = rest;
                self.page.extend_from_slice(more);
                if self.page.len() < size {
                    break;
                }
                let page = std::mem::take(&mut self.page);
                let outcome = self.read_page(&page, visit)?;
                self.page = page;
                self.page.clear();
                outcome
            };
            if outcome.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn read_page(
        &mut self,
        page: &[u8],
        visit: &mut impl FnMut(&WalRecord<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, RecordFault> {
        let begin = self.position;
        let end = begin.0.checked_add(page.len() as u64);
        self.position = end.map(Lsn).ok_or(RecordFault::Page { at: begin, field: "xlp_pageaddr" })?;
        if begin < self.next {
            return Ok(ControlFlow::Continue(()));
        }
        let header = PageHeader::parse(page, begin, &self.place)?;
        // The first record is of this timeline, though the page that it lies on may have been begun before the switch to it.
        if begin > self.start && header.timeline != self.place.timeline && !self.takes_earlier {
            return Err(RecordFault::Page { at: begin, field: "xlp_tli" });
        }
        let mut at = match self.continue_record(page, begin, &header, visit)? {
            ControlFlow::Continue(at) => at,
            ControlFlow::Break(outcome) => return Ok(outcome),
        };
        while at < page.len() {
            let lsn = Lsn(begin.0 + at as u64);
            let rest = &page[at..];
            let length = length_of(rest, lsn)?;
            let Some(bytes) = rest.get(..length) else {
                let (mut begun, known) = (Vec::with_capacity(length.min(1 << 20)), rest.len());
                begun.extend_from_slice(&rest[..known]);
                self.begun = Some(Begun { at: lsn, length, bytes: begun });
                break;
            };
            if self.visit(bytes, lsn, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            at += length.next_multiple_of(ALIGNMENT as usize);
            if self.skips_from(begin, at) {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes what the page begins with, if a record goes on there. Returns where the next one begins; breaks when the page has
    /// been used up, or the visitor has broken off.
    fn continue_record(
        &mut self,
        page: &[u8],
        begin: Lsn,
        header: &PageHeader,
        visit: &mut impl FnMut(&WalRecord<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<ControlFlow<()>, usize>, RecordFault> {
        let fault = |field| RecordFault::Page { at: begin, field };
        if self.is_sought {
            let passed = if header.continues { u64::from(header.remaining).next_multiple_of(ALIGNMENT) } else { 0 };
            let offset = (header.length as u64 + passed).min(page.len() as u64) as usize;
            self.is_sought = offset == page.len();
            self.start = Lsn(begin.0 + offset as u64);
            return Ok(ControlFlow::Continue(offset));
        }
        if begin <= self.start {
            return self.first_offset(begin, header).map(ControlFlow::Continue);
        }
        let Some(mut begun) = self.begun.take() else {
            return match header.continues || header.overwrites {
                true => Err(fault("xlp_info")),
                false => Ok(ControlFlow::Continue(header.length)),
            };
        };
        if header.overwrites {
            self.overwritten = Some(begun.at);
            return Ok(ControlFlow::Continue(header.length));
        }
        if !header.continues {
            return Err(fault("xlp_info"));
        }
        let missing = begun.length - begun.bytes.len();
        if header.remaining as usize != missing {
            return Err(fault("xlp_rem_len"));
        }
        let taken = missing.min(page.len() - header.length);
        begun.bytes.extend_from_slice(&page[header.length..header.length + taken]);
        if taken < missing {
            self.begun = Some(begun);
            return Ok(ControlFlow::Break(ControlFlow::Continue(())));
        }
        if self.visit(&begun.bytes, begun.at, visit)?.is_break() {
            return Ok(ControlFlow::Break(ControlFlow::Break(())));
        }
        let end = (header.length + taken).next_multiple_of(ALIGNMENT as usize);
        match self.skips_from(begin, end) {
            true => Ok(ControlFlow::Break(ControlFlow::Continue(()))),
            false => Ok(ControlFlow::Continue(end)),
        }
    }

    /// Returns where on its page the first record begins.
    fn first_offset(&self, begin: Lsn, header: &PageHeader) -> Result<usize, RecordFault> {
        let offset = (self.start.0 - begin.0) as usize;
        let offset = if offset == 0 { header.length } else { offset };
        let is_record = offset > header.length || (offset == header.length && !header.continues);
        match is_record && (offset as u64).is_multiple_of(ALIGNMENT) {
            true => Ok(offset),
            false => Err(RecordFault::Record { at: self.start, reason: "none begins there" }),
        }
    }

    /// Checks a whole record, and gives it to `visit`.
    fn visit(
        &mut self,
        bytes: &[u8],
        at: Lsn,
        visit: &mut impl FnMut(&WalRecord<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, RecordFault> {
        let record = record::decode(bytes, at, self.place.major, &mut self.blocks)?;
        let follows = self.previous.map_or(record.previous < at, |previous| record.previous == previous);
        if !follows {
            return Err(RecordFault::Record { at, reason: "it does not follow the one before it" });
        }
        if let Some(overwritten) = self.overwritten.take() {
            let named = record.data.first_chunk().map(|bytes| Lsn(u64::from_le_bytes(*bytes)));
            if (record.manager, record.kind(), named) != (XLOG, OVERWRITE_CONTRECORD, Some(overwritten)) {
                return Err(RecordFault::Record { at, reason: "it does not end the one that was cut off before it" });
            }
        }
        self.previous = Some(at);
        self.switched = (record.manager, record.kind()) == (XLOG, SWITCH);
        Ok(visit(&record))
    }

    /// Returns whether the last record, which ended `end` bytes behind `begin`, left the rest of its segment empty.
    fn skips_from(&mut self, begin: Lsn, end: usize) -> bool {
        if self.switched {
            let (end, segment) = (begin.0 + end as u64, self.place.segment_size.bytes());
            self.next = Lsn(end.div_ceil(segment).saturating_mul(segment));
        }
        self.switched
    }
}

/// Reads the length that the record which begins with `bytes` has.
fn length_of(bytes: &[u8], at: Lsn) -> Result<usize, RecordFault> {
    let length = bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    match length {
        0 => Err(RecordFault::End { at }),
        1..HEADER_LENGTH => Err(RecordFault::Record { at, reason: "it is shorter than its header" }),
        HEADER_LENGTH..=MOST => Ok(length as usize),
        length => Err(RecordFault::TooLong { at, length }),
    }
}

const HEADER_LENGTH: u32 = HEADER as u32;
