//! What a journal tells: one thing that happened, each with its time and the hash of what was told before it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::super::actions::Loss;
use super::super::model::{Outcome, RunbookName, StepId};
use super::super::operator::{Answer, Question};
use super::super::values::VariableKind;
use super::process::ProcessMark;
use crate::types::ContentHash;

/// An entry of a run's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its number, counted from 0.
    pub number: u32,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// The BLAKE3 hash of the bytes of the entry before it; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ContentHash>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// The run began.
    Begun(Box<Beginning>),
    /// Another process goes on with it.
    Resumed {
        /// Who has it go on.
        by: String,
        /// The process.
        #[serde(default)]
        process: ProcessMark,
    },
    /// Steps are taken back from here on.
    UndoBegun {
        /// Who has them taken back.
        by: String,
        /// The process.
        #[serde(default)]
        process: ProcessMark,
    },
    /// A step is not done, or not taken back.
    Skipped {
        /// The step.
        step: StepId,
        /// What is not done.
        purpose: Purpose,
        /// The condition that does not hold, or what is done already.
        why: String,
        /// Whether it is skipped because there is nothing left to do: then it counts as done.
        #[serde(default)]
        done: bool,
    },
    /// The operator was asked.
    Asked {
        /// The question.
        question: Question,
    },
    /// The operator answered.
    Answered {
        /// The step.
        step: StepId,
        /// The answer.
        answer: Answer,
    },
    /// An attempt at a step, or at taking it back, begins. Nothing is done before this is written.
    Started {
        /// The step.
        step: StepId,
        /// What is done.
        purpose: Purpose,
        /// The number of the attempt, from 1 on.
        attempt: u32,
        /// What it does, in words.
        doing: String,
    },
    /// The attempt ended.
    Ended {
        /// The step.
        step: StepId,
        /// What was done.
        purpose: Purpose,
        /// The number of the attempt.
        attempt: u32,
        /// Whether it was done.
        outcome: Outcome,
        /// Whether it may have been done although it failed: its time was over, or a connection was lost.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unsure: bool,
        /// Whether all was so before, so that nothing is to be taken back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unchanged: bool,
        /// What it said, or why it failed. Secrets are blacked out.
        output: String,
        /// A value that it put into a variable, unless that is a secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stored: Option<Stored>,
        /// What is lost by it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        loss: Option<Loss>,
    },
    /// Somebody was told how the run goes, or could not be.
    Told {
        /// The level of escalation, from 1 on; absent for how the run ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<u32>,
        /// The contact.
        contact: String,
        /// Why nobody could be told that way.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<String>,
    },
    /// The run ended, or stands still until it is resumed or taken back.
    Finished {
        /// How.
        ending: Ending,
        /// The step that it stands at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
    },
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Event {
    /// Returns the step that it is about.
    pub(crate) fn step(&self) -> Option<&StepId> {
        match self {
            Self::Asked { question } => Some(&question.step),
            Self::Skipped { step, .. }
            | Self::Answered { step, .. }
            | Self::Started { step, .. }
            | Self::Ended { step, .. } => Some(step),
            Self::Begun(_)
            | Self::Resumed { .. }
            | Self::UndoBegun { .. }
            | Self::Told { .. }
            | Self::Finished { .. }
            | Self::Unknown => None,
        }
    }
}

/// The form of journals that this version writes.
pub(crate) const JOURNAL_FORMAT: u32 = 1;

/// What a run began with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Beginning {
    /// The version of the journal's form: 1.
    pub format: u32,
    /// The process.
    #[serde(default)]
    pub process: ProcessMark,
    /// The runbook.
    pub runbook: RunbookName,
    /// Its whole text: a run goes on with what it began with.
    pub text: String,
    /// Who began it.
    pub by: String,
    /// When the incident began, from which the recovery time counts.
    pub incident: DateTime<Utc>,
    /// Whether it is a drill.
    #[serde(default)]
    pub drill: bool,
    /// The values, and of secrets that there is one.
    pub values: BTreeMap<String, RecordedValue>,
}

/// A value as a journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecordedValue {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: VariableKind,
    /// The value: of a server without its password. Absent for a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Whether something secret was left out, which must be given again when the run is to go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
}

/// A value that a step put into a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stored {
    /// The variable.
    pub variable: String,
    /// The value.
    pub value: String,
}

/// What an attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Purpose {
    /// To do a step.
    Do,
    /// To take it back.
    Undo,
}

/// How a run stands when nobody goes on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ending {
    /// All that was to be done is done.
    Completed,
    /// A step failed, or the operator said no: it can be resumed or taken back.
    Stopped,
    /// What was done is taken back.
    Undone,
    /// A step could not be taken back.
    UndoStopped,
}

impl Ending {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Undone => "undone",
            Self::UndoStopped => "undo-stopped",
        }
    }
}
