//! How the log is streamed, how far it has come, and what came of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::writer::Spooled;
use crate::storage::Storage;
use crate::types::{Lsn, TimelineId};

/// What has to be true before the server is told that a part of its log is durable: for a synchronous standby, before a commit returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Durability {
    /// It is on the disk of the folder. That disk must be another than the database's.
    #[default]
    Folder,
    /// It is in the repository, at every place.
    Repository,
}

/// How the log is streamed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WalStreamOptions {
    /// Where the log is kept until it is archived, in the clear. On another disk than the database's, better on another host.
    pub folder: PathBuf,
    /// The physical replication slot by which the server keeps what has not been received. Without one it may remove it.
    pub slot: Option<String>,
    /// Whether the slot is made if it is not there.
    pub create_slot: bool,
    /// When the server is told that something is durable.
    pub durability: Durability,
    /// How often the beginning of a segment that is not whole yet is archived; with [`Durability::Repository`] it is at once.
    pub upload_every: Duration,
    /// How often the server is told how far we are, at the least.
    pub report_every: Duration,
    /// How long a server may be silent before the connection is given up.
    pub silence_limit: Duration,
    /// Where to end; `None` goes on.
    pub until: Option<Lsn>,
    /// The places of the repository, the primary first, if there are several.
    pub places: Vec<Arc<dyn Storage>>,
}

impl WalStreamOptions {
    /// Streams through `folder`, without a slot.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            slot: None,
            create_slot: false,
            durability: Durability::Folder,
            upload_every: Duration::from_secs(10),
            report_every: Duration::from_secs(10),
            silence_limit: Duration::from_secs(60),
            until: None,
            places: Vec::new(),
        }
    }

    /// Sets the slot, and whether it is made if it is not there.
    pub fn with_slot(mut self, name: impl Into<String>, create: bool) -> Self {
        self.slot = Some(name.into());
        self.create_slot = create;
        self
    }

    /// Sets when the server is told that something is durable.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how often the beginning of a segment is archived.
    pub fn with_upload_every(mut self, period: Duration) -> Self {
        self.upload_every = period;
        self
    }

    /// Sets where to end.
    pub fn with_until(mut self, until: Option<Lsn>) -> Self {
        self.until = until;
        self
    }

    /// Sets the places of the repository, the primary first.
    pub fn with_places(mut self, places: Vec<Arc<dyn Storage>>) -> Self {
        self.places = places;
        self
    }
}

/// How far a stream has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WalStreamStatus {
    /// The cluster; `None` until it is known.
    pub system_identifier: Option<u64>,
    /// The timeline that is streamed.
    pub timeline: Option<TimelineId>,
    /// Whether the server sends.
    pub connected: bool,
    /// How often the server was connected to.
    pub connections: u64,
    /// How far the server's log reaches, by its last word.
    pub server_end: Option<Lsn>,
    /// How far it is durable in the folder.
    pub durable: Option<Lsn>,
    /// How far it is durable in the repository.
    pub archived: Option<Lsn>,
    /// Segments archived whole.
    pub segments: u64,
    /// What keeps the server from being heard, if something does.
    pub server_problem: Option<String>,
    /// What keeps the log out of the repository, if something does.
    pub repository_problem: Option<String>,
}

/// Is told how a stream goes.
pub trait WalStreamObserver: Send + Sync {
    /// Takes notice: of a connection made or lost, a timeline, a segment archived, a problem, and now and then of progress. Must not block.
    fn changed(&self, status: &WalStreamStatus);
}

/// Takes no notice.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWalStreamObserver;

impl WalStreamObserver for NoWalStreamObserver {
    fn changed(&self, _status: &WalStreamStatus) {}
}

/// What came of streaming.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WalStreamReport {
    /// The cluster; `None` if nothing is known of it.
    pub system_identifier: Option<u64>,
    /// The timeline that was streamed last.
    pub timeline: Option<TimelineId>,
    /// How far the log is durable in the folder or, once a segment has been archived and left the folder, in the repository.
    pub durable: Option<Lsn>,
    /// How far it is durable in the repository.
    pub archived: Option<Lsn>,
    /// Segments archived whole.
    pub segments: u64,
    /// How often the server was connected to.
    pub connections: u64,
    /// What keeps the rest out of the repository, if something does.
    pub repository_problem: Option<String>,
}

impl WalStreamReport {
    pub(super) fn new(status: &WalStreamStatus, spooled: &Spooled) -> Self {
        Self {
            system_identifier: status.system_identifier,
            timeline: status.timeline,
            durable: spooled.reach(),
            archived: status.archived,
            segments: status.segments,
            connections: status.connections,
            repository_problem: status.repository_problem.clone(),
        }
    }

    /// Returns whether all that was received is in the repository.
    pub fn is_complete(&self) -> bool {
        self.repository_problem.is_none() && self.archived >= self.durable
    }
}
