//! What a runbook is: data, read from TOML, and checked before anything is done.

mod patroni;
mod service;
mod step;
mod variable;

pub use patroni::PatroniAccess;
pub use service::{Service, ServiceOrder};
pub use step::{Condition, Counts, OnFailure, Outcome, Step, StepId};
pub use variable::Variable;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::RunbookError;
use super::span::Span;
use super::template::is_name;
use super::values::{Value, Values};

/// A procedure for one kind of disaster: what it is for, what it works with, and its steps.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Runbook {
    /// Its name: lower-case letters, digits and `-`.
    pub name: RunbookName,
    /// What it is called among people.
    pub title: String,
    /// When it is for, and what it does.
    #[serde(default)]
    pub summary: String,
    /// What recovery is to reach.
    #[serde(default)]
    pub objectives: Objectives,
    /// What it works with.
    #[serde(default)]
    pub variables: BTreeMap<String, Variable>,
    /// Services that it stops and starts.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    /// The Patroni that runs the cluster.
    #[serde(default)]
    pub patroni: Option<PatroniAccess>,
    /// What is done, in this order.
    pub steps: Vec<Step>,
    /// The text that it was read from.
    #[serde(skip)]
    pub(super) text: String,
}

/// How fast a recovery is to be, and how much may be lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objectives {
    /// Recovery time objective: from the incident to the last step that counts toward it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto: Option<Span>,
    /// Recovery point objective: how much time may be missing afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo: Option<Span>,
}

/// The name of a runbook: lower-case letters, digits and `-`, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunbookName(String);

impl RunbookName {
    /// Returns the text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunbookName {
    type Err = RunbookError;

    fn from_str(text: &str) -> Result<Self, RunbookError> {
        match is_slug(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(RunbookError::Name { what: "a runbook", text: text.to_owned() }),
        }
    }
}

impl TryFrom<String> for RunbookName {
    type Error = RunbookError;

    fn try_from(text: String) -> Result<Self, RunbookError> {
        text.parse()
    }
}

impl From<RunbookName> for String {
    fn from(name: RunbookName) -> Self {
        name.0
    }
}

impl fmt::Display for RunbookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Returns whether a text can name a runbook, a step or a service.
pub(super) fn is_slug(text: &str) -> bool {
    is_name(&text.replace('-', "_")) && !text.contains('_')
}

impl Runbook {
    /// Reads a runbook.
    ///
    /// # Errors
    /// [`RunbookError::Syntax`] tells the line where it can; [`Runbook::check`] then looks at what it means.
    pub fn from_toml(text: &str) -> Result<Self, RunbookError> {
        let wrong = |error: toml::de::Error| RunbookError::Syntax { message: error.to_string().trim_end().to_owned() };
        let runbook: Self = toml::from_str(text).map_err(wrong)?;
        Ok(Self { text: text.to_owned(), ..runbook })
    }

    /// Returns the text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns a step.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == *id)
    }

    /// Reads texts as values of the runbook's variables, and completes them with its defaults.
    ///
    /// # Errors
    /// [`RunbookError::UnknownVariable`], [`RunbookError::Value`]; [`RunbookError::MissingValues`] names every one that is needed.
    pub fn values<'t>(&self, given: impl IntoIterator<Item = (&'t str, &'t str)>) -> Result<Values, RunbookError> {
        let values = self.some_values(given)?;
        let missing: Vec<String> = self.unset(&values).map(str::to_owned).collect();
        match missing.is_empty() {
            true => Ok(values),
            false => Err(RunbookError::MissingValues { names: missing }),
        }
    }

    /// As [`values`](Self::values), and those that are missing may be: for a plan.
    ///
    /// # Errors
    /// [`RunbookError::UnknownVariable`], [`RunbookError::Value`].
    pub fn some_values<'t>(&self, given: impl IntoIterator<Item = (&'t str, &'t str)>) -> Result<Values, RunbookError> {
        let mut values = Values::default();
        for (name, variable) in &self.variables {
            if let Some(default) = &variable.default {
                values.set(name, variable.kind.parse(name, &default.text())?);
            }
        }
        for (name, text) in given {
            values.set(name, self.read(name, text)?);
        }
        Ok(values)
    }

    /// Reads a text as the value of a variable.
    pub(super) fn read(&self, name: &str, text: &str) -> Result<Value, RunbookError> {
        let unknown = || RunbookError::UnknownVariable { name: name.to_owned() };
        let variable = self.variables.get(name).ok_or_else(unknown)?;
        Ok(variable.kind.parse(name, text)?)
    }

    /// Lists the variables that need a value and have none.
    pub fn unset<'s>(&'s self, values: &'s Values) -> impl Iterator<Item = &'s str> {
        let filled: Vec<&str> = self.steps.iter().filter_map(|step| step.store.as_deref()).collect();
        let made: Vec<&str> = self.steps.iter().filter_map(|step| step.action.makes()).collect();
        self.variables.keys().map(String::as_str).filter(move |name| {
            let optional = self.variables.get(*name).is_some_and(|variable| variable.optional);
            values.value(name).is_none() && !optional && !filled.contains(name) && !made.contains(name)
        })
    }
}
