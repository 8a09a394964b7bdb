//! `fence`: an old primary takes no more writes, and cannot come back to.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::operator::{Choice, QuestionKind};
use super::super::span::Span;
use super::{Act, Action, Done, Nature, Nested, Scope, Uses, View};
use crate::topology::{Liveness, liveness};

/// Stops an old primary by whatever can reach it, and then makes sure that it is off. Returns `off`.
///
/// That nothing listens at its address any more is proof. That nothing is heard from there is none: it may be frozen, or out of reach
/// from here and answer others. Then `proof` must pass, or `by` must be trusted, or the operator must say that it is off: by hand, and
/// not beforehand.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Fence {
    /// The variable of the old primary.
    pub on: String,
    /// What stops it: a command or a service.
    pub by: Option<Nested>,
    /// Whether `by` succeeds only where the server is off and stays off: a power switch, or the like.
    #[serde(default)]
    pub trusted: bool,
    /// A check that passes only where it is off.
    pub proof: Option<Nested>,
    /// How often nothing must be heard from it, one probe after the other; once where `by` is trusted.
    #[serde(default = "probes")]
    pub probes: u32,
    /// How long it is waited in between.
    #[serde(default = "every")]
    pub every: Span,
}

/// How long one probe may take.
const PROBE: Duration = Duration::from_secs(3);
/// How long a server may take to end, once it was told to.
const PATIENCE: Duration = Duration::from_secs(30);

fn probes() -> u32 {
    3
}

fn every() -> Span {
    Duration::from_millis(500).into()
}

#[async_trait]
impl Act for Fence {
    fn nature(&self) -> Nature {
        Nature::change(0).repeatable().asking().for_people()
    }

    fn describe(&self, view: &View<'_>) -> String {
        let by = match &self.by {
            Some(action) => action.act().describe(view),
            None => "ask the operator to switch it off".to_owned(),
        };
        let times = if self.needed() == 1 { "once".to_owned() } else { format!("{} times", self.needed()) };
        format!("{by}; then see {times} that {} is off", view.server_name(&self.on))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.push(&self.on);
        if let Some(by) = &self.by {
            by.act().uses(uses);
        }
        uses.checks.extend(self.proof.as_deref());
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let name = scope.server_name(&self.on);
        let mut done = match &self.by {
            Some(action) => match self.stop(scope, action).await {
                Ok(done) => done,
                Err(error) => self.vouched(scope, &format!("It could not be stopped from here: {error}.")).await?,
            },
            None => self.vouched(scope, "Nothing here can stop it.").await?,
        };
        let silent = self.wait_until_off(scope).await?;
        if let Some(error) = silent.filter(|_| done.answer.is_none() && !self.trusted) {
            self.proven(scope, &mut done, &error).await?;
        }
        done.output = format!("{name} is off; {}", done.output);
        done.value = Some("off".to_owned());
        Ok(done)
    }
}

impl Fence {
    /// Returns how many probes there are. What is trusted has proven it: whether something answers all the same is seen at once.
    fn needed(&self) -> u32 {
        if self.trusted { 1 } else { self.probes.max(1) }
    }

    /// Does what is to stop it, within the time of that.
    async fn stop(&self, scope: &Scope<'_>, action: &Action) -> Result<Done, ActionError> {
        let limit = action.act().nature().timeout;
        let done = tokio::time::timeout(limit.duration(), action.act().act(&scope.within(limit))).await;
        done.unwrap_or(Err(ActionError::TimedOut(limit)))
    }

    /// Waits until nothing has been heard from it several times; returns why that is no proof, where it is none.
    async fn wait_until_off(&self, scope: &Scope<'_>) -> Result<Option<String>, ActionError> {
        let settings = scope.server(&self.on, None)?;
        let started = tokio::time::Instant::now();
        let (mut quiet, mut silent) = (0, None);
        loop {
            let heard = match liveness(&settings, PROBE).await {
                Liveness::Refused { .. } => {
                    silent = None;
                    None
                }
                Liveness::Silent { error } => {
                    silent = Some(error);
                    None
                }
                Liveness::Primary => Some("a primary".to_owned()),
                Liveness::Standby => Some("a standby".to_owned()),
                Liveness::Answers { error } => Some(error),
            };
            match heard {
                None if quiet + 1 >= self.needed() => return Ok(silent),
                None => quiet += 1,
                Some(found) if started.elapsed() > PATIENCE => {
                    return Err(ActionError::Unexpected { expected: format!("{settings} to be off"), found });
                }
                Some(_) => quiet = 0,
            }
            tokio::time::sleep(self.every.duration()).await;
        }
    }

    /// Makes sure of what silence does not prove.
    async fn proven(&self, scope: &Scope<'_>, done: &mut Done, error: &str) -> Result<(), ActionError> {
        if let Some(proof) = &self.proof {
            let limit = proof.act().nature().timeout;
            let proven = tokio::time::timeout(limit.duration(), proof.act().act(&scope.within(limit))).await;
            let proven = proven.unwrap_or(Err(ActionError::TimedOut(limit)))?;
            done.output = format!("{}; {}", done.output, proven.output);
            return Ok(());
        }
        let vouched = self
            .vouched(scope, &format!("It was told to stop, and is silent ({error}), which proves nothing."))
            .await?;
        done.output = format!("{}; {}", done.output, vouched.output);
        done.answer = vouched.answer;
        Ok(())
    }

    /// Has the operator answer for what nothing here can prove.
    async fn vouched(&self, scope: &Scope<'_>, why: &str) -> Result<Done, ActionError> {
        let name = scope.server_name(&self.on);
        let text = format!(
            "{why} Switch {name} off, so that it stays off, and say when it is: two primaries at once lose data."
        );
        // Not a confirmation, which may have been given beforehand.
        let answer = scope.ask(QuestionKind::Manual, text).await;
        match answer.choice {
            Choice::Yes => {
                Ok(Done { output: format!("{} answers for it", answer.by), answer: Some(answer), ..Done::default() })
            }
            _ => Err(ActionError::Declined { by: answer.by, note: answer.note }),
        }
    }
}
