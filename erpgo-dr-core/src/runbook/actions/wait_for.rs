//! `wait-for`: a check that is asked again and again until it passes.

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::span::Span;
use super::{Act, Done, Nature, Nested, Scope, Uses, View};

/// Waits until a check passes, or until the step's time is over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct WaitFor {
    /// The check.
    pub check: Nested,
    /// How long it is waited between two tries.
    #[serde(default = "every")]
    pub every: Span,
}

fn every() -> Span {
    Span::from_secs(1)
}

#[async_trait]
impl Act for WaitFor {
    fn nature(&self) -> Nature {
        Nature::check(300)
    }

    fn describe(&self, view: &View<'_>) -> String {
        format!("every {}, for {} at most: {}", self.every, view.timeout, self.check.act().describe(view))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.checks.push(&self.check);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let started = tokio::time::Instant::now();
        let deadline = started + scope.timeout.duration();
        let one = scope.within(self.check.act().nature().timeout.min(scope.timeout));
        loop {
            let tried = tokio::time::timeout(one.timeout.duration(), self.check.act().act(&one)).await;
            let error = match tried {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error @ (ActionError::Template(_) | ActionError::Unusable(_)))) => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => ActionError::TimedOut(one.timeout),
            };
            // The reason of the last try tells more than that time was over.
            if tokio::time::Instant::now() + self.every.duration() >= deadline {
                return Err(ActionError::Unexpected {
                    expected: format!("it to pass within {}", scope.timeout),
                    found: error.to_string(),
                });
            }
            tracing::debug!(step = %scope.step, %error, "waiting");
            tokio::time::sleep(self.every.duration()).await;
        }
    }
}
