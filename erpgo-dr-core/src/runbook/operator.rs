//! The person whom a run asks: before what cannot be taken back, and for what only people can do.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::model::StepId;

/// A question to the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Question {
    /// The step that asks.
    pub step: StepId,
    /// What is asked for.
    pub kind: QuestionKind,
    /// The question, or what is to be done.
    pub text: String,
}

/// What kind of answer is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
#[non_exhaustive]
pub enum QuestionKind {
    /// May this be done? [`Choice::Yes`] or [`Choice::No`].
    Confirm {
        /// A word that must be typed for a yes.
        word: Option<String>,
    },
    /// People do this by hand, and say when they have: [`Choice::Yes`], or [`Choice::No`] if it failed.
    Manual,
    /// The run was cut off in this step, and it may have been done: [`Choice::Yes`] it was, [`Choice::Again`], or [`Choice::No`] to stop.
    Interrupted,
}

/// What the operator chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Choice {
    /// Yes; it was done.
    Yes,
    /// No; it failed; stop.
    No,
    /// Do it again.
    Again,
}

/// An answer, for the journal too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Answer {
    /// What was chosen.
    pub choice: Choice,
    /// Who chose it.
    pub by: String,
    /// What was said beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Answer {
    /// Makes an answer.
    pub fn new(choice: Choice, by: impl Into<String>, note: Option<String>) -> Self {
        Self { choice, by: by.into(), note }
    }
}

/// Answers questions. A step's time does not run while one waits for the answer.
#[async_trait]
pub trait Operator: Send + Sync + fmt::Debug {
    /// Says who begins or goes on with a run.
    fn name(&self) -> String;

    /// Answers a question, however long it takes.
    async fn ask(&self, question: &Question) -> Answer;
}

/// Nobody: what was allowed beforehand is answered with yes, and everything else with no.
#[derive(Debug, Clone)]
pub struct Unattended {
    name: String,
    allowed: bool,
    words: Vec<String>,
}

impl Unattended {
    /// Says no to everything.
    pub fn refusing(name: impl Into<String>) -> Self {
        Self { name: name.into(), allowed: false, words: Vec::new() }
    }

    /// Says yes to every confirmation, but for those that ask for a word. What people do by hand, and what was cut off, it cannot answer
    /// for: those it refuses.
    pub fn allowing(name: impl Into<String>) -> Self {
        Self { name: name.into(), allowed: true, words: Vec::new() }
    }

    /// Types these words where a confirmation asks for one of them.
    pub fn with_words(mut self, words: impl IntoIterator<Item = String>) -> Self {
        self.words.extend(words);
        self
    }

    /// Returns whether a question was answered with yes beforehand.
    pub fn allows(&self, question: &Question) -> bool {
        match &question.kind {
            QuestionKind::Confirm { word: Some(word) } => self.words.contains(word),
            QuestionKind::Confirm { word: None } => self.allowed,
            QuestionKind::Manual | QuestionKind::Interrupted => false,
        }
    }
}

#[async_trait]
impl Operator for Unattended {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn ask(&self, question: &Question) -> Answer {
        let allowed = self.allows(question);
        let choice = if allowed { Choice::Yes } else { Choice::No };
        let note = if allowed { "allowed beforehand" } else { "nobody is there to answer" };
        Answer::new(choice, self.name(), Some(note.to_owned()))
    }
}
