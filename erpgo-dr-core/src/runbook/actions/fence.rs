//! `fence`: an old primary takes no more writes, and cannot come back to.

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::operator::{Choice, QuestionKind};
use super::super::span::Span;
use super::checks::{State, probe};
use super::{Act, Action, Done, Nature, Scope, Uses, View};

/// Stops an old primary by whatever can reach it, and then makes sure that it takes no writes.
///
/// That a server cannot be reached from here proves nothing: it may answer others. Without `by`, or where that fails, the operator
/// must say that it is off.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Fence {
    /// The variable of the old primary.
    pub on: String,
    /// What stops it: a command or a service. It succeeds only where the server is off, or can be reached by nobody.
    pub by: Option<Action>,
    /// How often it is asked afterwards whether it takes writes.
    #[serde(default = "probes")]
    pub probes: u32,
    /// How long it is waited in between.
    #[serde(default = "every")]
    pub every: Span,
}

/// How long one probe may take.
const PROBE: Span = Span::from_secs(5);

fn probes() -> u32 {
    3
}

fn every() -> Span {
    Span::from_secs(1)
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
        format!("{by}; then see {} times that {} takes no writes", self.probes, view.server_name(&self.on))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.push(&self.on);
        if let Some(by) = &self.by {
            by.act().uses(uses);
        }
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
        for probe_number in 0..self.probes {
            if probe_number > 0 {
                tokio::time::sleep(self.every.duration()).await;
            }
            let settings = scope.server(&self.on, None)?;
            if let Ok(state @ State::Writable) = probe(&scope.within(PROBE), settings).await {
                let expected = format!("{name} to take no writes");
                return Err(ActionError::Unexpected { expected, found: state.described().to_owned() });
            }
        }
        done.output = format!("{name} takes no writes; {}", done.output);
        Ok(done)
    }
}

impl Fence {
    /// Does what is to stop it, within the time of that.
    async fn stop(&self, scope: &Scope<'_>, action: &Action) -> Result<Done, ActionError> {
        let limit = action.act().nature().timeout;
        let done = tokio::time::timeout(limit.duration(), action.act().act(&scope.within(limit))).await;
        done.unwrap_or(Err(ActionError::TimedOut(limit)))
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
