//! What an action is told, what it says of itself, and what comes of it.

use std::ops::Deref;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::super::error::ActionError;
use super::super::model::{Runbook, Service, StepId};
use super::super::operator::{Answer, Question, QuestionKind};
use super::super::span::Span;
use super::super::surroundings::Surroundings;
use super::super::template::{Place, Template};
use super::super::values::{Value, Values};
use crate::postgres::ConnectionSettings;
use crate::types::RunId;

/// What an action needs to say what it would do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'r> {
    pub(crate) runbook: &'r Runbook,
    pub(crate) values: &'r Values,
    /// How long an attempt may take.
    pub(crate) timeout: Span,
}

/// What an action works with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'r> {
    pub(crate) view: View<'r>,
    pub(crate) run: &'r RunId,
    pub(crate) step: &'r StepId,
    pub(crate) surroundings: &'r Surroundings,
    /// Whether an earlier attempt may have done the step without anybody knowing.
    pub(crate) again: bool,
}

impl<'r> Deref for Scope<'r> {
    type Target = View<'r>;

    fn deref(&self) -> &View<'r> {
        &self.view
    }
}

/// What kind of action one is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nature {
    /// It only looks.
    pub(crate) check: bool,
    /// It may be done twice: after a crash it is simply done again.
    pub(crate) repeatable: bool,
    /// It cannot be taken back: the operator is asked first.
    pub(crate) asks: bool,
    /// It waits for people, and no time limit holds but one that is written.
    pub(crate) waits_for_people: bool,
    /// How long an attempt may take where nothing is said.
    pub(crate) timeout: Span,
}

/// What comes of an action that was done.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// What it has to say, secrets included: they are blacked out before it is written down.
    pub(crate) output: String,
    /// What it returns, for `store`.
    pub(crate) value: Option<String>,
    /// A variable that it sets.
    pub(crate) made: Option<(String, Value)>,
    /// What was lost by it.
    pub(crate) loss: Option<Loss>,
    /// Who answered.
    pub(crate) answer: Option<Answer>,
    /// Whether all was so before: then there is nothing to take back.
    pub(crate) unchanged: bool,
}

/// What is lost by a step, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Loss {
    /// The newest commit that is there: what was committed later is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_to: Option<DateTime<Utc>>,
    /// Bytes of the write-ahead log that are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Collects what an action names.
#[derive(Debug, Default)]
pub(crate) struct Uses<'s> {
    /// Texts, and where they go.
    pub(crate) texts: Vec<(&'s Template, TextUse)>,
    /// Statements.
    pub(crate) statements: Vec<&'s Template>,
    /// Variables that are to be servers.
    pub(crate) servers: Vec<&'s str>,
    /// Variables that it sets to secrets.
    pub(crate) sets: Vec<&'s str>,
    /// Variables that it sets to servers.
    pub(crate) made_servers: Vec<&'s str>,
    /// Variables that are to be secrets.
    pub(crate) secrets: Vec<&'s str>,
    /// Services.
    pub(crate) services: Vec<&'s str>,
    /// Texts whose variables may have no value, and that others may see.
    pub(crate) loose: Vec<&'s Template>,
    /// Whether it needs the table `[patroni]`.
    pub(crate) patroni: bool,
    /// Actions inside it that are to be checks.
    pub(crate) checks: Vec<&'s super::Action>,
}

/// Where a text goes, as far as secrets are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextUse {
    /// Where everybody on the host can read it: arguments, addresses, names of files.
    Visible,
    /// Where it is handed over quietly: an environment, standard input, a file, a statement, a header.
    Quiet,
}

impl Nature {
    pub(crate) const fn check(timeout: u64) -> Self {
        let timeout = Span::from_secs(timeout);
        Self { check: true, repeatable: true, asks: false, waits_for_people: false, timeout }
    }

    pub(crate) const fn change(timeout: u64) -> Self {
        let timeout = Span::from_secs(timeout);
        Self { check: false, repeatable: false, asks: false, waits_for_people: false, timeout }
    }

    pub(crate) const fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    pub(crate) const fn asking(self) -> Self {
        Self { asks: true, ..self }
    }

    pub(crate) const fn for_people(self) -> Self {
        Self { waits_for_people: true, ..self }
    }
}

impl Done {
    pub(crate) fn said(output: impl Into<String>) -> Self {
        Self { output: output.into(), ..Self::default() }
    }

    /// What it says is also what it returns.
    pub(crate) fn returned(value: impl Into<String>) -> Self {
        let value = value.into();
        Self { output: value.clone(), value: Some(value), ..Self::default() }
    }
}

impl<'s> Uses<'s> {
    pub(crate) fn visible(&mut self, texts: impl IntoIterator<Item = &'s Template>) {
        self.texts.extend(texts.into_iter().map(|text| (text, TextUse::Visible)));
    }

    /// Adds texts that are left out where a variable in them has no value: others may see them, and the step is done all the same.
    pub(crate) fn if_set(&mut self, texts: impl IntoIterator<Item = &'s Template>) {
        self.loose.extend(texts);
    }

    pub(crate) fn quiet(&mut self, texts: impl IntoIterator<Item = &'s Template>) {
        self.texts.extend(texts.into_iter().map(|text| (text, TextUse::Quiet)));
    }
}

impl View<'_> {
    /// Names the server of a variable, for people.
    pub(crate) fn server_name(&self, variable: &str) -> String {
        self.values.shown(variable).unwrap_or_else(|| variable.to_owned())
    }
}

impl<'r> Scope<'r> {
    /// The same with another limit of time.
    pub(crate) fn within(&self, timeout: Span) -> Self {
        Self { view: View { timeout, ..self.view }, ..*self }
    }

    /// Returns a text with its values.
    pub(crate) fn text(&self, template: &Template) -> Result<String, ActionError> {
        Ok(template.render(Place::Plain, self.values)?)
    }

    /// Returns a text with its values, if there is one.
    pub(crate) fn optional(&self, template: Option<&Template>) -> Result<Option<String>, ActionError> {
        template.map(|template| self.text(template)).transpose()
    }

    /// Returns a statement with its values.
    pub(crate) fn sql(&self, template: &Template) -> Result<String, ActionError> {
        Ok(template.render(Place::Sql, self.values)?)
    }

    /// Returns how to reach the server that a variable names, perhaps another database of it.
    pub(crate) fn server(
        &self,
        variable: &str,
        database: Option<&Template>,
    ) -> Result<ConnectionSettings, ActionError> {
        let settings = match self.values.value(variable) {
            Some(Value::Server(settings)) => settings.as_ref().clone(),
            Some(_) => return Err(ActionError::Unusable(format!("the variable {variable} is no server"))),
            None => return Err(ActionError::Unusable(format!("the variable {variable} has no value"))),
        };
        Ok(match self.optional(database)? {
            Some(database) => settings.database(database),
            None => settings,
        })
    }

    /// Returns how to reach the servers that variables name, with these names.
    pub(crate) fn servers(&self, variables: &[String]) -> Result<Vec<(String, ConnectionSettings)>, ActionError> {
        variables.iter().map(|name| Ok((name.clone(), self.server(name, None)?))).collect()
    }

    pub(crate) fn service(&self, name: &str) -> Result<&'r Service, ActionError> {
        let found = self.runbook.services.get(name);
        found.ok_or_else(|| ActionError::Unusable(format!("the runbook has no service {name}")))
    }

    /// Does an action, unless the run is a drill that may not.
    pub(crate) async fn act(&self, action: &super::Action) -> Result<Done, ActionError> {
        if let Some(confinement) = &self.surroundings.confinement {
            confinement.permits(action, self.runbook, self.values).map_err(ActionError::Unusable)?;
        }
        action.act().act(self).await
    }

    /// Asks the operator.
    pub(crate) async fn ask(&self, kind: QuestionKind, text: String) -> Answer {
        let question = Question { step: self.step.clone(), kind, text: self.values.redact(&text) };
        self.surroundings.operator.ask(&question).await
    }
}
