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
            if let Some(why) = self.fault_of(step, condition).await? {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// Makes a check: `None` if it passes, else what it found. An error is one that is no answer: the check makes no sense, or a
    /// question could not be put to its server.
    pub(super) async fn finds(&self, step: &Step, check: &Action) -> Result<Option<String>, ActionError> {
        let limit = check.act().nature().timeout;
        let scope = self.scope(step, limit);
        let made = tokio::time::timeout(limit.duration(), scope.act(check)).await;
        let asks = matches!(check, Action::SqlCheck(_));
        match made {
            Ok(Ok(_)) => Ok(None),
            Ok(Err(error @ (ActionError::Template(_) | ActionError::Unusable(_)))) => Err(error),
            Ok(Err(error @ ActionError::Postgres(_))) if asks => Err(error),
            Err(_) if asks => Err(ActionError::TimedOut(limit)),
            Ok(Err(error)) => Ok(Some(error.to_string())),
            Err(_) => Ok(Some(ActionError::TimedOut(limit).to_string())),
        }
    }

    /// Returns why a condition does not hold.
    async fn fault_of(&self, step: &Step, condition: &Condition) -> Result<Option<String>, ActionError> {
        let fault = |holds: bool| (!holds).then(|| format!("it does not hold that {condition}"));
        match condition {
            Condition::Step { step, is } => Ok(fault(self.ended_as(step, *is))),
            Condition::NotStep { step, is_not } => Ok(fault(!self.ended_as(step, *is_not))),
            Condition::Set { variable, set } => Ok(fault(self.values.value(variable).is_some() == *set)),
            Condition::Equals { variable, equals } => {
                Ok(fault(self.values.shown(variable).is_some_and(|shown| shown == *equals)))
            }
            Condition::Check(check) => {
                let found = self.finds(step, check).await?;
                Ok(found.map(|found| format!("it does not hold that {condition}: {found}")))
            }
            Condition::CheckFails(check) => Ok(fault(self.finds(step, check).await?.is_some())),
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
