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

/// 2000-01-01 UTC, from which the server counts microseconds, in seconds since 1970.
const EPOCH: i64 = 946_684_800;

/// The end of a transaction.
#[derive(Debug, Clone, Copy)]
pub struct TransactionEnd<'a> {
    /// Whether it was committed, and not rolled back.
    pub committed: bool,
    /// When, by the server's clock; `None` for a time that no calendar has.
    pub at: Option<DateTime<Utc>>,
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
        let relations = match record.info & HAS_INFO != 0 {
            true => relations(&mut fields).ok_or_else(|| record.malformed())?,
            false => Fields(&[]),
        };
        Ok(Some(Self { committed, at: time(at.cast_signed()), relations }))
    }

    /// Returns the relations whose files it removed, as their main forks.
    pub fn removed(&self) -> impl Iterator<Item = RelationFork> + use<'a> {
        let mut fields = self.relations;
        std::iter::from_fn(move || RelationFork::read(&mut fields))
    }
}

/// Reads up to the list of removed relations.
fn relations<'a>(fields: &mut Fields<'a>) -> Option<Fields<'a>> {
    let info = fields.word()?;
    if info & HAS_DATABASE != 0 {
        fields.take(8)?;
    }
    if info & HAS_SUBTRANSACTIONS != 0 {
        let count = fields.word()? as usize;
        fields.take(count.checked_mul(4)?)?;
    }
    if info & HAS_RELATIONS == 0 {
        return Some(Fields(&[]));
    }
    let count = fields.word()? as usize;
    fields.take(count.checked_mul(12)?).map(Fields)
}

fn time(microseconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(EPOCH, 0)?.checked_add_signed(TimeDelta::microseconds(microseconds))
}
