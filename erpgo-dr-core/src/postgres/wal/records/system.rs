//! Records of the log about itself: checkpoints, and how much is logged.

use super::fault::RecordFault;
use super::fields::Fields;
use super::record::WalRecord;
use crate::types::TimelineId;

/// The number of the resource manager of the log itself.
const MANAGER: u8 = 0;

/// Where `wal_level` stands in a checkpoint, from version 17 on, and in a change of settings.
const LEVEL_AT: usize = 20;

/// What the log says of itself that matters to who follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SystemRecord {
    /// A checkpoint.
    Checkpoint {
        /// The timeline that it is on.
        timeline: Option<TimelineId>,
        /// `wal_level`, as a number; older versions do not say it here.
        level: Option<u32>,
    },
    /// `wal_level` from here on, as a number: 0 is minimal.
    Level(u32),
    /// A recovery ended, and a timeline begins.
    EndOfRecovery,
}

impl SystemRecord {
    /// Reads the record, if it is one of these.
    ///
    /// # Errors
    /// [`RecordFault::Record`].
    pub fn of(record: &WalRecord<'_>) -> Result<Option<Self>, RecordFault> {
        if record.manager != MANAGER {
            return Ok(None);
        }
        let read = match record.kind() {
            0x00 | 0x10 => checkpoint(record),
            0x60 => word_at(record, LEVEL_AT).map(Self::Level),
            0x90 => Some(Self::EndOfRecovery),
            // The position from which a checkpoint counts; older versions do not log it.
            0xE0 if record.major >= 17 => word_at(record, 0).map(Self::Level),
            _ => return Ok(None),
        };
        read.map(Some).ok_or_else(|| record.malformed())
    }
}

fn checkpoint(record: &WalRecord<'_>) -> Option<SystemRecord> {
    let timeline = TimelineId::new(word_at(record, 8)?);
    let level = if record.major >= 17 { Some(word_at(record, LEVEL_AT)?) } else { None };
    Some(SystemRecord::Checkpoint { timeline, level })
}

fn word_at(record: &WalRecord<'_>, at: usize) -> Option<u32> {
    Fields(record.data.get(at..)?).word()
}
