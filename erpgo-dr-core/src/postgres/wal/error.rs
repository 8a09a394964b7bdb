//! What can be wrong with a file of the write-ahead log.

use crate::types::{Lsn, TimelineId};

/// A file of the write-ahead log that is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// The file ends before its header does.
    #[error("{file} is no WAL segment: it has {length} bytes, fewer than the header of one")]
    TooShort {
        /// The file.
        file: String,
        /// Its length.
        length: u64,
    },
    /// The first two bytes are of no version of PostgreSQL that is known.
    #[error("{file} is no WAL segment of PostgreSQL 13 to 18: it begins with {magic:04X}")]
    UnknownMagic {
        /// The file.
        file: String,
        /// Its first two bytes, as a number.
        magic: u16,
    },
    /// A field of the header cannot be.
    #[error("{file} is no WAL segment: its header has {field} {value}")]
    Malformed {
        /// The file.
        file: String,
        /// The field's name in PostgreSQL.
        field: &'static str,
        /// What it says.
        value: u64,
    },
    /// The header says that the segment is another part of the log.
    #[error("{file} holds the log from {found}, and not from {expected} as its name says")]
    WrongPosition {
        /// The file.
        file: String,
        /// Where the header says it begins.
        found: Lsn,
        /// Where its name says it begins.
        expected: Lsn,
    },
    /// The name belongs to segments of another size.
    #[error("{file}: segments of {segment_bytes} bytes are never named so")]
    WrongName {
        /// The file.
        file: String,
        /// The size that its header says.
        segment_bytes: u64,
    },
    /// The header says that the segment was written on a later timeline than its name.
    #[error("{file} was written on timeline {found}, which is later than the {expected} of its name")]
    WrongTimeline {
        /// The file.
        file: String,
        /// The header's timeline.
        found: TimelineId,
        /// The name's.
        expected: TimelineId,
    },
    /// The file belongs to another cluster.
    #[error("{file} is of the cluster with system identifier {found}, not {expected}")]
    WrongSystem {
        /// The file.
        file: String,
        /// The cluster that it is of.
        found: u64,
        /// The cluster that it should be of.
        expected: u64,
    },
    /// A segment is not as long as segments of its cluster are.
    #[error("{file} has {length} bytes instead of {expected}")]
    WrongLength {
        /// The file.
        file: String,
        /// Its length.
        length: u64,
        /// The size of segments, by its header.
        expected: u64,
    },
    /// A timeline's history cannot be read.
    #[error("{file} is no history of a timeline: line {line}: {reason}")]
    History {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A note on a base backup does not begin as one.
    #[error("{file} is no note on a base backup")]
    BackupNote {
        /// The file.
        file: String,
    },
}
