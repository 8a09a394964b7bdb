//! What no waiting mends.

use std::path::PathBuf;

use crate::types::{Lsn, TimelineId};

/// A stream of WAL that cannot begin, or go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalStreamError {
    /// The slot is not there, and was not to be made.
    #[error("{server} has no physical replication slot {slot}")]
    NoSlot {
        /// The server.
        server: String,
        /// The slot.
        slot: String,
    },
    /// The server has removed what comes next.
    #[error("{server} has removed WAL that was not received yet, from {position} of timeline {timeline} on: {message}")]
    Removed {
        /// The server.
        server: String,
        /// The timeline.
        timeline: TimelineId,
        /// Where the stream stands.
        position: Lsn,
        /// What the server said.
        message: String,
    },
    /// The server is of another cluster.
    #[error("{server} is of the cluster with system identifier {found}, not {expected}")]
    OtherCluster {
        /// The server.
        server: String,
        /// The cluster of the stream.
        expected: u64,
        /// The cluster of the server.
        found: u64,
    },
    /// The server is on a timeline that has been left.
    #[error(
        "{server} is on timeline {found}, and the log here has gone on to timeline {reached}: another server was promoted meanwhile"
    )]
    LeftBehind {
        /// The server.
        server: String,
        /// Its timeline.
        found: TimelineId,
        /// The timeline of the stream.
        reached: TimelineId,
    },
    /// The server's history does not go through what has been received.
    #[error(
        "{server} is on timeline {found}, which does not descend from timeline {reached}, of which the log here is"
    )]
    Diverged {
        /// The server.
        server: String,
        /// Its timeline.
        found: TimelineId,
        /// The timeline of the stream.
        reached: TimelineId,
    },
    /// The server has less of the log than it sent before, on the same timeline.
    #[error(
        "{server} has the log of timeline {timeline} up to {found} only, and had sent it up to {reached}: an older state was put back, or its disk has lost what it said was durable"
    )]
    WentBack {
        /// The server.
        server: String,
        /// The timeline.
        timeline: TimelineId,
        /// Where its log ends.
        found: Lsn,
        /// What had been received or archived.
        reached: Lsn,
    },
    /// The server's log is another than what it sent before, on the same timeline.
    #[error(
        "the log of timeline {timeline} at {position} is another than what was received of it before, which {} still has: an older state of the server was put back, and has gone on",
        folder.display()
    )]
    Rewritten {
        /// The timeline.
        timeline: TimelineId,
        /// Where what differs begins, or shortly before.
        position: Lsn,
        /// Where what was received before lies.
        folder: PathBuf,
    },
    /// Another process streams into the folder.
    #[error("another process streams into {}", folder.display())]
    FolderBusy {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder holds segments of several clusters.
    #[error("{} holds WAL of several clusters: give each a folder of its own", folder.display())]
    SeveralClusters {
        /// The folder.
        folder: PathBuf,
    },
    /// The server sent something other than what comes next.
    #[error("the server sent WAL from {found} on where {expected} comes next")]
    OutOfOrder {
        /// What was awaited.
        expected: Lsn,
        /// What came.
        found: Lsn,
    },
}
