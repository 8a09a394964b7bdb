//! Asks for all that is shown, once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::facts::{
    BackupFacts, DiskFacts, EpochFacts, Facts, IncidentFacts, ObjectiveFacts, Problem, StandbyFacts, WalFacts,
};
use crate::agent::AgentState;
use crate::causes::chain;
use crate::ops::drill::{Forecast, Objectives, PlannedDrill, drills_due, forecast, quarterly_calendar};
use crate::ops::wal::{WalCheckOptions, WalCheckReport, wal_check};
use crate::ops::{self, RecoveryWindow, Status, catalogue_of_places, recovery_windows, status_of};
use crate::postgres::ConnectionSettings;
use crate::repository::{Catalogue, CatalogueEntry, DrillRecord, EpochInfo, Repository};
use crate::runbook::{IncidentReport, list_runs, report};
use crate::storage::ReplicatedStorage;
use crate::topology::{ServerState, ask_server};

/// How long a server may take to say who follows it.
const ANSWER: Duration = Duration::from_secs(10);
/// How many of the newest drills and incidents are shown.
const NEWEST: usize = 20;

/// What is asked beside the repository, and what it is to reach.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MonitorOptions {
    /// The server that is backed up.
    pub server: Option<ConnectionSettings>,
    /// The places of the repository, where there are several: each is asked what it has.
    pub places: Option<ReplicatedStorage>,
    /// How old the newest proven backup may be.
    pub max_age: Option<Duration>,
    /// What recovery is to reach.
    pub objectives: Objectives,
    /// Which drills are planned.
    pub drills: Vec<PlannedDrill>,
    /// Folders of this host whose free space is told.
    pub folders: Vec<PathBuf>,
    /// An agent of this process, which tells how it stands.
    pub agent: Option<watch::Receiver<AgentState>>,
}

impl Default for MonitorOptions {
    fn default() -> Self {
        Self {
            server: None,
            places: None,
            max_age: None,
            objectives: Objectives::default(),
            drills: quarterly_calendar(),
            folders: Vec::new(),
            agent: None,
        }
    }
}

impl MonitorOptions {
    /// Names the server that is backed up.
    pub fn with_server(mut self, server: Option<ConnectionSettings>) -> Self {
        self.server = server;
        self
    }

    /// Has each of several places asked.
    pub fn with_places(mut self, places: Option<ReplicatedStorage>) -> Self {
        self.places = places;
        self
    }

    /// Sets how old the newest proven backup may be.
    pub fn with_max_age(mut self, max_age: Option<Duration>) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sets what recovery is to reach.
    pub fn with_objectives(mut self, objectives: Objectives) -> Self {
        self.objectives = objectives;
        self
    }

    /// Sets which drills are planned.
    pub fn with_drills(mut self, drills: Vec<PlannedDrill>) -> Self {
        self.drills = drills;
        self
    }

    /// Sets the folders whose free space is told.
    pub fn with_folders(mut self, folders: Vec<PathBuf>) -> Self {
        self.folders = folders;
        self
    }

    /// Has an agent of this process tell how it stands.
    pub fn with_agent(mut self, agent: watch::Receiver<AgentState>) -> Self {
        self.agent = Some(agent);
        self
    }
}

/// Asks for everything once. The repository should be unlocked: what is sealed is left out otherwise.
///
/// # Errors
/// When the catalogue cannot be read. What else cannot be asked is a problem in the facts.
pub async fn observe(repository: &Repository, options: &MonitorOptions) -> ops::Result<Facts> {
    let begun = Instant::now();
    let at = repository.environment().clock.now();
    let catalogue = match &options.places {
        Some(places) => catalogue_of_places(repository, places).await?,
        None => repository.catalogue().await?,
    };
    let status = status_of(repository, &catalogue);
    let mut asked = Asked { repository, catalogue: &catalogue, problems: of_catalogue(&status) };
    let windows = asked.windows().await;
    let (wal, state) = tokio::join!(wal_check_of(repository, options), state_of(options));
    let wal = asked.wal(wal);
    let standbys = asked.standbys(state);
    let drills = asked.drills().await;
    let forecast = asked.forecast(&drills).await;
    let incidents = asked.incidents().await;
    let epochs = asked.epochs().await;
    let disks = options.folders.iter().filter_map(|folder| asked.disk(folder)).collect();
    let problems = asked.problems;
    let objectives = objectives(options.objectives, at, &status, &windows, wal.as_ref(), forecast.as_ref());
    let drills_due = drills_due(at, repository.settings().created, &options.drills, &drills);
    Ok(Facts {
        at,
        seconds: begun.elapsed().as_secs_f64(),
        backups: catalogue.entries.iter().map(backup).collect(),
        max_age_seconds: options.max_age.map(|age| age.as_secs_f64()),
        drills: drills.into_iter().rev().take(NEWEST).rev().collect(),
        status,
        windows,
        wal,
        standbys,
        objectives,
        forecast,
        drills_due,
        incidents,
        epochs,
        disks,
        agent: options.agent.as_ref().map(|agent| agent.borrow().clone()),
        problems,
    })
}

/// Asks again and again, and hands on what was found. Ends when nobody listens any more, or dropped.
///
/// While the catalogue cannot be read, the last facts stay as they are, with the time they are of.
pub async fn keep_observed(
    repository: &Repository,
    options: &MonitorOptions,
    every: Duration,
    facts: &watch::Sender<Option<Arc<Facts>>>,
) {
    let mut times = tokio::time::interval(every);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !facts.is_closed() {
        times.tick().await;
        match observe(repository, options).await {
            Ok(found) => {
                facts.send_replace(Some(Arc::new(found)));
            }
            Err(error) => tracing::warn!(error = chain(&error), "the repository could not be asked"),
        }
    }
}

fn of_catalogue(status: &Status) -> Vec<Problem> {
    let failed = status.failed.iter().map(|id| Problem::new(id.to_string(), "its last verification failed"));
    let problems = status.problems.iter().map(|found| Problem::new(found.subject.clone(), found.problem.clone()));
    failed.chain(problems).collect()
}

fn backup(entry: &CatalogueEntry) -> BackupFacts {
    let summary = &entry.summary;
    BackupFacts {
        id: summary.id.clone(),
        kind: summary.kind.clone(),
        created: summary.created,
        seconds: (summary.finished - summary.created).as_seconds_f64().max(0.0),
        plaintext_bytes: summary.plaintext_bytes,
        stored_bytes: summary.stored_bytes,
        proven: entry.proven().map(|(level, _)| level),
        failed: entry.verdicts.last().is_some_and(|verdict| !verdict.passed),
        held: entry.hold.is_some(),
    }
}

fn objectives(
    wanted: Objectives,
    now: DateTime<Utc>,
    status: &Status,
    windows: &[RecoveryWindow],
    wal: Option<&WalFacts>,
    forecast: Option<&Forecast>,
) -> ObjectiveFacts {
    let ends = windows.iter().filter_map(|window| window.spans.last()).map(|span| span.until);
    let since = |moment: DateTime<Utc>| (now - moment).as_seconds_f64().max(0.0);
    // Of several clusters, the one of which the most would be lost.
    let by_window = ends.map(since).max_by(f64::total_cmp);
    ObjectiveFacts {
        rto_objective_seconds: wanted.rto.map(|span| span.as_secs_f64()),
        rpo_objective_seconds: wanted.rpo.map(|span| span.as_secs_f64()),
        rto_seconds: forecast.map(|forecast| forecast.rto_seconds).or(status.rto_seconds),
        rpo_seconds: wal.and_then(|wal| wal.at_risk_seconds).or(by_window).or(status.rpo_seconds),
    }
}

/// Asks the archive and the server; the archive alone where the server does not answer. None where nothing is archived.
async fn wal_check_of(
    repository: &Repository,
    options: &MonitorOptions,
) -> (Option<ops::Result<WalCheckReport>>, Option<ops::Error>) {
    match repository.wal_systems().await {
        Ok(systems) if systems.is_empty() => return (None, None),
        Ok(_) => {}
        Err(error) => return (Some(Err(error.into())), None),
    }
    let check = WalCheckOptions::default();
    match wal_check(repository, options.server.as_ref(), &check).await {
        Err(error) if options.server.is_some() => (Some(wal_check(repository, None, &check).await), Some(error)),
        outcome => (Some(outcome), None),
    }
}

async fn state_of(options: &MonitorOptions) -> Option<Result<ServerState, String>> {
    let server = options.server.as_ref()?;
    Some(ask_server(server, ANSWER).await.map_err(|error| chain(&error)))
}

/// Asks one thing after the other, and keeps what could not be answered.
struct Asked<'a> {
    repository: &'a Repository,
    catalogue: &'a Catalogue,
    problems: Vec<Problem>,
}

impl Asked<'_> {
    fn unanswered(&mut self, subject: &str, error: &(dyn std::error::Error + 'static)) {
        self.problems.push(Problem::new(subject, chain(error)));
    }

    /// Returns the answer, or nothing and a problem.
    fn told<T: Default, E: std::error::Error + 'static>(&mut self, subject: &str, answer: Result<T, E>) -> T {
        answer.unwrap_or_else(|error| {
            self.unanswered(subject, &error);
            T::default()
        })
    }

    async fn windows(&mut self) -> Vec<RecoveryWindow> {
        let found = recovery_windows(self.repository, self.catalogue).await;
        self.told("recovery window", found)
    }

    fn wal(
        &mut self,
        (outcome, of_server): (Option<ops::Result<WalCheckReport>>, Option<ops::Error>),
    ) -> Option<WalFacts> {
        if let Some(error) = of_server {
            self.unanswered("archiving of the server", &error);
        }
        match outcome? {
            Ok(found) => Some(wal_facts(found)),
            Err(error) => {
                self.unanswered("write-ahead log", &error);
                None
            }
        }
    }

    fn standbys(&mut self, state: Option<Result<ServerState, String>>) -> Vec<StandbyFacts> {
        match state {
            None => Vec::new(),
            Some(Ok(state)) => standbys(&state),
            Some(Err(problem)) => {
                self.problems.push(Problem::new("server", problem));
                Vec::new()
            }
        }
    }

    async fn drills(&mut self) -> Vec<DrillRecord> {
        let found = self.repository.drills().await;
        let found = self.told("drills", found);
        self.problems.extend(found.problems.iter().map(|one| Problem::new(one.subject.clone(), one.problem.clone())));
        found.records
    }

    async fn forecast(&mut self, drills: &[DrillRecord]) -> Option<Forecast> {
        let found = forecast(self.repository, self.catalogue, drills).await;
        self.told("forecast of the recovery time", found)
    }

    async fn incidents(&mut self) -> Vec<IncidentFacts> {
        let runs = list_runs(self.repository).await;
        let runs = self.told("runs of runbooks", runs);
        let mut incidents = Vec::new();
        for run in runs.into_iter().rev().take(NEWEST) {
            match report(self.repository, &run).await {
                Ok(report) => incidents.push(incident(report)),
                Err(error) => self.unanswered(&format!("run {run}"), &error),
            }
        }
        incidents
    }

    async fn epochs(&mut self) -> Vec<EpochFacts> {
        let found = self.repository.epochs().await;
        self.told("key epochs", found).iter().filter_map(epoch).collect()
    }

    fn disk(&mut self, folder: &Path) -> Option<DiskFacts> {
        match rustix::fs::statvfs(folder) {
            Ok(found) => Some(DiskFacts {
                path: folder.to_owned(),
                total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
                free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            }),
            Err(error) => {
                self.unanswered(&format!("free space of {}", folder.display()), &error);
                None
            }
        }
    }
}

fn wal_facts(found: WalCheckReport) -> WalFacts {
    let timelines = || found.clusters.iter().flat_map(|cluster| &cluster.timelines);
    WalFacts {
        segments: timelines().map(|timeline| timeline.segments).sum(),
        stored_bytes: timelines().map(|timeline| timeline.stored_bytes).sum(),
        newest_archived: timelines().filter_map(|timeline| timeline.newest_archived).max(),
        lag_bytes: found.lag_bytes,
        newest_commit: found.newest_commit,
        at_risk_seconds: found.at_risk_seconds,
        findings: found.findings,
    }
}

fn standbys(state: &ServerState) -> Vec<StandbyFacts> {
    let reached = state.reached();
    let lag = |flushed: Option<crate::types::Lsn>| Some(reached?.0.saturating_sub(flushed?.0));
    let standby = |follower: &crate::topology::Follower| StandbyFacts {
        name: follower.name.clone(),
        state: follower.state.clone(),
        sync_state: follower.sync_state.clone(),
        lag_bytes: lag(follower.flushed),
    };
    state.followers.iter().map(standby).collect()
}

fn incident(report: IncidentReport) -> IncidentFacts {
    IncidentFacts {
        run: report.run,
        title: report.title,
        drill: report.drill,
        incident: report.incident,
        ended: report.ended,
        state: report.ending,
        rto_seconds: report.rto_seconds,
        rto_met: report.rto_met,
        rpo_seconds: report.rpo_seconds,
        rpo_met: report.rpo_met,
    }
}

/// Epochs of single runs, of hosts without any key, are left out.
fn epoch(info: &EpochInfo) -> Option<EpochFacts> {
    let is_run = matches!(info.role, Some(crate::repository::EpochRole::Run));
    let begun = info.id.time();
    (!is_run).then(|| EpochFacts { id: info.id.clone(), begun, active: info.active, slots: info.slots.len() })
}
