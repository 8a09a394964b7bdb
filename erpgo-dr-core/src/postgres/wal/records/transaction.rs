//! Ends of transactions: when, and which relations they removed.

use chrono::{DateTime, TimeDelta, Utc};

use super::fault::RecordFault;
use super::fields::Fields;
use super::record::{RelationFork, WalRecord};

/// The number of the resource manager of transactions.
const MANAGER: u8 = 1;
const OPERATION: u8 = 0x70;
const HAS_INFO: u8 = 0x80;

const HAS_DATABASE: u32 = 1;
const HAS_SUBTRANSACTIONS: u32 = 1 << 1;
const HAS_RELATIONS: u32 = 1 << 2;
const HAS_INVALIDATIONS: u32 = 1 << 3;
const HAS_PREPARED: u32 = 1 << 4;
/// From version 15 on.
const HAS_STATISTICS: u32 = 1 << 8;

/// Bytes of a message by which caches are made invalid.
const INVALIDATION: usize = 16;

/// 2000-01-01 UTC, from which the server counts microseconds, in seconds since 1970.
const EPOCH: i64 = 946_684_800;

/// The end of a transaction.
#[derive(Debug, Clone, Copy)]
pub struct TransactionEnd<'a> {
    /// Whether it was committed, and not rolled back.
    pub committed: bool,
    /// When, by the server's clock; `None` for a time that no calendar has.
    pub at: Option<DateTime<Utc>>,
    /// Its number; of one that was prepared before, the one that it had then. 0 for one that has none.
    pub transaction: u32,
    relations: Fields<'a>,
}

impl<'a> TransactionEnd<'a> {
    /// Reads the record as the end of a transaction; `None` if it is something else.
    ///
    /// # Errors
    /// [`RecordFault::Record`].
    pub fn of(record: &WalRecord<'a>) -> Result<Option<Self>, RecordFault> {
        if record.manager != MANAGER {
            return Ok(None);
        }
        let committed = match record.info & OPERATION {
            // Also of a transaction that was prepared before.
            0x00 | 0x30 => true,
            0x20 | 0x40 => false,
            _ => return Ok(None),
        };
        let mut fields = Fields(record.data);
        let at = fields.long().ok_or_else(|| record.malformed())?;
        let (relations, prepared) = match record.info & HAS_INFO != 0 {
            true => parts(&mut fields, record.major).ok_or_else(|| record.malformed())?,
            false => (Fields(&[]), None),
        };
        let transaction = prepared.unwrap_or(record.transaction);
        Ok(Some(Self { committed, at: time(at.cast_signed()), transaction, relations }))
    }

    /// Returns the relations whose files it removed, as their main forks.
    pub fn removed(&self) -> impl Iterator<Item = RelationFork> + use<'a> {
        let mut fields = self.relations;
        std::iter::from_fn(move || RelationFork::read(&mut fields))
    }
}

/// Reads the list of removed relations, and the number of a transaction that was prepared before.
///
/// Source: `ParseCommitRecord` and `ParseAbortRecord` in `src/backend/access/rmgrdesc/xactdesc.c`.
fn parts<'a>(fields: &mut Fields<'a>, major: u32) -> Option<(Fields<'a>, Option<u32>)> {
    let info = fields.word()?;
    if info & HAS_DATABASE != 0 {
        fields.take(8)?;
    }
    if info & HAS_SUBTRANSACTIONS != 0 {
        list(fields, 4)?;
    }
    let relations = if info & HAS_RELATIONS != 0 { list(fields, 12)? } else { &[] };
    let prepared = if info & HAS_PREPARED != 0 { prepared(fields, info, major) } else { None };
    Some((Fields(relations), prepared))
}

fn prepared(fields: &mut Fields<'_>, info: u32, major: u32) -> Option<u32> {
    if info & HAS_STATISTICS != 0 {
        list(fields, if major >= 18 { 16 } else { 12 })?;
    }
    if info & HAS_INVALIDATIONS != 0 {
        list(fields, INVALIDATION)?;
    }
    fields.word()
}

/// Reads a list of items of this size behind their number.
fn list<'a>(fields: &mut Fields<'a>, size: usize) -> Option<&'a [u8]> {
    let count = fields.word()? as usize;
    fields.take(count.checked_mul(size)?)
}

fn time(microseconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(EPOCH, 0)?.checked_add_signed(TimeDelta::microseconds(microseconds))
}
