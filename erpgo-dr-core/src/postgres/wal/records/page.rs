//! The header that every page of the log begins with.

use super::fault::RecordFault;
use super::fields::Fields;
use super::reader::LogPlace;
use crate::types::{Lsn, TimelineId};

const CONTINUES: u16 = 0x0001;
const LONG: u16 = 0x0002;
const OVERWRITES: u16 = 0x0008;
const ALL_FLAGS: u16 = 0x000F;

/// Bytes of a header, and of the one that a segment begins with.
const SHORT_LENGTH: usize = 24;
const LONG_LENGTH: usize = 40;

/// What a header says that is not the same for all pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// Bytes of the header: the first record begins behind it, or what a record on the page before goes on with.
    pub(super) length: usize,
    pub(super) timeline: TimelineId,
    /// Whether the page begins within a record.
    pub(super) continues: bool,
    /// Whether the page takes the place of the rest of a record that a crash cut off.
    pub(super) overwrites: bool,
    /// Bytes of that record from here on.
    pub(super) remaining: u32,
}

impl PageHeader {
    /// Reads the header of the page that begins at `at`, and checks that it belongs there.
    pub(super) fn parse(page: &[u8], at: Lsn, place: &LogPlace) -> Result<Self, RecordFault> {
        let fault = |field| RecordFault::Page { at, field };
        let mut fields = Fields(page);
        let mut read = || {
            let (magic, info) = (fields.short()?, fields.short()?);
            let (timeline, address, remaining) = (fields.word()?, fields.long()?, fields.word()?);
            fields.take(SHORT_LENGTH - 20)?;
            Some((magic, info, timeline, address, remaining))
        };
        let (magic, info, timeline, address, remaining) = read().ok_or(fault("length"))?;
        if magic != place.magic {
            return Err(fault("xlp_magic"));
        }
        if info & !ALL_FLAGS != 0 || (info & CONTINUES != 0 && info & OVERWRITES != 0) {
            return Err(fault("xlp_info"));
        }
        if address != at.0 {
            return Err(fault("xlp_pageaddr"));
        }
        let timeline = TimelineId::new(timeline).filter(|found| *found <= place.timeline).ok_or(fault("xlp_tli"))?;
        let is_first = at.0.is_multiple_of(place.segment_size.bytes());
        if is_first != (info & LONG != 0) {
            return Err(fault("xlp_info"));
        }
        if is_first {
            if fields.long() != Some(place.system_identifier) {
                return Err(fault("xlp_sysid"));
            }
            if fields.word().map(u64::from) != Some(place.segment_size.bytes()) {
                return Err(fault("xlp_seg_size"));
            }
            if fields.word() != Some(place.page_bytes) {
                return Err(fault("xlp_xlog_blcksz"));
            }
        }
        Ok(Self {
            length: if is_first { LONG_LENGTH } else { SHORT_LENGTH },
            timeline,
            continues: info & CONTINUES != 0,
            overwrites: info & OVERWRITES != 0,
            remaining,
        })
    }
}
