//! Blocks of relations that may have changed between two positions of the log.
//!
//! Source: `src/backend/backup/basebackup_incremental.c` of PostgreSQL, which decides by the same facts. Two forks are not
//! taken from there: the free space map is not fully logged, and changes of a visibility map come under its heap's blocks.

use std::collections::{HashMap, HashSet};

use roaring::RoaringBitmap;

use super::super::wal::records::RelationFork;
use super::relation_file::RelationFile;

/// Blocks of relations that may have changed between two positions of the log.
#[derive(Debug, Default)]
pub struct ChangedBlocks {
    forks: HashMap<RelationFork, ForkChanges>,
    /// Tablespaces and databases whose files were all made anew.
    databases: HashSet<(u32, u32)>,
}

/// What may have changed of a fork.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ForkChanges {
    /// Blocks by their numbers.
    pub blocks: RoaringBitmap,
    /// The fork was made, or cut off, at this block: all from here on are new.
    pub limit: Option<u32>,
}

impl ChangedBlocks {
    /// Adds a block.
    pub fn mark(&mut self, fork: RelationFork, block: u32) {
        self.forks.entry(fork).or_default().blocks.insert(block);
    }

    /// Adds all blocks from this one on.
    pub fn cut(&mut self, fork: RelationFork, block: u32) {
        let changes = self.forks.entry(fork).or_default();
        if changes.limit.is_none_or(|limit| block < limit) {
            changes.limit = Some(block);
            changes.blocks.remove_range(block..);
        }
    }

    /// Adds all files of a database in a tablespace.
    pub fn renew(&mut self, tablespace: u32, database: u32) {
        self.databases.insert((tablespace, database));
    }

    /// Returns which blocks of a file may have changed, counted from its beginning; `None` where that is not known, and the
    /// file is to be compared.
    pub fn of_file(&self, file: &RelationFile<'_>, pages_per_file: u32) -> Option<RoaringBitmap> {
        let (tablespace, database, number) = (file.tablespace(), file.database(), file.number);
        if !file.fork.is_empty() || file.temporary || self.databases.contains(&(tablespace, database)) {
            return None;
        }
        let Some(changes) = self.forks.get(&RelationFork { tablespace, database, number, fork: RelationFork::MAIN })
        else {
            return Some(RoaringBitmap::new());
        };
        let first = file.first_block(pages_per_file);
        let end = first.saturating_add(pages_per_file);
        let mut blocks: RoaringBitmap = changes.blocks.range(first..end).map(|block| block - first).collect();
        if let Some(limit) = changes.limit.filter(|limit| *limit < end) {
            blocks.insert_range(limit.saturating_sub(first)..pages_per_file);
        }
        Some(blocks)
    }

    /// Returns all forks of which anything may have changed, in no order.
    pub fn forks(&self) -> impl Iterator<Item = (RelationFork, &ForkChanges)> {
        self.forks.iter().map(|(fork, changes)| (*fork, changes))
    }

    /// Returns the tablespaces and databases whose files were all made anew, in no order.
    pub fn databases(&self) -> impl Iterator<Item = (u32, u32)> {
        self.databases.iter().copied()
    }

    /// Returns how many forks and databases it holds.
    pub fn len(&self) -> usize {
        self.forks.len() + self.databases.len()
    }

    /// Returns whether nothing may have changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_by_file_and_all_of_them_from_a_limit_on() {
        let mut changed = ChangedBlocks::default();
        let fork = |number| RelationFork { tablespace: 1663, database: 5, number, fork: RelationFork::MAIN };
        for block in [3, 99, 100, 205] {
            changed.mark(fork(400), block);
        }
        for block in [7, 130] {
            changed.mark(fork(500), block);
        }
        changed.cut(fork(500), 150);
        changed.cut(fork(500), 120);
        changed.cut(fork(500), 140);
        changed.mark(fork(600).with_fork(RelationFork::INITIAL), 0);
        changed.renew(1663, 6);
        let of = |path| {
            let file = RelationFile::parse(path).unwrap();
            changed.of_file(&file, 100).map(|blocks| blocks.iter().collect::<Vec<_>>())
        };
        assert_eq!(of("base/5/400"), Some(vec![3, 99]));
        assert_eq!(of("base/5/400.1"), Some(vec![0]));
        assert_eq!(of("base/5/400.2"), Some(vec![5]));
        assert_eq!(of("base/5/400.3"), Some(vec![]));
        assert_eq!(of("base/5/500"), Some(vec![7]));
        assert_eq!(of("base/5/500.1"), Some((20..100).collect()));
        assert_eq!(of("base/5/500.2"), Some((0..100).collect()));
        assert_eq!(of("base/5/600"), Some(vec![]), "another fork of it");
        assert_eq!(of("base/5/401"), Some(vec![]));
        for unknown in ["base/5/400_fsm", "base/5/400_vm", "base/5/400_init", "base/6/400", "base/5/t1_400"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
        assert_eq!(changed.len(), 4);
    }
}
