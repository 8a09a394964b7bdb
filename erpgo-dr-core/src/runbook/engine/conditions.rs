//! Whether a step is to be done at all.

use super::super::actions::{Action, Uses};
use super::super::error::ActionError;
use super::super::journal::Purpose;
use super::super::model::{Condition, Outcome, Step, StepId};
use super::Engine;
use super::state::Progress;

impl Engine<'_> {
    /// Returns why a step is not to be done: a condition that does not hold, or an optional variable without a value.
    ///
    /// # Errors
    /// When a check could not be made at all: that it failed is an answer, that it makes no sense is none.
    pub(super) async fn reason_to_skip(&self, step: &Step) -> Result<Option<String>, ActionError> {
        if let Some(variable) = self.unset_option(step) {
            return Ok(Some(format!("{variable} has no value")));
        }
        for condition in &step.when {
            if !self.holds(step, condition).await? {
                return Ok(Some(format!("it does not hold that {condition}")));
            }
        }
        Ok(None)
    }

    /// Makes a check; what it found is in the result, and an error is one that is no answer.
    pub(super) async fn passes(&self, step: &Step, check: &Action) -> Result<bool, ActionError> {
        let limit = check.act().nature().timeout;
        match tokio::time::timeout(limit.duration(), check.act().act(&self.scope(step, limit))).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error @ (ActionError::Template(_) | ActionError::Unusable(_)))) => Err(error),
            Ok(Err(error)) => {
                tracing::debug!(step = %step.id, %error, "a check does not pass");
                Ok(false)
            }
            Err(_) => Ok(false),
        }
    }

    async fn holds(&self, step: &Step, condition: &Condition) -> Result<bool, ActionError> {
        match condition {
            Condition::Step { step, is } => Ok(self.ended_as(step, *is)),
            Condition::Variable { variable, is } => Ok(match (is.as_str(), self.values.value(variable)) {
                ("set", value) => value.is_some(),
                ("unset", value) => value.is_none(),
                (text, Some(value)) => value.shown().as_deref() == Some(text),
                (_, None) => false,
            }),
            Condition::Check(check) => self.passes(step, check).await,
            Condition::CheckFails(check) => Ok(!self.passes(step, check).await?),
        }
    }

    fn ended_as(&self, step: &StepId, outcome: Outcome) -> bool {
        match self.state.progress(Purpose::Do, step) {
            Progress::Ended(found) => found == outcome,
            Progress::FoundDone => outcome == Outcome::Succeeded,
            Progress::Pending | Progress::CutOff => false,
        }
    }

    /// Returns a variable that the step names, that may have no value, and that has none.
    fn unset_option(&self, step: &Step) -> Option<String> {
        let mut uses = Uses::default();
        step.action.act().uses(&mut uses);
        // What is waited for is named inside.
        while let Some(check) = uses.checks.pop() {
            check.act().uses(&mut uses);
        }
        let texts = uses.texts.iter().flat_map(|(template, _)| template.variables());
        let mut named = texts.chain(uses.servers.iter().chain(&uses.secrets).copied());
        let optional = |name: &&str| self.runbook.variables.get(*name).is_some_and(|variable| variable.optional);
        named.find(|name| optional(name) && self.values.value(name).is_none()).map(str::to_owned)
    }
}
