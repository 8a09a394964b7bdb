//! Changes of whole files: made, cut off, and those of whole databases.

use super::fault::RecordFault;
use super::fields::Fields;
use super::record::{RelationFork, WalRecord};

/// The numbers of resource managers.
const STORAGE: u8 = 2;
const DATABASE: u8 = 4;

const CUTS_MAIN: u32 = 1;
const CUTS_VISIBILITY: u32 = 2;

/// A change of files that the blocks of its record do not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageChange {
    /// A fork's file was made.
    Made(RelationFork),
    /// Forks of a relation were cut off.
    Cut {
        /// The relation.
        relation: RelationFork,
        /// The block from which on nothing is left.
        block: u32,
        /// Whether the main fork was.
        main: bool,
        /// Whether the visibility map was; its own length follows from the block.
        visibility: bool,
    },
    /// All files of a database in a tablespace were made or removed.
    Database {
        /// The tablespace.
        tablespace: u32,
        /// The database.
        database: u32,
    },
}

impl StorageChange {
    /// Gives what changed files by this record to `visit`. Returns whether the record is of a kind that this reads.
    ///
    /// # Errors
    /// [`RecordFault::Record`].
    pub fn of(record: &WalRecord<'_>, visit: &mut impl FnMut(Self)) -> Result<bool, RecordFault> {
        let fields = Fields(record.data);
        let read = match (record.manager, record.kind()) {
            (STORAGE, 0x10) => made(fields, visit),
            (STORAGE, 0x20) => cut(fields, visit),
            // Until version 14 there was one way to make a database, and 0x10 removed one.
            (DATABASE, 0x10) if record.major < 15 => removed(fields, visit),
            (DATABASE, 0x00 | 0x10) => database(fields, visit),
            (DATABASE, 0x20) if record.major >= 15 => removed(fields, visit),
            _ => return Ok(false),
        };
        read.map(|()| true).ok_or_else(|| record.malformed())
    }
}

fn made(mut fields: Fields<'_>, visit: &mut impl FnMut(StorageChange)) -> Option<()> {
    let relation = RelationFork::read(&mut fields)?;
    let fork = u8::try_from(fields.word()?).ok().filter(|fork| *fork <= RelationFork::INITIAL)?;
    visit(StorageChange::Made(relation.with_fork(fork)));
    Some(())
}

fn cut(mut fields: Fields<'_>, visit: &mut impl FnMut(StorageChange)) -> Option<()> {
    let (block, relation, flags) = (fields.word()?, RelationFork::read(&mut fields)?, fields.word()?);
    let (main, visibility) = (flags & CUTS_MAIN != 0, flags & CUTS_VISIBILITY != 0);
    visit(StorageChange::Cut { relation, block, main, visibility });
    Some(())
}

fn database(mut fields: Fields<'_>, visit: &mut impl FnMut(StorageChange)) -> Option<()> {
    let (database, tablespace) = (fields.word()?, fields.word()?);
    visit(StorageChange::Database { tablespace, database });
    Some(())
}

fn removed(mut fields: Fields<'_>, visit: &mut impl FnMut(StorageChange)) -> Option<()> {
    let (database, count) = (fields.word()?, fields.word()?);
    for _ in 0..count {
        visit(StorageChange::Database { tablespace: fields.word()?, database });
    }
    Some(())
}
