//! Notifications outside of steps: what `notify` does, for whoever has something to tell.

mod board;

pub use board::{NoticeBoard, NoticeMail, Notifier, NotifyError};

use super::ActionError;
use super::actions::{Act as _, Notify, Scope, View};
use super::model::{Runbook, StepId};
use super::span::Span;
use super::surroundings::Surroundings;
use super::values::Values;
use crate::types::RunId;

/// What the message's identifier says that it came from.
const NOTICE: &str = "name = 'notice'\ntitle = 'Notice'\nsteps = []\n";

/// Sends a notification by all of its ways, each of which must work.
///
/// # Errors
/// [`ActionError`] of the first way that failed.
pub async fn send_notice(notify: &Notify, values: &Values, surroundings: &Surroundings) -> Result<(), ActionError> {
    let unusable = |error: super::RunbookError| ActionError::Unusable(error.to_string());
    let runbook = Runbook::from_toml(NOTICE).map_err(unusable)?;
    let step: StepId = "notice".parse().map_err(unusable)?;
    let run = RunId::generate(surroundings.repository.environment().clock.now());
    let view = View { runbook: &runbook, values, timeout: Span::from_secs(30) };
    let scope = Scope { view, run: &run, step: &step, surroundings, again: false };
    let sent = tokio::time::timeout(view.timeout.duration(), notify.act(&scope)).await;
    match sent {
        Ok(done) => done.map(drop),
        Err(_) => Err(ActionError::TimedOut(view.timeout)),
    }
}
