//! Other processes that act on the same primary: of all of them one runs a runbook.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::RunbookError;
use super::super::journal::{Event, list_runs, read_journal};
use super::super::model::{Runbook, RunbookName};
use crate::ops::{ErrorKind, repository_kind};
use crate::postgres::ConnectionSettings;
use crate::repository::{OperationLease, Repository, RepositoryError};
use crate::topology::discover;
use crate::types::RunId;

/// What is known of other runs.
pub(super) struct Others {
    runbook: RunbookName,
    /// The variable of the primary, and what a journal has of its value.
    primary: (String, String),
    /// Runs that have ended, or stand still.
    settled: BTreeSet<RunId>,
}

/// Whether this process may run.
pub(super) enum Leased {
    /// It may. Without a lease where the repository cannot be reached: then the run itself says whether it can begin.
    Mine(Option<OperationLease>),
    /// Another one has the lease.
    Busy { holder: String },
}

impl Others {
    pub(super) fn new(runbook: &Runbook, variable: &str, primary: &ConnectionSettings) -> Self {
        let primary = (variable.to_owned(), primary.to_text_without_password());
        Self { runbook: runbook.name.clone(), primary, settled: BTreeSet::new() }
    }

    /// Fails where a run of the same runbook for the same primary is open: it goes on, or was cut off. Returns how many have ended since
    /// this was asked before.
    pub(super) async fn refuse_open_run(&mut self, repository: &Repository) -> Result<usize, RunbookError> {
        let mut ended = 0;
        let runs = match list_runs(repository).await {
            Ok(runs) => runs,
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(%error, "whether another run is open cannot be asked");
                return Ok(0);
            }
            Err(error) => return Err(error),
        };
        for run in runs.into_iter().rev().filter(|run| !self.settled.contains(run)).collect::<Vec<_>>() {
            let entries = match read_journal(repository, &run).await {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::warn!(%run, %error, "the journal of a run cannot be read");
                    continue;
                }
            };
            let (first, last) = (entries.first(), entries.last());
            let Some(Event::Begun(beginning)) = first.map(|entry| &entry.event) else { continue };
            let primary = beginning.values.get(&self.primary.0).and_then(|recorded| recorded.value.as_ref());
            let same = beginning.runbook == self.runbook && primary == Some(&self.primary.1);
            if last.is_some_and(|entry| matches!(entry.event, Event::Finished { .. })) {
                ended += usize::from(same);
                self.settled.insert(run);
            } else if same {
                return Err(RunbookError::Busy(run));
            }
        }
        Ok(ended)
    }

    /// Takes the lease of the cluster that the standbys are of.
    pub(super) async fn lease(
        &self,
        repository: &Repository,
        standbys: &[(String, ConnectionSettings)],
        limit: Duration,
    ) -> Result<Leased, RunbookError> {
        let topology = discover(standbys, limit).await;
        let system = topology.servers.iter().find_map(|server| Some(server.state.as_ref()?.system_identifier));
        match repository.failover_lease(system.unwrap_or_default()).await {
            Ok(lease) => Ok(Leased::Mine(Some(lease))),
            Err(RepositoryError::Busy { holder, .. }) => Ok(Leased::Busy { holder }),
            Err(error) if repository_kind(&error) == ErrorKind::Unavailable => {
                tracing::warn!(%error, "the lease of a run cannot be had");
                Ok(Leased::Mine(None))
            }
            Err(error) => Err(error.into()),
        }
    }
}
