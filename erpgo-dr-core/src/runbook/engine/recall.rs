//! The values of a run: what of them is written down, and how they are found again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::RunbookError;
use super::super::actions::Action;
use super::super::journal::{Journal, Purpose, RecordedValue};
use super::super::model::{Outcome, Runbook, Step};
use super::super::span::Span;
use super::super::surroundings::Surroundings;
use super::super::values::{Value, Values, VariableKind};
use super::Engine;
use super::state::{Progress, State};

/// How long reading a file may take.
const READING: Span = Span::from_secs(5);

/// Returns the values as a journal may have them.
pub(super) fn recorded(values: &Values) -> BTreeMap<String, RecordedValue> {
    let recorded = values.iter().map(|(name, value)| {
        let (text, withheld) = match value {
            Value::Secret(_) => (None, true),
            Value::Server(settings) => {
                (Some(settings.to_text_without_password()), settings.exposed_password().is_some())
            }
            other => (other.shown(), false),
        };
        (name.to_owned(), RecordedValue { kind: value.kind(), value: text, withheld })
    });
    recorded.collect()
}

impl<'r> Engine<'r> {
    /// Goes on with a run of which only the journal is left.
    pub(super) fn recalled(
        runbook: &'r Runbook,
        given: &Values,
        surroundings: &'r Surroundings,
        journal: Journal<'r>,
        state: State,
    ) -> Result<Self, RunbookError> {
        let mut values = Values::default();
        let mut missing = Vec::new();
        let began_with = state.beginning.as_ref().map(|beginning| &beginning.values);
        for (name, recorded) in began_with.into_iter().flatten() {
            match (&recorded.value, recorded.withheld) {
                (Some(text), false) => values.set(name, recorded.kind.parse(name, text)?),
                _ if given.value(name).is_some() => {}
                _ => missing.push(name.clone()),
            }
        }
        let is_server =
            |name: &str| runbook.variables.get(name).is_some_and(|found| found.kind == VariableKind::Server);
        let (copies, texts): (Vec<_>, Vec<_>) = state.stored.iter().partition(|stored| is_server(&stored.variable));
        for stored in texts {
            values.set(&stored.variable, runbook.read(&stored.variable, &stored.value)?);
        }
        for (name, value) in given.iter() {
            values.set(name, value.clone());
        }
        // Behind what is given: servers that are copies of others have their passwords too.
        for stored in copies {
            if let Some(original) = values.value(&stored.value).cloned() {
                values.set(&stored.variable, original);
            }
        }
        let mut engine = Self { runbook, surroundings, journal: Arc::new(journal), values, state };
        engine.recall_secrets();
        missing.extend(engine.secrets_of_ended_steps());
        missing.retain(|name| engine.values.value(name).is_none());
        match missing.is_empty() {
            true => Ok(engine),
            false => Err(RunbookError::MissingValues { names: missing }),
        }
    }

    /// Finds the secrets again that steps of the run made and left in files.
    fn recall_secrets(&mut self) {
        let made: Vec<(String, Value)> = self
            .runbook
            .steps
            .iter()
            .filter(|step| self.state.progress(Purpose::Do, &step.id) == Progress::Ended(Outcome::Succeeded))
            .filter_map(|step| match &step.action {
                Action::RotateSecret(action) => action.made_before(&self.scope(step, READING)),
                _ => None,
            })
            .collect();
        for (name, value) in made {
            self.values.set(name, value);
        }
    }

    /// Lists the secrets that ended steps returned: nobody wrote them down.
    fn secrets_of_ended_steps(&self) -> Vec<String> {
        let ended = |step: &&Step| self.state.progress(Purpose::Do, &step.id) == Progress::Ended(Outcome::Succeeded);
        let secret = |name: &&String| {
            self.runbook.variables.get(*name).is_some_and(|variable| variable.kind == VariableKind::Secret)
        };
        let steps = self.runbook.steps.iter().filter(ended);
        steps.filter_map(|step| step.store.as_ref()).filter(secret).cloned().collect()
    }

    /// Puts what a step returned into its variable; returns the text if it may be written down.
    pub(super) fn store(&mut self, variable: &str, text: &str) -> Result<Option<String>, RunbookError> {
        let value = self.runbook.read(variable, text)?;
        let public = value.kind() != VariableKind::Secret;
        self.values.set(variable, value);
        Ok(public.then(|| text.to_owned()))
    }
}
