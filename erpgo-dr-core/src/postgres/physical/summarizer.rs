//! Makes of the records of the log what the server's summaries would be, of which older versions have none.
//!
//! Source: `src/backend/postmaster/walsummarizer.c` of PostgreSQL. Where that passes over a stretch of the log and begins anew behind
//! it, this gives up: a stretch that cannot be told of leaves nothing to build on.

use super::super::wal::records::{RecordFault, RelationFork, StorageChange, SystemRecord, TransactionEnd, WalRecord};
use super::changed::ChangedBlocks;
use crate::types::{Lsn, TimelineId};

/// Forks and databases that are kept in mind, at most: of about 100 bytes each, and a bit for each changed block.
const MOST: usize = 1 << 20;

/// A stretch of the log that does not tell what has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untold {
    /// A record is not what its kind has.
    #[error(transparent)]
    Fault(#[from] RecordFault),
    /// A record says that what follows it, or it itself, cannot be told.
    #[error("the log does not tell from {at} on what changed: {reason}")]
    Record {
        /// Where the record begins.
        at: Lsn,
        /// What it says.
        reason: &'static str,
    },
    /// More relations were changed, made and removed than are kept in mind.
    #[error("more than {MOST} files were made and changed until {at}")]
    TooMany {
        /// Where that was.
        at: Lsn,
    },
}

/// Gathers which blocks of which relations records change.
#[derive(Debug)]
pub struct WalSummarizer {
    timeline: TimelineId,
    changed: ChangedBlocks,
}

impl WalSummarizer {
    /// Summarizes records of this timeline.
    pub fn new(timeline: TimelineId) -> Self {
        Self { timeline, changed: ChangedBlocks::default() }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`Untold`]. What was gathered is then of no use.
    pub fn add(&mut self, record: &WalRecord<'_>) -> Result<(), Untold> {
        self.check(record)?;
        let mut is_known = self.add_storage(record)?;
        is_known |= self.add_removed(record)?;
        if record.is_special() && !is_known {
            return Err(Untold::Record { at: record.at, reason: "files were changed in an unknown way" });
        }
        for reference in record.blocks {
            // Not all changes of the free space map are logged.
            if reference.relation.fork != RelationFork::FREE_SPACE {
                self.changed.mark(reference.relation, reference.block);
            }
        }
        match self.changed.len() > MOST {
            true => Err(Untold::TooMany { at: record.at }),
            false => Ok(()),
        }
    }

    /// Returns what has changed.
    pub fn finish(self) -> ChangedBlocks {
        self.changed
    }

    /// Checks that the log goes on to say everything.
    fn check(&self, record: &WalRecord<'_>) -> Result<(), Untold> {
        let reason = match SystemRecord::of(record)? {
            Some(SystemRecord::Checkpoint { level: Some(0), .. } | SystemRecord::Level(0)) => "wal_level is minimal",
            Some(SystemRecord::Checkpoint { timeline, .. }) if timeline != Some(self.timeline) => {
                "it is of another timeline"
            }
            Some(SystemRecord::EndOfRecovery) => "a timeline begins",
            _ => return Ok(()),
        };
        Err(Untold::Record { at: record.at, reason })
    }

    fn add_storage(&mut self, record: &WalRecord<'_>) -> Result<bool, Untold> {
        let changed = &mut self.changed;
        let is_known = StorageChange::of(record, &mut |change| match change {
            StorageChange::Made(fork) if fork.fork != RelationFork::FREE_SPACE => changed.cut(fork, 0),
            StorageChange::Made(_) => {}
            StorageChange::Cut { relation, block, main, visibility } => {
                if main {
                    changed.cut(relation, block);
                }
                if visibility {
                    changed.cut(relation.with_fork(RelationFork::VISIBILITY), block);
                }
            }
            StorageChange::Database { tablespace, database } => changed.renew(tablespace, database),
        })?;
        Ok(is_known)
    }

    fn add_removed(&mut self, record: &WalRecord<'_>) -> Result<bool, Untold> {
        let Some(end) = TransactionEnd::of(record)? else { return Ok(false) };
        for relation in end.removed() {
            for fork in [RelationFork::MAIN, RelationFork::VISIBILITY, RelationFork::INITIAL] {
                self.changed.cut(relation.with_fork(fork), 0);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::postgres::physical::ForkChanges;
    use crate::postgres::wal::records::RecordReader;
    use crate::postgres::wal::records::testing::{Log, block, own, words};

    fn summarize(log: &Log) -> Result<ChangedBlocks, Untold> {
        let mut bytes = log.bytes.clone();
        bytes.resize(bytes.len().next_multiple_of(8192), 0);
        let mut summarizer = WalSummarizer::new(TimelineId::FIRST);
        let mut outcome = Ok(());
        let mut reader = RecordReader::new(log.place, log.begins[0]);
        let end = reader.feed(&bytes, &mut |record| match summarizer.add(record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(untold) => {
                outcome = Err(untold);
                ControlFlow::Break(())
            }
        });
        assert!(outcome.is_err() || matches!(end, Err(RecordFault::End { .. })), "{end:?}");
        outcome.map(|()| summarizer.finish())
    }

    fn fork(number: u32) -> RelationFork {
        RelationFork { tablespace: 1663, database: 5, number, fork: RelationFork::MAIN }
    }

    #[test]
    fn what_records_change_is_gathered() {
        let mut log = Log::new(15);
        let relation = |number| [1663, 5, number];
        log.push(10, 0, &[block(0, relation(400), 7), block(1, relation(400), 9), block(2, relation(402), 1)].concat());
        let map = [&[0, 1, 0, 0][..], &words(&relation(400)), &words(&[3])].concat();
        log.push(10, 0, &map);
        // Cut off at block 8, with its visibility map; another is made, one removed at the end of a transaction.
        log.push(2, 0x21, &own(&words(&[8, 1663, 5, 400, 7])));
        log.push(10, 0, &block(0, relation(400), 10));
        log.push(2, 0x11, &own(&words(&[1663, 5, 500, 0])));
        log.push(2, 0x11, &own(&words(&[1663, 5, 501, 1])));
        log.push(1, 0x81, &own(&[&[0; 8][..], &words(&[0b100, 1, 1663, 5, 600])].concat()));
        log.push(4, 0x01, &own(&words(&[70, 1663, 1, 1663])));
        log.push(4, 0x11, &own(&words(&[71, 1664])));
        log.push(4, 0x21, &own(&words(&[72, 2, 1663, 9999])));
        let changed = summarize(&log).unwrap();
        let of = |fork| changed.forks().find(|(found, _)| *found == fork).map(|(_, changes)| changes.clone());
        let changes = |blocks: &[u32], limit| Some(ForkChanges { blocks: blocks.iter().copied().collect(), limit });
        assert_eq!(of(fork(400)), changes(&[7, 10], Some(8)));
        assert_eq!(of(fork(402)), changes(&[1], None));
        assert_eq!(of(fork(400).with_fork(RelationFork::VISIBILITY)), changes(&[], Some(8)));
        assert_eq!(of(fork(500)), changes(&[], Some(0)));
        assert_eq!(of(fork(600)), changes(&[], Some(0)));
        assert_eq!(of(fork(600).with_fork(RelationFork::INITIAL)), changes(&[], Some(0)));
        assert!(changed.forks().all(|(fork, _)| fork.fork != RelationFork::FREE_SPACE));
        let mut databases: Vec<_> = changed.databases().collect();
        databases.sort_unstable();
        assert_eq!(databases, [(1663, 70), (1663, 72), (1664, 71), (9999, 72)]);
    }

    #[test]
    fn in_version_14_a_removed_database_has_another_number() {
        let mut log = Log::new(14);
        log.push(4, 0x01, &own(&words(&[70, 1663, 1, 1663])));
        log.push(4, 0x11, &own(&words(&[72, 2, 1663, 9999])));
        let mut databases: Vec<_> = summarize(&log).unwrap().databases().collect();
        databases.sort_unstable();
        assert_eq!(databases, [(1663, 70), (1663, 72), (9999, 72)]);
        log.push(4, 0x21, &own(&words(&[72, 0])));
        assert!(matches!(summarize(&log), Err(Untold::Record { .. })), "no kind of that version");
    }

    #[test]
    fn what_is_not_logged_is_not_told() {
        let checkpoint = |timeline, level| words(&[0, 0, timeline, timeline, 1, level, 0]);
        for (major, manager, info, data) in [
            (15, 0, 0x60, words(&[100, 8, 10, 0, 64, 0, 1])),
            (17, 0, 0x60, words(&[100, 8, 10, 0, 64, 0, 1])),
            (17, 0, 0xE0, words(&[0])),
            (17, 0, 0x00, checkpoint(1, 0)),
            (15, 0, 0x10, checkpoint(2, 1)),
            (15, 0, 0x90, words(&[0; 4])),
            (15, 10, 0x01, words(&[])),
            (15, 2, 0x30 | 1, words(&[1, 2, 3, 4])),
            (15, 2, 0x11, words(&[1663, 5, 500])),
            (15, 2, 0x11, words(&[1663, 5, 500, 9])),
            (15, 4, 0x21, words(&[72, 3, 1663, 1664])),
            (15, 0, 0x60, words(&[1, 2])),
        ] {
            let mut log = Log::new(major);
            log.push(manager, info, &own(&data));
            assert!(summarize(&log).is_err(), "{major}: {manager} {info:X}");
        }
        // In older versions a checkpoint has another field there.
        for (major, manager, info, data) in [
            (15, 0, 0x00, checkpoint(1, 0)),
            (17, 0, 0x00, checkpoint(1, 1)),
            (17, 0, 0xE0, words(&[2])),
            (15, 0, 0xE0, words(&[])),
            (15, 0, 0x60, words(&[100, 8, 10, 0, 64, 1, 0])),
        ] {
            let mut log = Log::new(major);
            log.push(manager, info, &own(&data));
            assert!(summarize(&log).unwrap().is_empty(), "{major}: {manager} {info:X}");
        }
    }

    #[test]
    fn what_is_kept_in_mind_has_an_end() {
        let mut log = Log::new(15);
        let relations: Vec<u32> = (0..MOST as u32 / 3 + 1).flat_map(|number| [1663, 5, number]).collect();
        let count = relations.len() as u32 / 3;
        log.push(1, 0x81, &own(&[&[0; 8][..], &words(&[0b100, count]), &words(&relations)].concat()));
        assert!(matches!(summarize(&log), Err(Untold::TooMany { .. })));
    }
}
