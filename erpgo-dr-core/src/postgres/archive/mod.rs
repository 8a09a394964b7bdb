//! pg_dump's custom format (`pg_dump -Fc`), read while it streams past.
//!
//! The scanner proves that an archive is whole: its table of contents, and after it exactly the data that
//! the table of contents promises. On the way it fingerprints every table in the dump's own snapshot. It
//! keeps the table of contents in memory and none of the data.
//!
//! An archive is a head (magic, version, table of contents) and blocks of data, one for each table. The head
//! together with any of the blocks, in their order, is again an archive that `pg_restore` reads from a pipe,
//! if it is told by a list to use only these: that is how one table, or several in parallel, are restored
//! from ranges of a stored stream. See [`ArchiveHead::select`] and [`use_list`].
//!
//! The other way round, blocks can be written apart from the rest: `add_data` gives the head entries for data that
//! pg_dump was told to leave out, and `BlockWriter` makes their blocks, which come behind all others.
//!
//! Source: `src/bin/pg_dump/pg_backup_archiver.c` and `pg_backup_custom.c`, archive versions 1.12 (PostgreSQL
//! 9.0) to 1.16 (PostgreSQL 17 and 18). It does not decompress: archives that pg_dump compressed are checked for
//! completeness, but not fingerprinted.

mod block;
mod head;
mod reader;
mod rows;
mod scanner;
mod select;
mod splice;

pub(super) use block::{BLOCK_END, BLOCK_START, BlockExtent, BlockWriter, block_end, block_start};
pub use head::{ArchiveHead, Compression, Section, TocEntry};
pub use scanner::{ArchiveContents, ArchiveScanner};
pub use select::{DataBlock, SchemaEntries, Selection, use_list};
pub(super) use splice::{AddedData, HeadCollector, SplicedHead, add_data};

use super::PostgresError;

fn malformed(what: impl Into<String>) -> PostgresError {
    PostgresError::MalformedArchive(what.into())
}
