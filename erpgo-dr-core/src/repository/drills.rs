//! What drills showed: MACed records, which are kept for good.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::catalogue::{CatalogueProblem, read_trusted};
use super::{Repository, RepositoryError, layout};
use crate::types::{BackupId, DrillId};

pub(super) const DRILL_DOMAIN: &str = "drill";

/// What a drill showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DrillRecord {
    /// The drill.
    pub id: DrillId,
    /// What was rehearsed: `restore`, `region-failover`.
    pub scenario: String,
    /// Who had it done.
    pub by: String,
    /// Whether people did it, and say so.
    pub by_hand: bool,
    /// When it began.
    pub began: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// Seconds until what was to be recovered answered.
    pub rto_seconds: Option<f64>,
    /// Seconds of work that would have been lost.
    pub rpo_seconds: Option<f64>,
    /// What the first may be.
    pub rto_objective_seconds: Option<f64>,
    /// What the second may be.
    pub rpo_objective_seconds: Option<f64>,
    /// What was restored.
    pub backups: Vec<BackupId>,
    /// Bytes of plaintext of a whole cluster's files that were restored, where the drill was one of a cluster.
    pub restored_bytes: Option<u64>,
    /// Seconds that this took.
    pub restore_seconds: Option<f64>,
    /// Bytes of the write-ahead log that were replayed behind it.
    pub replayed_bytes: Option<u64>,
    /// Seconds that this took, the start of the server included.
    pub replay_seconds: Option<f64>,
    /// What was wrong, in words.
    pub findings: Vec<String>,
    /// What people say of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The runbook that was run on servers of its own, where one was.
    #[serde(default)]
    pub runbook: Option<String>,
    /// Whether that was another text than the one that comes with the tool.
    #[serde(default)]
    pub own_runbook: bool,
    /// How its steps ended, and how long each took.
    #[serde(default)]
    pub steps: Vec<DrillStep>,
}

/// How a step of a runbook ended in a drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DrillStep {
    /// The step.
    pub id: String,
    /// What it is called among people.
    pub title: String,
    /// `succeeded`, `found-done`, `failed`, `skipped`, `pending`.
    pub outcome: String,
    /// Seconds that it took, where it was begun.
    pub seconds: Option<f64>,
    /// Why it failed, or was skipped.
    pub reason: Option<String>,
}

impl DrillStep {
    /// Writes a step down.
    pub fn new(id: String, title: String, outcome: String, seconds: Option<f64>, reason: Option<String>) -> Self {
        Self { id, title, outcome, seconds, reason }
    }
}

/// What drills showed.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Drills {
    /// The records that can be trusted, the oldest first.
    pub records: Vec<DrillRecord>,
    /// What is wrong with others.
    pub problems: Vec<CatalogueProblem>,
}

impl DrillRecord {
    /// Returns whether everything came back as it should be.
    pub fn passed(&self) -> bool {
        self.findings.is_empty()
    }

    /// Returns whether recovery was as quick as it has to be; `None` where that is not known.
    pub fn rto_met(&self) -> Option<bool> {
        Some(self.rto_seconds? <= self.rto_objective_seconds?)
    }

    /// Returns whether no more would have been lost than may be; `None` where that is not known.
    pub fn rpo_met(&self) -> Option<bool> {
        Some(self.rpo_seconds? <= self.rpo_objective_seconds?)
    }
}

impl Repository {
    /// Writes down what a drill showed.
    ///
    /// # Errors
    /// [`RepositoryError::Locked`]; of the storage place.
    pub(crate) async fn record_drill(&self, record: &DrillRecord) -> Result<(), RepositoryError> {
        self.write_record(&layout::drill(&record.id), DRILL_DOMAIN, record).await
    }

    /// Reads what drills showed. Records of epochs that are locked are left out.
    ///
    /// # Errors
    /// Of the storage place. That a record was altered is in the result.
    pub async fn drills(&self) -> Result<Drills, RepositoryError> {
        let storage = self.storage.as_ref();
        let mut drills = Drills::default();
        for (key, found) in read_trusted::<DrillRecord>(storage, layout::DRILLS, DRILL_DOMAIN, &self.keyring).await? {
            match found {
                Ok(record) => drills.records.extend(record),
                Err(error) => drills.problems.push(CatalogueProblem::new(&key, &error)),
            }
        }
        drills.records.sort_by_key(|drill| drill.ended);
        Ok(drills)
    }
}
