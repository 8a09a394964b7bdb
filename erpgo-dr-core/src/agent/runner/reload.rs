//! A new configuration is taken between two jobs, or refused.

use super::options::Message;
use super::{Agent, own_name};
use crate::agent::alarms::CONFIGURATION;
use crate::agent::error::AgentError;
use crate::agent::state::JobState;
use crate::repository::Repository;

impl Agent {
    /// Takes a new configuration, or notes that one was refused.
    pub(super) async fn heed(&mut self, message: Message) {
        let subject = own_name(CONFIGURATION);
        let now = self.now();
        match message {
            Message::Refuse(reason) => {
                tracing::error!(reason, "the new configuration is refused; the old one goes on");
                self.alarms.raise(&subject, &format!("refused, the old one goes on: {reason}"), now);
                self.state.send_modify(|state| state.reload_refused = Some(reason));
            }
            Message::Reload(plan) if !is_same(&plan.repository, &self.plan.repository) => {
                let reason = AgentError::OtherRepository.to_string();
                tracing::error!(reason, "the new configuration is refused; the old one goes on");
                self.alarms.raise(&subject, &format!("refused, the old one goes on: {reason}"), now);
                self.state.send_modify(|state| state.reload_refused = Some(reason));
            }
            Message::Reload(plan) => {
                self.plan = *plan;
                self.alarms.clear(&subject, now);
                let jobs = &self.plan.jobs;
                self.state.send_modify(|state| {
                    state.reload_refused = None;
                    let known = std::mem::take(&mut state.jobs);
                    state.jobs = jobs
                        .iter()
                        .map(|job| {
                            let fresh = || JobState::new(job.name.clone(), job.job.kind());
                            let same = |known: &&JobState| known.name == job.name && known.kind == job.job.kind();
                            known.iter().find(same).cloned().unwrap_or_else(fresh)
                        })
                        .collect();
                });
                tracing::info!(jobs = jobs.len(), "a new configuration is in force");
                if self.leadership.holder().is_some()
                    && let Err(error) = self.begin_to_act().await
                {
                    // The history is read when the lease is had anew.
                    tracing::warn!(%error, "the history of the new configuration cannot be read; trying again");
                    self.leadership.resign().await;
                }
            }
        }
        self.settle_alarms().await;
    }
}

/// Returns whether two are the same repository at the same place: a copy has the same identifier, and leases and a history of its own.
fn is_same(one: &Repository, other: &Repository) -> bool {
    one.settings().id == other.settings().id && one.storage().location() == other.storage().location()
}
