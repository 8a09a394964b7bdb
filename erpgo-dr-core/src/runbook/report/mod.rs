//! The report of an incident: what a run's journal tells, in one piece for those who were not there.
//!
//! It is made from the journal alone, at any time, and says from which state of it. Times are measured, not claimed: what was not
//! reached has no figure. Every text of the journal is escaped where it is written, whatever is in it.

mod fold;
mod gantt;
mod html;
mod markdown;
mod measure;
#[cfg(test)]
mod tests;
mod words;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::RunbookError;
use super::actions::Loss;
use super::journal;
use super::model::{Counts, Objectives, RunbookName, StepId};
use super::operator::Choice;
use crate::repository::Repository;
use crate::types::{ContentHash, RunId};

/// What happened in a run, as its journal tells it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IncidentReport {
    /// The run.
    pub run: RunId,
    /// The runbook.
    pub runbook: RunbookName,
    /// What it is called among people.
    pub title: String,
    /// Whether it was a drill.
    pub drill: bool,
    /// Who began it.
    pub begun_by: String,
    /// Who had it go on, or taken back, in their order.
    pub continued: Vec<Continuation>,
    /// When the incident began.
    pub incident: DateTime<Utc>,
    /// When the run began.
    pub began: DateTime<Utc>,
    /// When it ended; absent where the journal does not say that it has.
    pub ended: Option<DateTime<Utc>>,
    /// How it stands.
    pub ending: RunState,
    /// The step that it stands at.
    pub stands_at: Option<StepId>,
    /// What recovery was to reach.
    pub objectives: Objectives,
    /// Seconds from the incident to the end of the last step that counts toward the recovery time; absent if that was not reached.
    pub rto_seconds: Option<f64>,
    /// Whether that is within the objective; absent without one, and while it may still be.
    pub rto_met: Option<bool>,
    /// Seconds of work before the incident that are lost, the most of any step that counts toward it; absent where nothing says.
    pub rpo_seconds: Option<f64>,
    /// Bytes of the write-ahead log that are lost, the most of any such step; absent where nothing says.
    pub rpo_bytes: Option<u64>,
    /// Whether the loss is within the objective; absent without one, or where the loss is not known.
    pub rpo_met: Option<bool>,
    /// Who was told how it goes, and who could not be.
    pub told: Vec<ToldReport>,
    /// The steps, in the order of the runbook.
    pub steps: Vec<StepReport>,
    /// How many entries the journal had.
    pub entries: usize,
    /// When the last of them was written.
    pub last_entry_at: DateTime<Utc>,
    /// The BLAKE3 hash of the last of them, which names all before it.
    pub last_entry: ContentHash,
}

/// Somebody goes on with a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Continuation {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: String,
    /// Whether to take it back.
    pub undo: bool,
}

/// Somebody was told how a run goes, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ToldReport {
    /// When.
    pub at: DateTime<Utc>,
    /// The level of escalation; absent for how the run ended.
    pub level: Option<u32>,
    /// The contact.
    pub contact: String,
    /// Why it could not be told.
    pub failed: Option<String>,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RunState {
    /// All that was to be done is done.
    Completed,
    /// A step failed, or somebody said no.
    Stopped,
    /// What was done is taken back.
    Undone,
    /// A step could not be taken back.
    UndoStopped,
    /// The journal does not say that it ended: it was cut off, or it is still going on.
    CutOff,
}

/// How a step, or an attempt at it, came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StepState {
    /// It was not begun.
    #[default]
    Pending,
    /// It was begun, and the journal does not say how it ended.
    CutOff,
    /// It was done.
    Succeeded,
    /// There was nothing left to do.
    FoundDone,
    /// Its last attempt failed.
    Failed,
    /// It was not to be done.
    Skipped,
}

/// What happened in a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StepReport {
    /// The step.
    pub id: StepId,
    /// What it is called among people.
    pub title: String,
    /// The kind of its action.
    pub action: String,
    /// The objective that it counts toward.
    pub counts: Option<Counts>,
    /// How it came out.
    pub outcome: StepState,
    /// When it began: its first question, attempt or finding.
    pub started: Option<DateTime<Utc>>,
    /// When its last attempt ended, or it was skipped.
    pub ended: Option<DateTime<Utc>>,
    /// Seconds between them, the waiting for people and between attempts included.
    pub seconds: Option<f64>,
    /// Why it was not done, or was found done.
    pub skipped: Option<String>,
    /// What is lost by it.
    pub loss: Option<Loss>,
    /// Each attempt at it.
    pub attempts: Vec<AttemptReport>,
    /// What people were asked.
    pub questions: Vec<QuestionReport>,
    /// Each attempt at taking it back.
    pub undo_attempts: Vec<AttemptReport>,
    /// Why taking it back was left to people.
    pub undo_skipped: Option<String>,
}

/// An attempt at a step, or at taking it back.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AttemptReport {
    /// When it began.
    pub began: DateTime<Utc>,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// How it came out.
    pub outcome: StepState,
    /// What it was to do.
    pub doing: String,
    /// What it said, or why it failed.
    pub output: String,
}

/// A question to people, and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QuestionReport {
    /// When it was asked.
    pub asked: DateTime<Utc>,
    /// The question, or what was to be done by hand.
    pub text: String,
    /// When it was answered.
    pub answered: Option<DateTime<Utc>>,
    /// The answer.
    pub choice: Option<Choice>,
    /// Who answered.
    pub by: Option<String>,
    /// What was said beside it.
    pub note: Option<String>,
}

/// Makes the report of a run from its journal, as far as that goes.
///
/// # Errors
/// [`RunbookError::NoSuchRun`]; [`RunbookError::Journal`] where the journal was altered; [`RunbookError::Syntax`] where the runbook
/// in it is none that this version reads; of the repository.
pub async fn report(repository: &Repository, run: &RunId) -> Result<IncidentReport, RunbookError> {
    let (entries, last) = journal::read(repository, run).await?;
    let last = last.ok_or_else(|| RunbookError::NoSuchRun(run.clone()))?;
    IncidentReport::from_entries(run, &entries, last)
}

impl RunState {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Undone => "undone",
            Self::UndoStopped => "undo-stopped",
            Self::CutOff => "cut-off",
        }
    }
}

impl StepState {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::CutOff => "cut-off",
            Self::Succeeded => "succeeded",
            Self::FoundDone => "found-done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    fn is_done(self) -> bool {
        matches!(self, Self::Succeeded | Self::FoundDone)
    }
}

/// Returns the seconds from one moment to another, to the millisecond.
fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_milliseconds() as f64 / 1000.0
}
