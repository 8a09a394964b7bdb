//! Asks for all that is shown, once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::facts::{
    BackupFacts, DiskFacts, EpochFacts, Facts, IncidentFacts, ObjectiveFacts, Problem, StandbyFacts, WalFacts,
};
use crate::causes::chain;
use crate::ops::drill::{Forecast, Objectives, PlannedDrill, drills_due, forecast, quarterly_calendar};
use crate::ops::wal::{WalCheckOptions, WalCheckReport, wal_check};
use crate::ops::{self, RecoveryWindow, Status, WindowMemory, catalogue_of_places, recovery_windows_with, status_of};
use crate::postgres::ConnectionSettings;
use crate::repository::{Catalogue, CatalogueEntry, DrillRecord, EpochInfo, Repository};
use crate::runbook::{IncidentReport, report};
use crate::storage::ReplicatedStorage;
use crate::topology::{ServerState, ask_server};
use crate::types::RunId;

/// How long a server may take to say who follows it.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a look may take.
const LONGEST: Duration = Duration::from_secs(600);
/// How many of the newest incidents are told.
const NEWEST: usize = 50;

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
}

/// Asks for everything once. The repository should be unlocked: what is sealed is left out otherwise.
///
/// # Errors
/// When the catalogue cannot be read. What else cannot be asked is a problem in the facts.
pub async fn observe(repository: &Repository, options: &MonitorOptions) -> ops::Result<Facts> {
    observe_with(repository, options, &mut Memory::default()).await
}

/// What was read before, and is what it was.
#[derive(Debug, Default)]
struct Memory {
    windows: WindowMemory,
    /// Runs of runbooks, with the lengths that their journals had: entries are added, and never altered.
    incidents: BTreeMap<RunId, (u64, IncidentFacts)>,
}

async fn observe_with(repository: &Repository, options: &MonitorOptions, memory: &mut Memory) -> ops::Result<Facts> {
    let begun = Instant::now();
    let at = repository.environment().clock.now();
    let catalogue = match &options.places {
        Some(places) => catalogue_of_places(repository, places).await?,
        None => repository.catalogue().await?,
    };
    let status = status_of(repository, &catalogue);
    let mut asked = Asked { repository, catalogue: &catalogue, problems: of_catalogue(&status) };
    let windows = asked.windows(&memory.windows).await;
    let (wal, state) = tokio::join!(wal_check_of(repository, options), state_of(options));
    let wal = asked.wal(wal);
    let standbys = asked.standbys(state);
    let drills = asked.drills().await;
    let forecast = asked.forecast(&drills).await;
    let incidents = asked.incidents(&mut memory.incidents).await;
    let epochs = asked.epochs().await;
    let disks = asked.disks(&options.folders).await;
    let problems = asked.problems;
    let objectives = objectives(options.objectives, at, &status, &windows, wal.as_ref(), forecast.as_ref());
    let drills_due = drills_due(at, repository.settings().created, &options.drills, &drills);
    let max_age_seconds = options.max_age.map(|age| age.as_secs_f64());
    let is_too_old = max_age_seconds.zip(status.rpo_seconds).is_some_and(|(limit, age)| age > limit);
    Ok(Facts {
        at,
        healthy: status.is_healthy() && !is_too_old,
        seconds: begun.elapsed().as_secs_f64(),
        backups: catalogue.entries.iter().map(backup).collect(),
        max_age_seconds,
        drills,
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
        agent: None,
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
    let mut memory = Memory::default();
    let mut times = tokio::time::interval(every);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !facts.is_closed() {
        times.tick().await;
        match tokio::time::timeout(LONGEST, observe_with(repository, options, &mut memory)).await {
            Ok(Ok(found)) => {
                facts.send_replace(Some(Arc::new(found)));
            }
            Ok(Err(error)) => tracing::warn!(error = chain(&error), "the repository could not be asked"),
            Err(_) => tracing::warn!("the repository did not answer all in {LONGEST:?}"),
        }
    }
}

fn of_catalogue(status: &Status) -> Vec<Problem> {
    let failed = status.failed.iter().map(|id| Problem::new(id.to_string(), "its last verification failed"));
    let ahead = "it begins in the future: a clock was wrong when it was taken, or is now";
    let ahead = status.in_the_future.iter().map(|id| Problem::new(id.to_string(), ahead));
    let problems = status.problems.iter().map(|found| Problem::new(found.subject.clone(), found.problem.clone()));
    failed.chain(ahead).chain(problems).collect()
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
    let [rto_objective_seconds, rpo_objective_seconds] =
        [wanted.rto, wanted.rpo].map(|span| span.map(|span| span.as_secs_f64()));
    let rto_seconds = forecast.map(|forecast| forecast.rto_seconds).or(status.rto_seconds);
    let rpo_seconds = lost_now(now, windows, wal).or(status.rpo_seconds);
    ObjectiveFacts {
        rto_objective_seconds,
        rpo_objective_seconds,
        rto_seconds,
        rpo_seconds,
        rto_met: rto_seconds.zip(rto_objective_seconds).map(|(found, wanted)| found <= wanted),
        rpo_met: rpo_seconds.zip(rpo_objective_seconds).map(|(found, wanted)| found <= wanted),
    }
}

/// Returns how much work of a cluster would be lost; `None` where no cluster can be brought back.
///
/// What the archive holds counts only as far as it can be reached from a backup. Where the server says how far it is, that is exact; else everything
/// since the last moment that can be had may be lost. Of several clusters it is the server's, or the one of which the most would be lost.
fn lost_now(now: DateTime<Utc>, windows: &[RecoveryWindow], wal: Option<&WalFacts>) -> Option<f64> {
    let of_server = wal.and_then(|wal| wal.system_identifier);
    let is_meant = |window: &&RecoveryWindow| of_server.is_none_or(|system| window.system_identifier == system);
    let lost = |window: &RecoveryWindow| {
        let last = window.spans.last()?;
        let since = (now - last.until).as_seconds_f64().max(0.0);
        let is_whole = of_server.is_some() && window.archived && !window.cut_off;
        let told = wal.filter(|_| is_whole).and_then(|wal| wal.at_risk_seconds);
        Some(told.map_or(since, |told| told.min(since)))
    };
    windows.iter().filter(is_meant).filter_map(lost).max_by(f64::total_cmp)
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

    async fn windows(&mut self, memory: &WindowMemory) -> Vec<RecoveryWindow> {
        let found = recovery_windows_with(self.repository, self.catalogue, memory).await;
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

    async fn incidents(&mut self, known: &mut BTreeMap<RunId, (u64, IncidentFacts)>) -> Vec<IncidentFacts> {
        let lengths = self.repository.run_lengths().await;
        let lengths = self.told("runs of runbooks", lengths);
        let mut found = BTreeMap::new();
        for (run, length) in lengths.into_iter().rev().take(NEWEST) {
            let remembered = known.remove(&run).filter(|(of, _)| *of == length);
            let told = match remembered {
                Some((_, incident)) => Ok(incident),
                None => report(self.repository, &run).await.map(incident),
            };
            match told {
                Ok(incident) => drop(found.insert(run, (length, incident))),
                Err(error) => self.unanswered(&format!("run {run}"), &error),
            }
        }
        *known = found;
        known.values().rev().map(|(_, incident)| incident.clone()).collect()
    }

    async fn epochs(&mut self) -> Vec<EpochFacts> {
        let found = self.repository.epochs().await;
        self.told("key epochs", found).iter().filter_map(epoch).collect()
    }

    /// Beside the runtime: a file system that does not answer holds up nothing else.
    async fn disks(&mut self, folders: &[PathBuf]) -> Vec<DiskFacts> {
        let mut disks = Vec::new();
        for folder in folders {
            let asked = folder.clone();
            let answer = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&asked));
            let subject = format!("free space of {}", folder.display());
            match tokio::time::timeout(ANSWER, answer).await {
                Ok(Ok(Ok(found))) => disks.push(DiskFacts {
                    path: folder.clone(),
                    total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
                    free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
                }),
                Ok(Ok(Err(error))) => self.unanswered(&subject, &error),
                Ok(Err(error)) => self.unanswered(&subject, &error),
                Err(error) => self.unanswered(&subject, &error),
            }
        }
        disks
    }
}

fn wal_facts(found: WalCheckReport) -> WalFacts {
    let timelines = || found.clusters.iter().flat_map(|cluster| &cluster.timelines);
    WalFacts {
        system_identifier: found.server.as_ref().and_then(|server| server.system_identifier),
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
        address: follower.address.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::RecoverySpan;
    use crate::types::{TimelineId, WalSegmentName, WalSegmentSize};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn window(system_identifier: u64, until: i64, cut_off: bool) -> RecoveryWindow {
        let last_segment = Some(WalSegmentName::numbered(TimelineId::FIRST, 7, WalSegmentSize::DEFAULT));
        let span = RecoverySpan { from: at(0), until: at(until), last_segment, backups: Vec::new() };
        RecoveryWindow { system_identifier, archived: true, spans: vec![span], cut_off }
    }

    fn told(system_identifier: Option<u64>, at_risk_seconds: Option<f64>) -> WalFacts {
        WalFacts {
            system_identifier,
            segments: 1,
            stored_bytes: 1,
            newest_archived: None,
            lag_bytes: None,
            newest_commit: None,
            at_risk_seconds,
            findings: Vec::new(),
        }
    }

    #[test]
    fn only_what_can_be_reached_counts_as_not_lost() {
        let now = at(1000);
        let lost = |windows: &[RecoveryWindow], wal: Option<WalFacts>| lost_now(now, windows, wal.as_ref());
        assert_eq!(lost(&[], Some(told(Some(1), Some(3.0)))), None, "a log without a backup brings nothing back");
        assert_eq!(lost(&[window(1, 990, false)], Some(told(Some(1), Some(3.0)))), Some(3.0), "the server knows best");
        assert_eq!(
            lost(&[window(1, 400, true)], Some(told(Some(1), Some(3.0)))),
            Some(600.0),
            "what lies behind a gap"
        );
        assert_eq!(lost(&[window(1, 990, false)], None), Some(10.0), "without the server");
        assert_eq!(lost(&[window(1, 990, false)], Some(told(None, None))), Some(10.0));
        assert_eq!(lost(&[window(1, 990, false), window(2, 100, false)], None), Some(900.0), "the worst of several");
        let of_one = Some(told(Some(1), Some(3.0)));
        assert_eq!(lost(&[window(1, 990, false), window(2, 100, false)], of_one), Some(3.0), "the server's own");
        assert_eq!(lost(&[window(2, 100, false)], Some(told(Some(1), Some(3.0)))), None, "another cluster's");
        assert_eq!(lost(&[window(1, 1010, false)], None), Some(0.0), "clocks differ a little");
    }
}
