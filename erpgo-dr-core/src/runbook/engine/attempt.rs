//! One action, as often as its step allows, each attempt with its limit of time.

use super::super::RunbookError;
use super::super::actions::{Action, Done, Scope};
use super::super::error::ActionError;
use super::super::journal::{Event, Purpose, Stored};
use super::super::model::{Outcome, Step};
use super::super::values::VariableKind;
use super::Engine;

/// What is kept of what an action says, in bytes.
const KEPT: usize = 64 << 10;

impl Engine<'_> {
    /// Tries an action until it is done or its attempts are used up.
    pub(super) async fn attempt(
        &mut self,
        step: &Step,
        action: &Action,
        purpose: Purpose,
    ) -> Result<Outcome, RunbookError> {
        for attempt in 1..=step.retries.saturating_add(1) {
            if attempt > 1 {
                tokio::time::sleep(step.pause.duration()).await;
            }
            match self.once(step, action, purpose, attempt).await? {
                Ok(()) => return Ok(Outcome::Succeeded),
                Err(error) if !may_pass_later(&error) => break,
                Err(_) => {}
            }
        }
        Ok(Outcome::Failed)
    }

    async fn once(
        &mut self,
        step: &Step,
        action: &Action,
        purpose: Purpose,
        attempt: u32,
    ) -> Result<Result<(), ActionError>, RunbookError> {
        let own = purpose == Purpose::Do;
        let limit = if own { step.limit() } else { action.act().nature().timeout };
        let limited = if own { step.has_limit() } else { !action.act().nature().waits_for_people };
        let doing = action.act().describe(&self.view(limit));
        let again = self.state.may_be_done(&step.id);
        self.record(Event::Started { step: step.id.clone(), purpose, attempt, doing }).await?;
        let scope = Scope { again, ..self.scope(step, limit) };
        let acting = scope.act(action);
        let acted = match limited {
            true => tokio::time::timeout(limit.duration(), acting).await.unwrap_or(Err(ActionError::TimedOut(limit))),
            false => acting.await,
        };
        match acted {
            Ok(done) => self.record_success(step, purpose, attempt, done).await,
            Err(error) => {
                self.record_failure(step, purpose, attempt, &error).await?;
                Ok(Err(error))
            }
        }
    }

    async fn record_success(
        &mut self,
        step: &Step,
        purpose: Purpose,
        attempt: u32,
        done: Done,
    ) -> Result<Result<(), ActionError>, RunbookError> {
        let Done { output, value, made, loss, answer, unchanged } = done;
        let mut stored = None;
        if let Some((name, value_made)) = made {
            // A server is written down as the name of the variable that it is a copy of.
            if value_made.kind() == VariableKind::Server {
                stored = value.clone().map(|value| Stored { variable: name.clone(), value });
            }
            self.values.set(name, value_made);
        }
        if let Some(answer) = answer {
            self.record(Event::Answered { step: step.id.clone(), answer }).await?;
        }
        if let Some(variable) = step.store.as_ref().filter(|_| purpose == Purpose::Do) {
            let text = value.unwrap_or_default();
            match self.store(variable, &text) {
                Ok(public) => stored = public.map(|value| Stored { variable: variable.clone(), value }),
                Err(error) => {
                    let error =
                        ActionError::Unusable(format!("it was done, but what it returned is of no use: {error}"));
                    self.record_failure(step, purpose, attempt, &error).await?;
                    return Ok(Err(error));
                }
            }
        }
        let (step, output) = (step.id.clone(), self.kept(&output));
        let outcome = Outcome::Succeeded;
        let unsure = false;
        self.record(Event::Ended { step, purpose, attempt, outcome, unsure, unchanged, output, stored, loss }).await?;
        Ok(Ok(()))
    }

    /// Writes down that an attempt failed.
    pub(super) async fn record_failure(
        &mut self,
        step: &Step,
        purpose: Purpose,
        attempt: u32,
        error: &ActionError,
    ) -> Result<(), RunbookError> {
        let (step, output) = (step.id.clone(), self.kept(&error.to_string()));
        let (outcome, unsure) = (Outcome::Failed, may_be_done(error));
        let (unchanged, stored, loss) = (false, None, None);
        self.record(Event::Ended { step, purpose, attempt, outcome, unsure, unchanged, output, stored, loss }).await
    }

    /// Returns what is kept of what an action says. Secrets go first: a cut could leave a part of one.
    fn kept(&self, text: &str) -> String {
        end_of(&self.values.redact(text)).to_owned()
    }
}

/// Returns whether an action that failed may have been done all the same.
fn may_be_done(error: &ActionError) -> bool {
    match error {
        ActionError::TimedOut(_) | ActionError::Postgres(_) => true,
        ActionError::Ha(error) => error.may_be_done(),
        _ => false,
    }
}

/// Returns whether another attempt may do better: not where the text of the step is wrong, or people said no.
fn may_pass_later(error: &ActionError) -> bool {
    !matches!(error, ActionError::Template(_) | ActionError::Unusable(_) | ActionError::Declined { .. })
}

/// Returns the end of a text, whole characters.
fn end_of(text: &str) -> &str {
    let mut from = text.len().saturating_sub(KEPT);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}
