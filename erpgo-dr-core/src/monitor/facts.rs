//! What is known at a moment, in plain data.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::agent::AgentState;
use crate::ops::drill::{DrillDue, DrillState, Forecast};
use crate::ops::{RecoveryWindow, Status};
use crate::repository::{DrillRecord, VerifyLevel};
use crate::runbook::RunState;
use crate::types::{BackupId, EpochId, RunId};

/// All that is known of a repository and its server at a moment. What could not be asked is empty, and named in `problems`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Facts {
    /// When it was asked.
    pub at: DateTime<Utc>,
    /// Seconds that asking took.
    pub seconds: f64,
    /// Whether one could restore now, and nothing is known to be wrong with what would be.
    pub healthy: bool,
    /// The state of the repository.
    pub status: Status,
    /// How old the newest proven backup may be, in seconds.
    pub max_age_seconds: Option<f64>,
    /// Every backup, the oldest first.
    pub backups: Vec<BackupFacts>,
    /// To which moments clusters can be brought back.
    pub windows: Vec<RecoveryWindow>,
    /// The archive of the write-ahead log; absent where there is none.
    pub wal: Option<WalFacts>,
    /// Who follows the server.
    pub standbys: Vec<StandbyFacts>,
    /// What recovery is to reach, and whether it does.
    pub objectives: ObjectiveFacts,
    /// How long a recovery would take now.
    pub forecast: Option<Forecast>,
    /// Which drills are due.
    pub drills_due: Vec<DrillDue>,
    /// All drills, the oldest first.
    pub drills: Vec<DrillRecord>,
    /// The newest runs of runbooks, the newest first.
    pub incidents: Vec<IncidentFacts>,
    /// Key epochs, the oldest first.
    pub epochs: Vec<EpochFacts>,
    /// Folders of this host that fill up.
    pub disks: Vec<DiskFacts>,
    /// The agent of the process that asked, where it is one.
    pub agent: Option<AgentState>,
    /// What could not be asked, and what is wrong with what was.
    pub problems: Vec<Problem>,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BackupFacts {
    /// The backup.
    pub id: BackupId,
    /// `logical`, `physical`, `import`.
    pub kind: String,
    /// When it began.
    pub created: DateTime<Utc>,
    /// Seconds that it took.
    pub seconds: f64,
    /// Bytes of its streams, uncompressed.
    pub plaintext_bytes: u64,
    /// Bytes that it added to the repository.
    pub stored_bytes: u64,
    /// How deep it is proven.
    pub proven: Option<VerifyLevel>,
    /// Whether its last verification failed.
    pub failed: bool,
    /// Whether it is kept whatever the policy says.
    pub held: bool,
}

/// The archive of the write-ahead log.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WalFacts {
    /// The cluster of the server that was asked.
    pub system_identifier: Option<u64>,
    /// Segments that are archived.
    pub segments: u64,
    /// Bytes that they take up.
    pub stored_bytes: u64,
    /// When the newest one was archived, by the clock of the storage place.
    pub newest_archived: Option<DateTime<Utc>>,
    /// Bytes that the server has written and that are not archived; absent when no server was asked.
    pub lag_bytes: Option<u64>,
    /// When the newest transaction was committed that is archived.
    pub newest_commit: Option<DateTime<Utc>>,
    /// Seconds of transactions that would be lost with the server; absent when no server was asked.
    pub at_risk_seconds: Option<f64>,
    /// What is wrong, in words.
    pub findings: Vec<String>,
}

/// A server that follows the one that was asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StandbyFacts {
    /// Its `application_name`.
    pub name: String,
    /// Its address; absent for a socket.
    pub address: Option<String>,
    /// `streaming`, `catchup`...
    pub state: Option<String>,
    /// `async`, `sync`...
    pub sync_state: Option<String>,
    /// Bytes of the log that it has not flushed.
    pub lag_bytes: Option<u64>,
}

/// What recovery is to reach, and what it would reach now. All are seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ObjectiveFacts {
    /// How long recovery may take.
    pub rto_objective_seconds: Option<f64>,
    /// How much work may be lost.
    pub rpo_objective_seconds: Option<f64>,
    /// How long it would take: what is predicted, and else what the newest restore test took.
    pub rto_seconds: Option<f64>,
    /// How much would be lost: what of the log is not archived, or else all since the newest moment that can be had.
    pub rpo_seconds: Option<f64>,
    /// Whether recovery would be as quick as it has to be; `None` where that is not known.
    pub rto_met: Option<bool>,
    /// Whether no more would be lost than may be; `None` where that is not known.
    pub rpo_met: Option<bool>,
}

/// A run of a runbook.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IncidentFacts {
    /// The run.
    pub run: RunId,
    /// The runbook's title.
    pub title: String,
    /// Whether it was a drill.
    pub drill: bool,
    /// When the incident began.
    pub incident: DateTime<Utc>,
    /// When the run ended.
    pub ended: Option<DateTime<Utc>>,
    /// How it stands.
    pub state: RunState,
    /// Seconds that recovery took.
    pub rto_seconds: Option<f64>,
    /// Whether that is within the objective.
    pub rto_met: Option<bool>,
    /// Seconds of work that were lost.
    pub rpo_seconds: Option<f64>,
    /// Whether that is within the objective.
    pub rpo_met: Option<bool>,
}

/// A key epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EpochFacts {
    /// The epoch.
    pub id: EpochId,
    /// When it was begun.
    pub begun: DateTime<Utc>,
    /// Whether new backups are sealed with it.
    pub active: bool,
    /// How many ways there are to open it.
    pub slots: usize,
}

/// A folder of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DiskFacts {
    /// The folder.
    pub path: PathBuf,
    /// Bytes of its file system.
    pub total_bytes: u64,
    /// Bytes that may still be written there.
    pub free_bytes: u64,
}

/// Something that is wrong, or could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// What it is about.
    pub subject: String,
    /// What is wrong.
    pub problem: String,
}

impl Problem {
    pub(super) fn new(subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { subject: subject.into(), problem: problem.into() }
    }
}

impl Facts {
    /// Returns whether the newest proven backup is older than it may be.
    pub fn is_too_old(&self) -> bool {
        matches!((self.max_age_seconds, self.status.rpo_seconds), (Some(limit), Some(age)) if age > limit)
    }

    /// Returns the drills that were due and were not done.
    pub fn drills_overdue(&self) -> impl Iterator<Item = &DrillDue> {
        self.drills_due.iter().filter(|drill| drill.state == DrillState::Overdue)
    }

    /// Returns the newest backup of each kind, in order of the kinds' names.
    pub(super) fn newest_of_each_kind(&self) -> std::collections::BTreeMap<&str, &BackupFacts> {
        self.backups.iter().map(|backup| (backup.kind.as_str(), backup)).collect()
    }
}
