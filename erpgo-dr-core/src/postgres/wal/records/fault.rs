//! Why the log cannot be read on.

use crate::types::Lsn;

/// A place of the log where what must be there is not. What was read before it is good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// A version whose records are not known.
    #[error("the log of PostgreSQL {major} is not read, only that of 14 to 18")]
    Version {
        /// The major version.
        major: u32,
    },
    /// A page is not the one that belongs here: of another place, timeline, cluster or version, or none at all.
    #[error("the page of the log at {at} does not belong there: its {field} is another")]
    Page {
        /// Where the page begins.
        at: Lsn,
        /// What is wrong, by its name in PostgreSQL.
        field: &'static str,
    },
    /// A record is damaged, or does not follow the one before it.
    #[error("the record of the log at {at} is damaged: {reason}")]
    Record {
        /// Where the record begins.
        at: Lsn,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No record was written here yet.
    #[error("the log ends at {at}")]
    End {
        /// Where the next record would begin.
        at: Lsn,
    },
    /// A record is larger than is held in memory.
    #[error("the record of the log at {at} has {length} bytes, which is more than is held in memory")]
    TooLong {
        /// Where the record begins.
        at: Lsn,
        /// Its length.
        length: u32,
    },
}
