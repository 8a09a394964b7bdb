//! Reads the files of a running server's cluster, so that with the WAL of the meantime they make a consistent copy.

mod checksum;
mod control;
mod error;
mod exclusions;
mod listing;
mod raw_text;
mod reader;
mod relation_file;
mod session;
mod timeline;

pub use control::{ClusterState, ControlFile, ControlFileImage};
pub use error::PhysicalError;
pub use listing::{ClusterEntry, ClusterEntryKind, ClusterListing};
pub use reader::{ClusterReader, DamagedBlock, FileOutcome};
pub use relation_file::RelationFile;
pub use session::{BackupSession, ClusterFacts, ClusterTablespace, StoppedBackup};
