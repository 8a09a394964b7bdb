//! What a job is: something that is done by schedule, and says how it went.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::due::Timing;
use crate::ops;
use crate::progress::Progress;
use crate::repository::{JobName, Repository};

/// What kind of work a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JobKind {
    /// A backup of databases.
    Backup,
    /// A backup of a whole cluster.
    ClusterBackup,
    /// A look at whether one could restore, and at the server.
    Check,
    /// A verification of backups.
    Verify,
    /// Places are healed from one another.
    Repair,
    /// A restore into a throwaway server.
    RestoreTest,
    /// A drill.
    Drill,
    /// Removal of what no rule keeps.
    Prune,
    /// Removal of log that no backup needs.
    WalPrune,
    /// People are told what happened.
    Summary,
}

impl JobKind {
    /// Returns the name, as it appears in the configuration and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::ClusterBackup => "cluster-backup",
            Self::Check => "check",
            Self::Verify => "verify",
            Self::Repair => "repair",
            Self::RestoreTest => "restore-test",
            Self::Drill => "drill",
            Self::Prune => "prune",
            Self::WalPrune => "wal-prune",
            Self::Summary => "summary",
        }
    }

    /// Returns whether it makes backups: such a job is run at once where it has never been.
    pub fn is_backup(self) -> bool {
        matches!(self, Self::Backup | Self::ClusterBackup)
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a job works with.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct JobContext<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// What shows progress.
    pub progress: &'a dyn Progress,
}

impl<'a> JobContext<'a> {
    /// Works with a repository.
    pub fn new(repository: &'a Repository, progress: &'a dyn Progress) -> Self {
        Self { repository, progress }
    }
}

impl fmt::Debug for JobContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext").field("repository", &self.repository).finish_non_exhaustive()
    }
}

/// What came of a job that did what it was to do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JobOutcome {
    /// Whether all is well.
    pub passed: bool,
    /// What it did, or found, in words.
    pub message: String,
    /// Bytes that it stored, read or removed.
    pub bytes: Option<u64>,
    /// What else is known, by names.
    pub facts: BTreeMap<String, serde_json::Value>,
}

impl JobOutcome {
    /// All is well, or something bad was found.
    pub fn new(passed: bool, message: impl Into<String>) -> Self {
        Self { passed, message: message.into(), bytes: None, facts: BTreeMap::new() }
    }

    /// Sets the bytes that it stored, read or removed.
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Adds a fact.
    pub fn with_fact(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }
}

/// Something that is done by schedule.
#[async_trait]
pub trait Job: Send + Sync + fmt::Debug {
    /// Returns what kind of work it is.
    fn kind(&self) -> JobKind;

    /// Does it. Dropping the future gives it up: what it leaves is found by later runs, or removed by prune.
    ///
    /// # Errors
    /// What hindered the work. That something bad was found is an outcome.
    async fn run(&self, context: &JobContext<'_>) -> ops::Result<JobOutcome>;
}

/// A job, its name, and when it is run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScheduledJob {
    /// The name, under which its history is found.
    pub name: JobName,
    /// The work.
    pub job: Arc<dyn Job>,
    /// When.
    pub timing: Timing,
}

impl ScheduledJob {
    /// Runs a job by a schedule.
    pub fn new(name: JobName, job: Arc<dyn Job>, timing: Timing) -> Self {
        Self { name, job, timing }
    }
}
