//! Watches a primary, and runs a runbook when it is gone.
//!
//! Which servers are watched the runbook says itself: those of its `primary-down`. A run begins only where several probes have failed one
//! after the other and the standbys confirm that the primary is gone ([`probe_primary`]), where no other process runs one for the same
//! cluster, and only once: a run that does not reach its end is for people to look at.

mod options;
mod others;

pub use options::{NoWatchObserver, WatchEnding, WatchObserver, WatchOptions, WatchReport, WatchState};

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::RunbookError;
use super::actions::{Action, PrimaryDown};
use super::engine::{RunOptions, Standing, run_runbook};
use super::journal::{Ending, RunObserver};
use super::model::Runbook;
use super::surroundings::Surroundings;
use super::values::{Value, Values};
use crate::postgres::ConnectionSettings;
use crate::repository::OperationLease;
use crate::topology::{Liveness, PrimaryVerdict, ProbeOptions, liveness, patroni_runs, probe_primary};
use others::Others;

/// Watches until `stop` resolves, a run has replaced the primary or has failed, or, with [`WatchOptions::once`], after the first run.
///
/// While another run goes on that names the primary, such as a planned change, nothing is done. While one of its own goes on, `stop` waits
/// for its end. Dropping the future leaves the run where it is, as a crash does.
///
/// # Errors
/// [`RunbookError::NotWatchable`] where the runbook has no `primary-down`; [`RunbookError::RunByPatroni`] where one of the servers says so; [`RunbookError::Busy`] where a run of the same runbook for the
/// same primary is open, and those of [`run_runbook`].
pub async fn watch_primary(
    runbook: &Runbook,
    values: &Values,
    surroundings: &Surroundings,
    options: &WatchOptions,
    observers: (&dyn WatchObserver, &dyn RunObserver),
    stop: impl Future<Output = ()> + Send,
) -> Result<WatchReport, RunbookError> {
    runbook.check()?;
    let missing: Vec<String> = runbook.unset(values).map(str::to_owned).collect();
    if !missing.is_empty() {
        return Err(RunbookError::MissingValues { names: missing });
    }
    let mut watch = Watch::new(runbook, values, surroundings, options, observers).await?;
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = tokio::select! {
            biased;
            () = stop.as_mut() => return Ok(watch.report(WatchEnding::Told, None)),
            next = watch.look() => next,
        };
        let pause = match next? {
            Next::Wait(pause) => pause,
            // Not within the `select`: a run that has begun is not dropped because of a request to stop.
            Next::Act => match watch.act().await? {
                Some((ending, standing)) => return Ok(watch.report(ending, Some(standing))),
                None => options.every,
            },
        };
        tokio::select! {
            () = stop.as_mut() => return Ok(watch.report(WatchEnding::Told, None)),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What follows from a look.
enum Next {
    Wait(Duration),
    /// The primary is gone.
    Act,
}

struct Watch<'w> {
    runbook: &'w Runbook,
    values: &'w Values,
    surroundings: &'w Surroundings,
    options: &'w WatchOptions,
    observer: &'w dyn WatchObserver,
    run_observer: &'w dyn RunObserver,
    primary: ConnectionSettings,
    standbys: Vec<(String, ConnectionSettings)>,
    others: Others,
    state: Option<WatchState>,
    probes: u64,
    failed_probes: u64,
    runs: u32,
    /// Probes that have failed one after the other, and when the first of them did.
    failing: u32,
    since: Option<DateTime<Utc>>,
}

impl<'w> Watch<'w> {
    async fn new(
        runbook: &'w Runbook,
        values: &'w Values,
        surroundings: &'w Surroundings,
        options: &'w WatchOptions,
        (observer, run_observer): (&'w dyn WatchObserver, &'w dyn RunObserver),
    ) -> Result<Self, RunbookError> {
        let down = runbook.steps.iter().find_map(|step| primary_down(&step.action));
        let down = down.ok_or_else(|| RunbookError::NotWatchable { name: runbook.name.clone() })?;
        let server = |name: &String| match values.value(name) {
            Some(Value::Server(settings)) => Ok(settings.as_ref().clone()),
            _ => Err(RunbookError::MissingValues { names: vec![name.clone()] }),
        };
        let primary = server(&down.primary)?;
        let standbys: Result<Vec<_>, RunbookError> =
            down.standbys.iter().map(|name| Ok((name.clone(), server(name)?))).collect();
        let standbys = standbys?;
        refuse_patroni(&primary, &standbys, options.limit).await?;
        let mut others = Others::new(runbook, &primary);
        others.look(&surroundings.repository).await?;
        Ok(Self {
            runbook,
            values,
            surroundings,
            options,
            observer,
            run_observer,
            primary,
            standbys,
            others,
            state: None,
            probes: 0,
            failed_probes: 0,
            runs: 0,
            failing: 0,
            since: None,
        })
    }

    /// Probes once, and asks the standbys where that has failed often enough.
    async fn look(&mut self) -> Result<Next, RunbookError> {
        let begun = Instant::now();
        let found = liveness(&self.primary, self.options.limit).await;
        self.probes += 1;
        let rest = self.options.every.saturating_sub(begun.elapsed());
        let error = match found {
            Liveness::Primary => {
                self.well(WatchState::Up);
                return Ok(Next::Wait(rest));
            }
            Liveness::Standby => {
                self.well(WatchState::Standby);
                return Ok(Next::Wait(rest));
            }
            // It is there: no reason to replace it, however often.
            Liveness::Answers { error } => {
                self.failed_probes += 1;
                self.well(WatchState::Failing { error });
                return Ok(Next::Wait(rest));
            }
            Liveness::Refused { error } | Liveness::Silent { error } => error,
        };
        self.failed_probes += 1;
        self.failing = self.failing.saturating_add(1);
        self.since.get_or_insert_with(|| self.surroundings.repository.environment().clock.now());
        if self.failing < self.options.after {
            self.tell(WatchState::Failing { error });
            return Ok(Next::Wait(self.options.pause()));
        }
        let probes =
            ProbeOptions::default().with_probes(1).with_every(self.options.pause()).with_limit(self.options.limit);
        match probe_primary(&self.primary, &self.standbys, &probes).await {
            verdict @ PrimaryVerdict::Down { .. } => {
                self.tell(WatchState::Down { verdict: verdict.to_string() });
                Ok(Next::Act)
            }
            PrimaryVerdict::Up => {
                self.well(WatchState::Up);
                Ok(Next::Wait(rest))
            }
            verdict => {
                self.tell(WatchState::Undecided { verdict: verdict.to_string() });
                Ok(Next::Wait(rest))
            }
        }
    }

    /// Runs the runbook, unless another process does. Returns how the watch ends, where it does.
    async fn act(&mut self) -> Result<Option<(WatchEnding, Standing)>, RunbookError> {
        let repository = &self.surroundings.repository;
        let before = self.others.look(repository).await?;
        let lease = match self.others.lease(repository, &self.standbys, self.options.limit).await {
            others::Leased::Mine(lease) => lease,
            others::Leased::Busy { holder } => {
                self.tell(WatchState::Busy { holder: format!("the process {holder}") });
                return Ok(None);
            }
        };
        // One may have begun, or even have ended, before the lease was had.
        let after = self.others.look(repository).await?;
        let busy = after.busy.or(before.busy);
        if busy.is_some() || before.ended + after.ended > 0 {
            give_up(lease).await;
            if let Some(run) = busy {
                self.tell(WatchState::Busy { holder: format!("the run {run}") });
            }
            return Ok(None);
        }
        let options = RunOptions::default().with_incident(self.since);
        let standing =
            run_runbook(self.runbook, self.values.clone(), self.surroundings, &options, self.run_observer).await;
        give_up(lease).await;
        let standing = standing?;
        self.runs += 1;
        self.others.look(repository).await?;
        if standing.ending != Ending::Completed {
            return Ok(Some((WatchEnding::RunFailed, standing)));
        }
        if self.options.once {
            return Ok(Some((WatchEnding::Ran, standing)));
        }
        match liveness(&self.primary, self.options.limit).await {
            Liveness::Primary => {
                self.well(WatchState::Up);
                Ok(None)
            }
            _ => Ok(Some((WatchEnding::Replaced, standing))),
        }
    }

    /// Forgets the probes that have failed.
    fn well(&mut self, state: WatchState) {
        self.failing = 0;
        self.since = None;
        self.tell(state);
    }

    /// Tells of a state that is new.
    fn tell(&mut self, state: WatchState) {
        let same =
            self.state.as_ref().is_some_and(|known| std::mem::discriminant(known) == std::mem::discriminant(&state));
        if !same {
            match &state {
                WatchState::Up => tracing::info!(primary = %self.primary, "{state}"),
                state => tracing::warn!(primary = %self.primary, "{state}"),
            }
            self.observer.changed(&state);
            self.state = Some(state);
        }
    }

    fn report(&self, ending: WatchEnding, run: Option<Standing>) -> WatchReport {
        let Self { probes, failed_probes, runs, .. } = *self;
        WatchReport { ending, probes, failed_probes, runs, run }
    }
}

async fn give_up(lease: Option<OperationLease>) {
    if let Some(lease) = lease
        && let Err(error) = lease.release().await
    {
        tracing::warn!(%error, "could not give up the lease of a run; it will lapse by itself");
    }
}

/// Refuses to watch a cluster beside Patroni. A server that does not answer says nothing: before one is promoted, it is asked again, and
/// then it must.
async fn refuse_patroni(
    primary: &ConnectionSettings,
    standbys: &[(String, ConnectionSettings)],
    limit: Duration,
) -> Result<(), RunbookError> {
    let servers = std::iter::once(primary).chain(standbys.iter().map(|(_, settings)| settings));
    for server in servers {
        match patroni_runs(server, limit).await {
            Ok(true) => return Err(RunbookError::RunByPatroni { server: server.to_string() }),
            Ok(false) => {}
            Err(error) => tracing::warn!(%server, %error, "whether Patroni runs it cannot be asked"),
        }
    }
    Ok(())
}

/// Returns the question whether a primary is down, where a step asks it.
fn primary_down(action: &Action) -> Option<&PrimaryDown> {
    match action {
        Action::PrimaryDown(down) => Some(down),
        Action::WaitFor(wait) => primary_down(&wait.check),
        _ => None,
    }
}
