//! What a bisection is told, plans and reports.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::ops::physical::{RecoveryTarget, RecoveryTimeline};
use crate::postgres::ClientPrograms;
use crate::postgres::throwaway::RunAs;
use crate::types::{BackupId, Lsn, TimelineId};

/// What is looked for, and with what.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BisectOptions {
    /// The database to ask.
    pub database: String,
    /// The query: one row whose first column is true while the data is right.
    pub check: String,
    /// What it means where the check gives no answer: a table is not there yet, a page cannot be read. An error, when nothing is said.
    pub missing: Option<BisectVerdict>,
    /// How long the check may take; zero for as long as it takes.
    pub check_timeout: Duration,
    /// The cluster, where the repository has backups of several.
    pub system_identifier: Option<u64>,
    /// The programs of the server's major version.
    pub programs: ClientPrograms,
    /// Where the copy is restored to, in the clear, in a folder of its own that is removed.
    pub scratch: PathBuf,
    /// The account that its server runs as.
    pub run_as: Option<RunAs>,
    /// PostgreSQL's `restore_command`, which the server's account runs; without one it is not searched within the log.
    pub restore_command: Option<String>,
    /// The variables of the environment that the command needs.
    pub environment: Vec<(OsString, OsString)>,
}

impl BisectOptions {
    /// Asks `check` of `database`, on a copy under `scratch`.
    pub fn new(
        database: impl Into<String>,
        check: impl Into<String>,
        programs: ClientPrograms,
        scratch: impl Into<PathBuf>,
    ) -> Self {
        Self {
            database: database.into(),
            check: check.into(),
            missing: None,
            check_timeout: Duration::ZERO,
            system_identifier: None,
            programs,
            scratch: scratch.into(),
            run_as: None,
            restore_command: None,
            environment: Vec::new(),
        }
    }

    /// Sets what it means where the check gives no answer.
    pub fn with_missing(mut self, verdict: Option<BisectVerdict>) -> Self {
        self.missing = verdict;
        self
    }

    /// Sets how long the check may take.
    pub fn with_check_timeout(mut self, timeout: Duration) -> Self {
        self.check_timeout = timeout;
        self
    }

    /// Sets the cluster.
    pub fn with_system_identifier(mut self, identifier: Option<u64>) -> Self {
        self.system_identifier = identifier;
        self
    }

    /// Sets the account that the server runs as.
    pub fn with_run_as(mut self, account: Option<RunAs>) -> Self {
        self.run_as = account;
        self
    }

    /// Sets PostgreSQL's `restore_command`, and the variables that it needs.
    pub fn with_restore_command(mut self, command: Option<String>, environment: Vec<(OsString, OsString)>) -> Self {
        (self.restore_command, self.environment) = (command, environment);
        self
    }
}

/// What the data was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BisectVerdict {
    /// The check holds.
    Good,
    /// It does not.
    Bad,
}

/// A restore point among those that are searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BisectPoint {
    /// The backup.
    pub backup: BackupId,
    /// When it was complete.
    pub finished: DateTime<Utc>,
}

/// What a bisection would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BisectPlan {
    /// The restore points, the oldest first.
    pub points: Vec<BisectPoint>,
    /// How many of them are restored, at most: the first in full, the others over it. Within the log there are as many more as the number of
    /// commits has binary digits.
    pub most_restores: u32,
    /// Bytes of the largest of them. What the replay of the log adds comes on top.
    pub needed_bytes: u64,
    /// Bytes that are free where the copy goes.
    pub free_bytes: u64,
}

/// One question to a copy.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BisectProbe {
    /// The backup that was restored.
    pub backup: BackupId,
    /// The commit that was replayed last; `None` for the backup alone.
    pub lsn: Option<Lsn>,
    /// Its transaction.
    pub transaction: Option<u32>,
    /// When that was committed, or the backup was complete.
    pub at: Option<DateTime<Utc>>,
    /// What the data was found to be.
    pub verdict: BisectVerdict,
    /// What the check said, where it did not hold.
    pub detail: String,
    /// Seconds of the restore, the replay and the check.
    pub seconds: f64,
}

/// How a bisection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BisectOutcome {
    /// A transaction broke it.
    Transaction,
    /// It broke between two points, and the log between them is not there, or not to be searched.
    Between,
    /// The log was replayed from a good restore point to a bad one, and the data stayed right: what broke it is not in the log, but on the
    /// disk of the server.
    NotInLog,
    /// It was bad in all restore points.
    NeverGood,
    /// It was good in all of them, and is at the end of the archived log.
    NeverBad,
}

/// A commit in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LoggedCommit {
    /// The number of the transaction.
    pub transaction: u32,
    /// Where its commit record begins.
    pub lsn: Lsn,
    /// When, by the server's clock.
    pub at: Option<DateTime<Utc>>,
    /// The timeline that it is on.
    pub timeline: TimelineId,
}

/// How the last good state is brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BisectRestore {
    /// The backup to restore.
    pub backup: BackupId,
    /// Where replay stops.
    pub target: RecoveryTarget,
    /// Whether what lies at the target is replayed.
    pub inclusive: bool,
    /// The timeline that is followed.
    pub timeline: RecoveryTimeline,
    /// Parameters of the server while it recovers: just before a gap of the log it must not read ahead.
    pub settings: Vec<(String, String)>,
}

/// What a bisection found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BisectReport {
    /// How it ended.
    pub outcome: BisectOutcome,
    /// The same in words, with what it rests on.
    pub message: String,
    /// The newest restore point that was found good.
    pub good: Option<BisectPoint>,
    /// The restore point behind it, which was found bad.
    pub bad: Option<BisectPoint>,
    /// The last commit at which the data was right, behind the good restore point.
    pub last_good: Option<LoggedCommit>,
    /// The transaction that broke it.
    pub transaction: Option<LoggedCommit>,
    /// Commits of the log between the good restore point and the bad one, or the end of the archive.
    pub commits: Option<u64>,
    /// How the last good state is brought back.
    pub restore: Option<BisectRestore>,
    /// What was asked, in order.
    pub probes: Vec<BisectProbe>,
    /// Seconds of all.
    pub seconds: f64,
}
