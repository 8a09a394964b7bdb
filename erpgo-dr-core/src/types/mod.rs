//! Small values that every layer speaks: identifiers, hashes, object keys, positions in the log. Parsed once, at the edge.

mod hash;
mod ids;
mod key;
mod lsn;
mod wal_name;

pub use hash::{ContentHash, ContentHasher};
pub use ids::{BackupId, DrillId, EpochId, EvidenceId, IdError, JobRunId, RepositoryId, RunId};
pub use key::{KeyError, ObjectKey};
pub use lsn::{Lsn, LsnError, TimelineId};
pub use wal_name::{WalFileName, WalNameError, WalSegmentName, WalSegmentSize};
