//! Does a drill, or takes people's word for one.

use std::ffi::OsString;
use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Objectives, Scenario};
use crate::ops::physical::{archived_end, random_moment};
use crate::ops::wal::{WalCheckOptions, wal_check};
use crate::ops::{ErrorKind, ReplayTest, RestoreTestOptions, Result, restore_test};
use crate::postgres::PostgresError;
use crate::progress::{Phase, Progress, ProgressEvent};
use crate::repository::{Catalogue, CatalogueEntry, DrillRecord, Repository, RepositoryError, Verdict};
use crate::types::{BackupId, DrillId, Lsn};

/// How a drill is done.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DrillOptions {
    /// Who has it done.
    pub by: String,
    /// Where throwaway servers live, and what must hold in them. Its `replay` is the drill's own business.
    pub test: RestoreTestOptions,
    /// PostgreSQL's `restore_command`, and the variables that it needs. Without it no log is replayed.
    pub archive: Option<(String, Vec<(OsString, OsString)>)>,
    /// What recovery must reach; by [`DrillOptions::new`] that of the scenario.
    pub objectives: Objectives,
}

impl DrillOptions {
    /// Does a drill on throwaway servers.
    pub fn new(scenario: Scenario, by: impl Into<String>, test: RestoreTestOptions) -> Self {
        Self { by: by.into(), test, archive: None, objectives: scenario.objectives() }
    }

    /// Sets how log is fetched from the archive.
    pub fn with_archive(mut self, restore_command: String, environment: Vec<(OsString, OsString)>) -> Self {
        self.archive = Some((restore_command, environment));
        self
    }

    /// Sets what recovery must reach.
    pub fn with_objectives(mut self, objectives: Objectives) -> Self {
        self.objectives = objectives;
        self
    }
}

/// A drill that people did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HandDrill {
    /// Who says so.
    pub by: String,
    /// When it ended; without it, now.
    pub at: Option<DateTime<Utc>>,
    /// How long recovery took.
    pub rto: Option<Duration>,
    /// How much work would have been lost.
    pub rpo: Option<Duration>,
    /// What went wrong.
    pub findings: Vec<String>,
    /// What else is to be said.
    pub note: Option<String>,
}

impl HandDrill {
    /// A drill that went well, of which nothing was measured.
    pub fn new(by: impl Into<String>) -> Self {
        Self { by: by.into(), at: None, rto: None, rpo: None, findings: Vec::new(), note: None }
    }

    /// Sets when it ended.
    pub fn with_moment(mut self, at: Option<DateTime<Utc>>) -> Self {
        self.at = at;
        self
    }

    /// Sets what was measured.
    pub fn with_measured(mut self, rto: Option<Duration>, rpo: Option<Duration>) -> Self {
        (self.rto, self.rpo) = (rto, rpo);
        self
    }

    /// Says what went wrong.
    pub fn with_findings(mut self, findings: Vec<String>) -> Self {
        self.findings = findings;
        self
    }

    /// Says more.
    pub fn with_note(mut self, note: Option<String>) -> Self {
        self.note = note;
        self
    }
}

/// What a part of a drill restores.
struct Part {
    backup: BackupId,
    physical: bool,
    replay: Option<Replay>,
}

/// How far the log is replayed behind a backup.
#[derive(Clone, Copy)]
struct Replay {
    from: Lsn,
    until: Lsn,
}

/// Rehearses a recovery on throwaway servers, which have no network address, archive nothing and follow nobody, and writes down what it showed.
///
/// Nothing but the repository is read, and nothing but the scratch folder and the record of the drill is written.
///
/// # Errors
/// [`PostgresError::InvalidOptions`] for a scenario that is rehearsed with a runbook; [`RepositoryError::NoBackup`] where there is nothing to
/// restore; what hinders the work. What is wrong with what came back is a finding.
pub async fn run_drill(
    repository: &Repository,
    scenario: Scenario,
    options: &DrillOptions,
    progress: &dyn Progress,
) -> Result<DrillRecord> {
    if let Some(runbook) = scenario.runbook() {
        let text = format!("{scenario} is rehearsed with the runbook {runbook}, which takes more than backups");
        return Err(PostgresError::InvalidOptions(text).into());
    }
    let clock = &repository.environment().clock;
    let began = clock.now();
    let catalogue = repository.catalogue().await?;
    let parts = parts(repository, &catalogue, scenario, options.archive.is_some()).await?;
    let rpo_seconds = lost_now(repository, &catalogue, began).await;
    let mut record = empty(scenario, &options.by, began, options.objectives);
    record.rpo_seconds = rpo_seconds;
    for part in parts {
        let timing = Timing::new(progress);
        match restore(repository, &part, options, &timing).await {
            Ok(verdict) => add(&mut record, &catalogue, &part, &verdict, &timing),
            // That it cannot be restored at all is the worst that a drill can show.
            Err(error) if matches!(error.kind(), ErrorKind::Integrity | ErrorKind::NotFound | ErrorKind::Archived) => {
                record.findings.push(format!("{}: {}", part.backup, crate::causes::chain(&error)));
                record.backups.push(part.backup);
            }
            Err(error) => return Err(error),
        }
    }
    record.ended = clock.now();
    repository.record_drill(&record).await?;
    Ok(record)
}

/// Writes down a drill that people did.
///
/// # Errors
/// [`PostgresError::InvalidOptions`] for one that has not ended yet; of the repository.
pub async fn record_drill(
    repository: &Repository,
    scenario: Scenario,
    objectives: Objectives,
    drill: &HandDrill,
) -> Result<DrillRecord> {
    let now = repository.environment().clock.now();
    let ended = drill.at.unwrap_or(now);
    if ended > now {
        let text = format!("a drill that ends at {ended} is not done yet");
        return Err(PostgresError::InvalidOptions(text).into());
    }
    let mut record = empty(scenario, &drill.by, ended, objectives);
    record.by_hand = true;
    record.rto_seconds = drill.rto.map(|rto| rto.as_secs_f64());
    record.rpo_seconds = drill.rpo.map(|rpo| rpo.as_secs_f64());
    record.findings.clone_from(&drill.findings);
    record.note.clone_from(&drill.note);
    repository.record_drill(&record).await?;
    Ok(record)
}

/// Begins the record of a drill.
pub(crate) fn empty(scenario: Scenario, by: &str, began: DateTime<Utc>, objectives: Objectives) -> DrillRecord {
    DrillRecord {
        id: DrillId::generate(began),
        scenario: scenario.to_string(),
        by: by.to_owned(),
        by_hand: false,
        began,
        ended: began,
        rto_seconds: None,
        rpo_seconds: None,
        rto_objective_seconds: objectives.rto.map(|rto| rto.as_secs_f64()),
        rpo_objective_seconds: objectives.rpo.map(|rpo| rpo.as_secs_f64()),
        backups: Vec::new(),
        restored_bytes: None,
        restore_seconds: None,
        replayed_bytes: None,
        replay_seconds: None,
        findings: Vec::new(),
        note: None,
        runbook: None,
        own_runbook: false,
        steps: Vec::new(),
    }
}

/// Chooses what a scenario restores.
async fn parts(
    repository: &Repository,
    catalogue: &Catalogue,
    scenario: Scenario,
    has_archive: bool,
) -> Result<Vec<Part>> {
    let newest = |physical: bool| {
        let of_kind = |entry: &&CatalogueEntry| entry.summary.is_physical() == physical && entry.details.is_some();
        catalogue.entries.iter().filter(of_kind).max_by_key(|entry| entry.summary.created).map(CatalogueEntry::id)
    };
    let cluster = || newest(true).ok_or(RepositoryError::NoBackup("backup of a cluster"));
    let part = |backup: &BackupId, physical| Part { backup: backup.clone(), physical, replay: None };
    Ok(match scenario {
        Scenario::DataCorruption => {
            let moment = random_moment(repository).await?;
            let replay = match (moment.until.filter(|_| has_archive), archived_end(repository, &moment.backup).await?) {
                (Some(until), Some((from, _))) => Some(Replay { from, until }),
                _ => None,
            };
            vec![Part { backup: moment.backup, physical: true, replay }]
        }
        Scenario::FullRecovery => {
            let backup = cluster()?;
            let end = archived_end(repository, backup).await?.filter(|(from, until)| has_archive && until > from);
            vec![Part { replay: end.map(|(from, until)| Replay { from, until }), ..part(backup, true) }]
        }
        _ => {
            let found: Vec<Part> =
                [false, true].into_iter().filter_map(|physical| Some(part(newest(physical)?, physical))).collect();
            if found.is_empty() {
                return Err(RepositoryError::NoBackup("backup").into());
            }
            found
        }
    })
}

async fn restore(repository: &Repository, part: &Part, options: &DrillOptions, timing: &Timing<'_>) -> Result<Verdict> {
    let replay = match (part.replay, &options.archive) {
        (Some(Replay { until, .. }), Some((restore_command, environment))) => {
            Some(ReplayTest { until, restore_command: restore_command.clone(), environment: environment.clone() })
        }
        _ => None,
    };
    restore_test(repository, &part.backup, &options.test.clone().with_replay(replay), timing).await
}

/// Adds what a part showed. Parts are recovered one after the other, and recovery ends with the last.
fn add(record: &mut DrillRecord, catalogue: &Catalogue, part: &Part, verdict: &Verdict, timing: &Timing<'_>) {
    record.backups.push(part.backup.clone());
    record.findings.extend(verdict.findings.iter().map(|finding| format!("{}: {finding}", part.backup)));
    if let Some(seconds) = verdict.restore_seconds {
        *record.rto_seconds.get_or_insert(0.0) += seconds;
    }
    let Some(whole) = verdict.restore_seconds.filter(|_| part.physical) else { return };
    let Some(files) = timing.restored() else { return };
    record.restored_bytes = catalogue.find(&part.backup).map(|entry| entry.summary.plaintext_bytes);
    // Where nothing is replayed the start of the server belongs to the restore.
    record.restore_seconds = Some(part.replay.map_or(whole, |_| files.as_secs_f64()));
    if let Some(Replay { from, until }) = part.replay {
        record.replayed_bytes = Some(until.0.saturating_sub(from.0));
        record.replay_seconds = Some((whole - files.as_secs_f64()).max(0.0));
    }
}

/// Returns how many seconds of work would be lost by a recovery that began now: those since the newest commit that is archived, or
/// since the newest backup that is proven.
async fn lost_now(repository: &Repository, catalogue: &Catalogue, now: DateTime<Utc>) -> Option<f64> {
    let backup = catalogue.latest_proven().map(|entry| (now - entry.summary.created).as_seconds_f64());
    let checked = wal_check(repository, None, &WalCheckOptions::default()).await.ok();
    let archived = checked.and_then(|check| check.newest_commit).map(|newest| (now - newest).as_seconds_f64().max(0.0));
    [backup, archived].into_iter().flatten().reduce(f64::min)
}

/// Passes on what is reported, and keeps how long the files of a cluster took to come back.
struct Timing<'p> {
    progress: &'p dyn Progress,
    restored: Mutex<Option<Duration>>,
}

impl<'p> Timing<'p> {
    fn new(progress: &'p dyn Progress) -> Self {
        Self { progress, restored: Mutex::new(None) }
    }

    fn restored(&self) -> Option<Duration> {
        *self.restored.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Progress for Timing<'_> {
    fn report(&self, event: ProgressEvent<'_>) {
        if let ProgressEvent::Finished { phase: Phase::Restore, elapsed } = event {
            *self.restored.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(elapsed);
        }
        self.progress.report(event);
    }
}
