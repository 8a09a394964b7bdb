//! The write-ahead log: archived file by file, fetched back file by file, and looked at for gaps.
//!
//! [`wal_push`] and [`wal_fetch`] are what PostgreSQL's `archive_command` and `restore_command` call. Neither reads the catalogue.
//! With a [`WalSpool`] a push takes along what else is ready, and fetches run ahead of the replay.

mod check;
mod cluster;
mod fetch;
mod gap;
mod local;
mod notes;
mod part;
mod prefetch;
mod prune;
mod push;
mod spool;
mod stream;
mod tail;

pub use check::{WalCheckOptions, WalCheckReport, WalClusterReport, WalTimelineReport, wal_check, wal_list};
pub use cluster::wal_cluster_around;
pub use fetch::{WalFetchOptions, WalFetchReport, wal_fetch};
pub use prefetch::{WalPrefetchOptions, WalPrefetchReport, wal_prefetch};
pub use prune::{PrunedWal, WalPruneReport, wal_prune};
pub use push::{WalPushOptions, WalPushOutcome, WalPushReport, wal_push};
pub use spool::WalSpool;
pub use stream::{
    Durability, NoWalStreamObserver, WalStreamError, WalStreamObserver, WalStreamOptions, WalStreamReport,
    WalStreamStatus, wal_stream,
};

pub(super) use check::newest_commit_of;
pub(super) use prune::{UnneededWal, remove_wal, unneeded_wal};

#[cfg(test)]
mod tests;
