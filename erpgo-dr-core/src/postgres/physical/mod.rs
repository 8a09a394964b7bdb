//! Reads the files of a running server's cluster, so that with the WAL of the meantime they make a consistent copy.

mod changed;
mod checksum;
mod control;
mod error;
mod exclusions;
mod listing;
mod page_hash;
mod raw_text;
mod reader;
mod received;
mod relation_file;
mod session;
mod sieve;
mod summaries;
mod summarizer;
mod timeline;

pub use changed::{ChangedBlocks, ForkChanges};
pub(crate) use checksum::PAGE;
pub use control::{ClusterState, ControlFile, ControlFileImage};
pub use error::PhysicalError;
pub(crate) use exclusions::is_left_out;
pub use listing::{ClusterEntry, ClusterEntryKind, ClusterListing};
pub use page_hash::{KnownPages, PAGE_HASH, PageHasher, ReadPlan, hash_bytes};
pub use reader::{ClusterReader, DamagedBlock, FileOutcome, Piece};
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use received::fuzzing;
pub(crate) use received::{IncrementalParser, ReceivedFile, TarEvent, TarStream};
pub use relation_file::RelationFile;
pub(crate) use session::plain;
pub use session::{BackupSession, ClusterFacts, ClusterTablespace, StoppedBackup};
pub(crate) use sieve::read_up_to;
pub use summarizer::{Untold, WalSummarizer};
pub(crate) use timeline::of_label as label_timeline;
