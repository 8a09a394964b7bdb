//! Which of several agents acts: the one that holds the lease in the repository.

use std::time::Duration;

use crate::causes::chain;
use crate::repository::{AgentLease, Repository, RepositoryError};

/// Whether this agent acts.
#[derive(Debug)]
pub(super) struct Leadership {
    ttl: Duration,
    lease: Option<AgentLease>,
}

/// What came of asking.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It acts, and did before.
    Leader,
    /// It acts from now on: what another agent did since is to be read.
    New,
    /// Another one does.
    Other { holder: String },
    /// Nobody knows.
    OutOfTouch { error: String },
}

impl Leadership {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { ttl, lease: None }
    }

    /// Returns how long to wait before asking again who acts, another time each time: two that ask at once both step back.
    pub(super) fn pause(&self, most: Duration) -> Duration {
        (self.ttl / 4).min(most).mul_f64(0.75 + rand::random::<f64>() / 2.0)
    }

    /// Asks for the lease, unless this agent has it.
    pub(super) async fn seek(&mut self, repository: &Repository) -> Standing {
        if let Some(lease) = self.lease.take_if(|lease| !lease.is_held()) {
            tracing::warn!("the lease of this agent has lapsed: another one may act by now");
            // Its object is of the past; another one's is not touched.
            give_up(lease).await;
        }
        if self.lease.is_some() {
            return Standing::Leader;
        }
        match repository.agent_lease(self.ttl).await {
            Ok(lease) => {
                self.lease = Some(lease);
                Standing::New
            }
            Err(RepositoryError::Busy { holder, .. }) => Standing::Other { holder },
            Err(error) => Standing::OutOfTouch { error: chain(&error) },
        }
    }

    /// Takes the lease, or says who has it.
    pub(super) async fn take(&mut self, repository: &Repository) -> Result<(), RepositoryError> {
        self.lease = Some(repository.agent_lease(self.ttl).await?);
        Ok(())
    }

    /// Returns who holds the lease, if it is this agent.
    pub(super) fn holder(&self) -> Option<&str> {
        self.lease.as_ref().map(AgentLease::holder)
    }

    /// Returns whether this agent acts, and its lease has not lapsed meanwhile.
    pub(super) fn leads(&self) -> bool {
        self.lease.as_ref().is_some_and(AgentLease::is_held)
    }

    /// Lets another agent act.
    pub(super) async fn resign(&mut self) {
        if let Some(lease) = self.lease.take() {
            give_up(lease).await;
        }
    }
}

async fn give_up(lease: AgentLease) {
    if let Err(error) = lease.release().await {
        tracing::warn!(%error, "could not give up the lease of the agent; it will lapse by itself");
    }
}
