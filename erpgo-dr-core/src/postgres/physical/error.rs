//! What can be wrong with a data directory, or go wrong while it is backed up.

use std::path::PathBuf;
use std::time::Duration;

use super::super::BoxError;
use crate::types::{Lsn, TimelineId};

/// A data directory that cannot be backed up, or a backup of one that came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhysicalError {
    /// The control file is not what a server of version 13 to 18 writes, or stays damaged.
    #[error("{}: {reason}", path.display())]
    ControlFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A directory that is to be read is not that of the server in backup mode.
    #[error("{} is not the data directory of the server, which has it at {served}: {reason}", path.display())]
    ForeignDirectory {
        /// The directory.
        path: PathBuf,
        /// Where the server says that its own is.
        served: String,
        /// How that shows.
        reason: String,
    },
    /// A tablespace that is not where its link says, or a link that PostgreSQL does not make.
    #[error("tablespace {}: {reason}", path.display())]
    Tablespace {
        /// The link below `pg_tblspc`.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The server's WAL is not enough to make a copy consistent.
    #[error(
        "the wal_level of {server} is minimal, so that no copy of it can be made consistent: set it to replica and restart it"
    )]
    WalLevel {
        /// The server.
        server: String,
    },
    /// The server's label or tablespace map is not what a server writes.
    #[error("the backup label or tablespace map of {server} cannot be stored: {reason}")]
    Label {
        /// The server.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The session that held the server in backup mode ended early. What was copied cannot be made consistent.
    #[error("the session of the backup on {server} ended before the backup did, so that it is lost: take another")]
    SessionLost {
        /// The server.
        server: String,
        /// How it ended.
        #[source]
        source: BoxError,
    },
    /// The standby that was being copied became a primary. What was copied cannot be made consistent.
    #[error("the standby {server} was promoted during the backup, so that it is lost: take another")]
    Promoted {
        /// The server.
        server: String,
    },
    /// The standby that is copied follows another timeline than its last checkpoint is on.
    #[error(
        "the standby {server} went from timeline {from} to {to}: take the backup again once it has a checkpoint of the new one"
    )]
    TimelineChanged {
        /// The server.
        server: String,
        /// The timeline on which replay of the copy would begin.
        from: TimelineId,
        /// The timeline that the server follows now.
        to: TimelineId,
    },
    /// A server runs on the folder that is to be restored over.
    #[error("a server runs on {}, as process {pid}: stop it first", path.display())]
    ServerRuns {
        /// The data directory.
        path: PathBuf,
        /// The server.
        pid: i32,
    },
    /// A tablespace of the folder that is to be restored over may be in use by another server.
    #[error(
        "{} holds files, and may be the tablespace of another server: if it belongs to this cluster, name it for the tablespace, else give another folder",
        path.display()
    )]
    ForeignTablespace {
        /// Where the tablespace would be restored to.
        path: PathBuf,
    },
    /// The folder that is to be restored over holds WAL that is nowhere else.
    #[error("{} has {files} segments of WAL that were never archived: archive them first, or discard them", path.display())]
    UnarchivedWal {
        /// The data directory.
        path: PathBuf,
        /// How many there are.
        files: usize,
    },
    /// The server on a restored data directory did not start, or ended while it replayed.
    #[error("the server on {} {what}; the end of {}:\n{tail}", data.display(), log.display())]
    NotStarted {
        /// The data directory. It can be started by hand, or restored over.
        data: PathBuf,
        /// What became of the server.
        what: String,
        /// Its log.
        log: PathBuf,
        /// The end of that.
        tail: String,
        /// The shell's command that starts it.
        start: String,
    },
    /// The WAL ended before the target of the recovery, and the server with it.
    #[error(
        "the archive ends before the target of the recovery: {} was not promoted; the end of {}:\n{tail}",
        data.display(),
        log.display()
    )]
    TargetNotReached {
        /// The data directory, which can be restored over.
        data: PathBuf,
        /// The server's log.
        log: PathBuf,
        /// The end of that.
        tail: String,
    },
    /// The server has paused its replay where nobody told it to: its settings are too small for what it replays.
    #[error("replay in {} has paused before its target; the end of {}:\n{tail}", data.display(), log.display())]
    ReplayStalled {
        /// The data directory.
        data: PathBuf,
        /// The server's log.
        log: PathBuf,
        /// The end of that.
        tail: String,
        /// The shell's command that stops the server.
        stop: String,
    },
    /// The server did not reach the end of its recovery in time. It runs, and goes on.
    #[error(
        "the server on {} still replays after {timeout:?}{}: it runs on",
        data.display(),
        position.map_or_else(String::new, |position| format!(", at {position}"))
    )]
    ReplayTimedOut {
        /// The data directory.
        data: PathBuf,
        /// How long it was waited for.
        timeout: Duration,
        /// How far it had replayed, where it said so.
        position: Option<Lsn>,
        /// The shell's command that stops the server.
        stop: String,
        /// Why it could not be asked.
        #[source]
        source: Option<BoxError>,
    },
    /// The folder that is to be restored over does not hold the cluster of the backup.
    #[error(
        "{} {}: restore into another folder, or empty this one yourself",
        path.display(),
        match found {
            Some(found) => format!("holds the cluster {found}, and the backup is of {}", wanted.map_or_else(|| "another".to_owned(), |wanted| wanted.to_string())),
            None => "holds no cluster, and no unfinished restore of one".to_owned(),
        }
    )]
    OtherCluster {
        /// The data directory.
        path: PathBuf,
        /// The system identifier of what lies there.
        found: Option<u64>,
        /// That of the backup.
        wanted: Option<u64>,
    },
}

impl PhysicalError {
    /// Returns whether the same call may succeed later without anything being changed by hand.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::SessionLost { .. } | Self::Promoted { .. } | Self::TimelineChanged { .. })
    }
}
