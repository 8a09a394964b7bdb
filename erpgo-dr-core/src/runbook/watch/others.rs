//! Other processes that act on the same primary: of all of them one runs a runbook.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::RunbookError;
use super::super::journal::{Entry, Event, ProcessMark, list_runs, read_journal};
use super::super::model::{Runbook, RunbookName};
use crate::postgres::ConnectionSettings;
use crate::repository::{OperationLease, Repository, RepositoryError};
use crate::topology::discover;
use crate::types::RunId;

/// How long the repository may take to answer: whether a run can begin without it is for the run to say.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of other runs.
pub(super) struct Others {
    runbook: RunbookName,
    /// The primary, as a journal names it.
    primary: String,
    /// Runs that have ended, or stand still.
    settled: BTreeSet<RunId>,
}

/// What was seen of other runs.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Runs of the same runbook that have ended since this was asked before.
    pub(super) ended: usize,
    /// One of another runbook that goes on: a planned change, which stops the primary itself.
    pub(super) busy: Option<RunId>,
}

/// Whether this process may run.
pub(super) enum Leased {
    /// It may. Without a lease where the repository gives none: then the run itself says whether it can begin.
    Mine(Option<OperationLease>),
    /// Another one has the lease.
    Busy { holder: String },
}

impl Others {
    pub(super) fn new(runbook: &Runbook, primary: &ConnectionSettings) -> Self {
        let primary = primary.to_text_without_password();
        Self { runbook: runbook.name.clone(), primary, settled: BTreeSet::new() }
    }

    /// Looks for other runs that name the same primary.
    ///
    /// # Errors
    /// [`RunbookError::Busy`] where a run of the same runbook is open: it goes on, or was cut off.
    pub(super) async fn look(&mut self, repository: &Repository) -> Result<Seen, RunbookError> {
        let mut seen = Seen::default();
        let runs = match tokio::time::timeout(PATIENCE, list_runs(repository)).await {
            Ok(Ok(runs)) => runs,
            // Whatever the reason, credentials that have lapsed among them: the primary is gone all the same.
            unavailable => {
                tracing::warn!(?unavailable, "whether another run is open cannot be asked");
                return Ok(seen);
            }
        };
        for run in runs.into_iter().rev().filter(|run| !self.settled.contains(run)).collect::<Vec<_>>() {
            let entries = match read_journal(repository, &run).await {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::warn!(%run, %error, "the journal of a run cannot be read");
                    continue;
                }
            };
            let Some(Event::Begun(beginning)) = entries.first().map(|entry| &entry.event) else { continue };
            let named = beginning.values.values().any(|recorded| recorded.value.as_ref() == Some(&self.primary));
            let same = named && beginning.runbook == self.runbook;
            if entries.last().is_some_and(|entry| matches!(entry.event, Event::Finished { .. })) {
                seen.ended += usize::from(same);
                self.settled.insert(run);
            } else if same {
                return Err(RunbookError::Busy(run));
            } else if named && goes_on(&entries) {
                seen.busy = Some(run);
            }
        }
        Ok(seen)
    }

    /// Takes the lease of the cluster that the standbys are of.
    pub(super) async fn lease(
        &self,
        repository: &Repository,
        standbys: &[(String, ConnectionSettings)],
        limit: Duration,
    ) -> Leased {
        let topology = discover(standbys, limit).await;
        let system = topology.servers.iter().find_map(|server| Some(server.state.as_ref()?.system_identifier));
        match tokio::time::timeout(PATIENCE, repository.failover_lease(system.unwrap_or_default())).await {
            Ok(Ok(lease)) => Leased::Mine(Some(lease)),
            Ok(Err(RepositoryError::Busy { holder, .. })) => Leased::Busy { holder },
            unavailable => {
                tracing::warn!(?unavailable, "the lease of a run cannot be had");
                Leased::Mine(None)
            }
        }
    }
}

/// Returns whether the process of a run may still be at it. Of another host nobody here can tell.
fn goes_on(entries: &[Entry]) -> bool {
    let process = entries.iter().rev().find_map(|entry| match &entry.event {
        Event::Begun(beginning) => Some(&beginning.process),
        Event::Resumed { process, .. } | Event::UndoBegun { process, .. } => Some(process),
        _ => None,
    });
    // To go on with a run of one's own process is allowed, which is why that one counts as ended there.
    process.is_some_and(|process| *process == ProcessMark::own() || process.is_alive() != Some(false))
}
