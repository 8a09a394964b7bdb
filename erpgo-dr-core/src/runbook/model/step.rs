//! A step of a runbook: one action, and everything about when and how it is done.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::super::RunbookError;
use super::super::actions::Action;
use super::super::span::Span;
use super::is_slug;

/// Names a step within its runbook: lower-case letters, digits and `-`, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepId(String);

/// One thing that is done, and how.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// Its name.
    pub id: StepId,
    /// What it is called among people.
    pub title: String,
    /// What is done.
    pub action: Action,
    /// When it is done: all of these hold. Otherwise it is skipped.
    pub when: Vec<Condition>,
    /// A check that says whether there is nothing left to do. It is asked before the step, and after a crash in the middle of it.
    pub done: Option<Action>,
    /// What takes it back.
    pub undo: Option<Action>,
    /// How long one attempt may take.
    pub timeout: Option<Span>,
    /// How often it is tried again.
    pub retries: u32,
    /// How long it is waited before that.
    pub pause: Span,
    /// What happens when the last attempt has failed.
    pub on_failure: OnFailure,
    /// Whether the operator is asked first; what cannot be taken back asks by itself.
    pub ask: Option<bool>,
    /// Whether it may be done twice: then a crash in the middle of it raises no question. Checks may by themselves.
    pub repeatable: Option<bool>,
    /// The objective that it counts toward.
    pub counts: Option<Counts>,
    /// The variable that takes what it returns.
    pub store: Option<String>,
}

/// When a step is done. Exactly one of the fields of its TOML form says so.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Condition {
    /// `{ step = "restart", is = "failed" }`: an earlier step ended so.
    Step {
        /// The earlier step.
        step: StepId,
        /// How it ended.
        is: Outcome,
    },
    /// `{ step = "gone", is-not = "failed" }`: an earlier step ended otherwise, or was not reached.
    NotStep {
        /// The earlier step.
        step: StepId,
        /// How it did not end.
        is_not: Outcome,
    },
    /// `{ variable = "standby", set = true }`: it has a value, or none.
    Set {
        /// The variable.
        variable: String,
        /// Whether it has one.
        set: bool,
    },
    /// `{ variable = "mode", equals = "fast" }`: its value is this text.
    Equals {
        /// The variable.
        variable: String,
        /// The text.
        equals: String,
    },
    /// `{ check = { ... } }`: a check passes now.
    Check(Action),
    /// `{ check-fails = { ... } }`: a check fails now.
    CheckFails(Action),
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// It did what it was to do.
    Succeeded,
    /// Its last attempt failed.
    Failed,
    /// It was not to be done.
    Skipped,
}

/// What happens when a step has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnFailure {
    /// The run stops here, to be resumed or undone.
    #[default]
    Stop,
    /// The run goes on: the failure is known, and later steps may ask for it.
    Continue,
}

/// An objective that a step counts toward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Counts {
    /// The recovery time ends when it has succeeded.
    Rto,
    /// What it says was lost is the loss.
    Rpo,
}

impl StepId {
    /// Returns the text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StepId {
    type Err = RunbookError;

    fn from_str(text: &str) -> Result<Self, RunbookError> {
        match is_slug(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(RunbookError::Name { what: "a step", text: text.to_owned() }),
        }
    }
}

impl TryFrom<String> for StepId {
    type Error = RunbookError;

    fn try_from(text: String) -> Result<Self, RunbookError> {
        text.parse()
    }
}

impl From<StepId> for String {
    fn from(id: StepId) -> Self {
        id.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Outcome {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// The form of a step in TOML: everything but its action, which is the one key left over.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    id: StepId,
    title: String,
    #[serde(default)]
    when: Vec<Condition>,
    done: Option<Action>,
    undo: Option<Action>,
    timeout: Option<Span>,
    #[serde(default)]
    retries: u32,
    #[serde(default = "default_pause")]
    pause: Span,
    #[serde(default)]
    on_failure: OnFailure,
    ask: Option<bool>,
    repeatable: Option<bool>,
    counts: Option<Counts>,
    store: Option<String>,
    // Unknown keys land here, and not in silence.
    #[serde(flatten)]
    action: BTreeMap<String, toml::Value>,
}

fn default_pause() -> Span {
    Span::from_secs(2)
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let step = Written::deserialize(deserializer)?;
        let wrong = |reason: &dyn fmt::Display| D::Error::custom(format!("step {}: {reason}", step.id));
        let action = only_action(step.action).map_err(|reason| wrong(&reason))?;
        Ok(Self {
            action,
            id: step.id,
            title: step.title,
            when: step.when,
            done: step.done,
            undo: step.undo,
            timeout: step.timeout,
            retries: step.retries,
            pause: step.pause,
            on_failure: step.on_failure,
            ask: step.ask,
            repeatable: step.repeatable,
            counts: step.counts,
            store: step.store,
        })
    }
}

/// Reads the one action that is left of a step.
fn only_action(left: BTreeMap<String, toml::Value>) -> Result<Action, String> {
    let known = |key: &&String| Action::KINDS.contains(&key.as_str());
    if let Some(unknown) = left.keys().find(|key| !known(key)) {
        return Err(format!("{unknown:?} is neither an action nor a setting of a step"));
    }
    if left.len() != 1 {
        let found = left.into_keys().collect::<Vec<_>>().join(", ");
        let found = if found.is_empty() { "none".to_owned() } else { found };
        return Err(format!("a step has one action, not {found}"));
    }
    Action::deserialize(toml::Value::Table(left.into_iter().collect())).map_err(|error| error.to_string())
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenCondition {
    step: Option<StepId>,
    is: Option<Outcome>,
    is_not: Option<Outcome>,
    variable: Option<String>,
    set: Option<bool>,
    equals: Option<String>,
    check: Option<Action>,
    check_fails: Option<Action>,
}

impl WrittenCondition {
    fn count(&self) -> usize {
        let given = [
            self.step.is_some(),
            self.is.is_some(),
            self.is_not.is_some(),
            self.variable.is_some(),
            self.set.is_some(),
            self.equals.is_some(),
            self.check.is_some(),
            self.check_fails.is_some(),
        ];
        given.into_iter().filter(|given| *given).count()
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use WrittenCondition as W;
        let written = W::deserialize(deserializer)?;
        let count = written.count();
        match written {
            W { step: Some(step), is: Some(is), .. } if count == 2 => Ok(Self::Step { step, is }),
            W { step: Some(step), is_not: Some(is_not), .. } if count == 2 => Ok(Self::NotStep { step, is_not }),
            W { variable: Some(variable), set: Some(set), .. } if count == 2 => Ok(Self::Set { variable, set }),
            W { variable: Some(variable), equals: Some(equals), .. } if count == 2 => {
                Ok(Self::Equals { variable, equals })
            }
            W { check: Some(check), .. } if count == 1 => Ok(Self::Check(check)),
            W { check_fails: Some(check), .. } if count == 1 => Ok(Self::CheckFails(check)),
            _ => Err(D::Error::custom(
                "a condition is { step, is }, { step, is-not }, { variable, set }, { variable, equals }, { check } or { check-fails }",
            )),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { step, is } => write!(f, "{step} {}", is.as_str()),
            Self::NotStep { step, is_not } => write!(f, "{step} has not {}", is_not.as_str()),
            Self::Set { variable, set: true } => write!(f, "{variable} has a value"),
            Self::Set { variable, set: false } => write!(f, "{variable} has no value"),
            Self::Equals { variable, equals } => write!(f, "{variable} is {equals}"),
            Self::Check(check) => write!(f, "{} passes", check.kind()),
            Self::CheckFails(check) => write!(f, "{} fails", check.kind()),
        }
    }
}

impl Step {
    /// Returns whether the operator is asked before it is done.
    pub fn asks(&self) -> bool {
        let by_itself = self.action.act().nature().asks && self.undo.is_none();
        self.ask.unwrap_or(by_itself)
    }

    /// Returns what takes it back.
    pub(crate) fn way_back(&self) -> Option<Action> {
        self.undo.clone().or_else(|| self.action.own_undo())
    }

    /// Returns whether it may simply be done again where nobody knows whether it was.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.repeatable.unwrap_or(self.action.act().nature().repeatable)
    }

    /// Returns whether an attempt has a limit of time: people are waited for as long as it takes.
    pub(crate) fn has_limit(&self) -> bool {
        self.timeout.is_some() || !self.action.act().nature().waits_for_people
    }

    /// Returns how long an attempt may take.
    pub(crate) fn limit(&self) -> Span {
        self.timeout.unwrap_or(self.action.act().nature().timeout)
    }
}
