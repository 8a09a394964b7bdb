//! Decides which backups to keep. A pure function of the time and the catalogue: no I/O, no clock.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::types::BackupId;

/// What a policy may know of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetentionCandidate {
    /// The backup.
    pub id: BackupId,
    /// When it began.
    pub created: DateTime<Utc>,
    /// When it was last proven good, if ever, and not found bad since.
    pub verified: Option<DateTime<Utc>>,
    /// Whether someone put it on hold.
    pub held: bool,
    /// Other backups without which this one cannot be restored.
    pub needs: Vec<BackupId>,
    /// What it is a backup of: policies count each group by itself (kind, scope, databases).
    pub group: String,
}

impl RetentionCandidate {
    /// Describes an unverified backup without holds or dependencies.
    pub fn new(id: BackupId, created: DateTime<Utc>, group: impl Into<String>) -> Self {
        Self { id, created, verified: None, held: false, needs: Vec::new(), group: group.into() }
    }
}

/// What becomes of one backup, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The backup.
    pub id: BackupId,
    /// Whether it stays.
    pub keep: bool,
    /// Every reason to keep it (`daily 2026-11-24`, `last 3`, `hold`), or why nothing keeps it.
    pub reasons: Vec<String>,
}

/// What becomes of every backup, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RetentionPlan {
    /// One decision for each candidate.
    pub decisions: Vec<Decision>,
}

/// A rule by which backups are kept. Object-safe.
pub trait RetentionPolicy: Send + Sync + fmt::Debug {
    /// Describes the rule for a person: `7 daily, 4 weekly, 12 monthly`.
    fn describe(&self) -> String;

    /// Decides about each of `backups` (in any order) as of `now`. The same input gives the same plan.
    fn plan(&self, now: DateTime<Utc>, backups: &[RetentionCandidate]) -> RetentionPlan;
}
