//! The records of the write-ahead log of PostgreSQL 14 to 18, from the bytes of its segments.
//!
//! Owns pages, records and the few kinds of records that say more than which blocks they change. Every record is checked: its
//! checksum, and that it follows the one before it. Knows nothing of where segments lie, and of what is done with the records.
//!
//! Source: `src/include/access/{xlog_internal,xlogrecord}.h` and `src/backend/access/transam/xlogreader.c` of PostgreSQL.

mod fault;
mod fields;
mod page;
mod reader;
mod record;
mod storage;
mod system;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transaction;

pub use fault::RecordFault;
pub use reader::{LogPlace, RecordReader};
pub use record::{BlockReference, RelationFork, WalRecord};
pub use storage::StorageChange;
pub use system::SystemRecord;
pub use transaction::TransactionEnd;
