//! Starts a restored cluster, waits for the end of its recovery, and measures how long that took and what is lost.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Serialize;

use super::recovery::{RecoveryAction, RecoveryOptions, RecoveryTarget};
use super::restore::{ClusterRestoreReport, find, restore_cluster};
use super::target::ClusterTarget;
use super::{START_LOG, WAL_FOLDER};
use crate::ops::restore_test::server_programs;
use crate::ops::{Error, Result};
use crate::postgres::launch::{Launch, Postmaster, ReplayState, ServerPhase, ask};
use crate::postgres::physical::{ClusterState, ControlFile, PhysicalError};
use crate::postgres::wal::{TimelineHistory, TimelineSwitch};
use crate::postgres::{ClientPrograms, PostgresError};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{PhysicalContents, Repository};
use crate::types::{BackupId, Lsn, TimelineId, WalFileName, WalSegmentName, WalSegmentSize};

/// How often it is looked how far the server is.
const TICK: Duration = Duration::from_millis(50);
/// How often it is asked how far it has replayed.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How often in a row its file may not be readable before it counts as gone.
const MISSES: usize = 3;
/// How long a server that is ready may refuse to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// What PostgreSQL logs when the WAL ends before the target.
const NOT_REACHED: &str = "recovery ended before configured recovery target was reached";
/// What it logs when it pauses because its settings are smaller than those of the server whose WAL it replays.
const TOO_SMALL: &str = "insufficient parameter settings";

/// How a restored cluster is started.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StartOptions {
    /// Finds the programs of the cluster's major version: `pg_ctl`, `postgres` and `psql`.
    pub programs: ClientPrograms,
    /// How long the end of the recovery is waited for.
    pub timeout: Duration,
    /// Parameters on the server's command line, over those of its configuration: another port, or `config_file`.
    pub settings: Vec<(String, String)>,
    /// Where the server writes until its configuration says otherwise; `erpgo-dr.log` in the data directory by default.
    pub log: Option<PathBuf>,
    /// The superuser's password, where the server asks for one. It is only asked how far it has replayed.
    pub password: Option<SecretString>,
    /// Variables for the server and its commands, which get nothing else of the caller's environment.
    pub environment: Vec<(OsString, OsString)>,
}

impl StartOptions {
    /// Starts with the programs that are found, and waits for up to a day.
    pub fn new(programs: ClientPrograms) -> Self {
        let timeout = Duration::from_secs(24 * 3600);
        Self { programs, timeout, settings: Vec::new(), log: None, password: None, environment: Vec::new() }
    }

    /// Sets how long the end of the recovery is waited for.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets parameters on the server's command line.
    pub fn with_settings(mut self, settings: Vec<(String, String)>) -> Self {
        self.settings = settings;
        self
    }

    /// Sets where the server writes until its configuration says otherwise.
    pub fn with_log(mut self, log: Option<PathBuf>) -> Self {
        self.log = log;
        self
    }

    /// Sets the superuser's password.
    pub fn with_password(mut self, password: Option<SecretString>) -> Self {
        self.password = password;
        self
    }

    /// Sets variables for the server and its commands.
    pub fn with_environment(mut self, environment: Vec<(OsString, OsString)>) -> Self {
        self.environment = environment;
        self
    }

    fn check(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let wrong = |(name, value): &&(String, String)| {
            name.is_empty() || !name.chars().all(plain) || name == "data_directory" || value.contains(['\0', '\n'])
        };
        match self.settings.iter().find(wrong) {
            Some((name, value)) => {
                let message = format!("not a setting that a server can be started with: {name:?} = {value:?}");
                Err(PostgresError::InvalidOptions(message).into())
            }
            None => Ok(()),
        }
    }
}

/// What a server does at the end of its recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RecoveredState {
    /// It has begun a new timeline, and takes writes.
    Promoted,
    /// It waits at its target, and answers queries.
    Paused,
    /// It has shut down at its target.
    ShutDown,
}

/// The newest segment that the archive has of the timelines that were followed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ArchiveEnd {
    /// The segment.
    pub segment: WalSegmentName,
    /// Where it ends. A segment that was switched early is empty before that.
    pub end_lsn: Lsn,
    /// When it was archived, by the clock of the storage place.
    pub archived_at: DateTime<Utc>,
}

/// A restored cluster whose server has reached the end of its recovery. It runs on in a session of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClusterStartReport {
    /// What the server does now.
    pub state: RecoveredState,
    /// The server's process, unless it has shut down.
    pub pid: Option<i32>,
    /// The folder of its socket, or its address.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// Where it writes until its configuration says otherwise.
    pub log: PathBuf,
    /// The timeline that it is on.
    pub timeline: Option<TimelineId>,
    /// Seconds until its process was up.
    pub start_seconds: f64,
    /// Seconds from then on until it had reached its target, and was ready.
    pub replay_seconds: f64,
    /// Seconds of all: the restore of the files, the start, and the replay.
    pub rto_seconds: f64,
    /// The end of the last record that was replayed.
    pub replayed_lsn: Option<Lsn>,
    /// When the last transaction that was replayed had ended, by the clock of the old server.
    pub replayed_at: Option<DateTime<Utc>>,
    /// Seconds from then on until the target time, where there is one: nothing was committed in between.
    pub behind_target_seconds: Option<f64>,
    /// The newest segment of the archive.
    pub archive: Option<ArchiveEnd>,
    /// Bytes of the archive that were not replayed. Less than a segment may be the empty rest of the last one.
    pub behind_archive_bytes: Option<u64>,
    /// Seconds from the last transaction until the newest segment was archived.
    pub behind_archive_seconds: Option<f64>,
    /// The shell's command that stops the server, unless it has shut down.
    pub stop_command: Option<String>,
    /// What could not be found out, and why.
    pub warnings: Vec<String>,
}

/// Restores a cluster as [`restore_cluster`] does, starts a server on it and waits for the end of its recovery.
///
/// The server runs under the cluster's own configuration as the owner of the files, and goes on when this process ends. Where the
/// future is dropped while it waits, the server runs on too, and replays.
///
/// # Errors
/// As [`restore_cluster`]; [`PostgresError::NoClientProgram`] before anything is restored; then
/// [`NotStarted`](PhysicalError::NotStarted), [`TargetNotReached`](PhysicalError::TargetNotReached),
/// [`ReplayStalled`](PhysicalError::ReplayStalled) and [`ReplayTimedOut`](PhysicalError::ReplayTimedOut).
pub async fn restore_and_start_cluster(
    repository: &Repository,
    id: &BackupId,
    target: &ClusterTarget,
    recovery: &RecoveryOptions,
    options: &StartOptions,
    progress: &dyn Progress,
) -> Result<ClusterRestoreReport> {
    let begun = Instant::now();
    options.check()?;
    recovery.check()?;
    let (manifest, mut contents) = find(repository, id).await?;
    let server = &manifest.contents.server;
    let folder = server_programs(&options.programs, "pg_ctl", server.major()).await?;
    let data = std::path::absolute(&target.data)
        .map_err(|source| Error::Io { action: format!("resolve {}", target.data.display()), source })?;
    let launch = Launch {
        programs: options.programs.clone(),
        folder,
        log: options.log.clone().unwrap_or_else(|| data.join(START_LOG)),
        data,
        account: target.account()?,
        settings: options.settings.clone(),
        environment: options.environment.clone(),
    };
    let mut report = restore_cluster(repository, id, target, recovery, progress).await?;
    contents.databases.retain(|name| !report.empty_databases.contains(name));
    let phase = PhaseGuard::start(progress, Phase::Replay, &launch.data.display().to_string(), None);
    let watch = Watch { launch, options, recovery, contents: &contents, phase, position: contents.start_lsn };
    let mut started = watch.run().await?;
    started.look_at_archive(repository, server.system_identifier, &contents).await;
    started.rto_seconds = begun.elapsed().as_secs_f64();
    if let (RecoveryTarget::Time(time), Some(at)) = (&recovery.target, started.replayed_at) {
        started.behind_target_seconds = Some((*time - at).as_seconds_f64());
    }
    report.started = Some(started);
    Ok(report)
}

impl ClusterStartReport {
    async fn look_at_archive(
        &mut self,
        repository: &Repository,
        system_identifier: Option<u64>,
        contents: &PhysicalContents,
    ) {
        let own = (self.state == RecoveredState::Promoted).then_some(self.timeline).flatten();
        let Some(size) = WalSegmentSize::new(contents.wal_segment_bytes) else { return };
        let objects = match repository.wal_objects(system_identifier).await {
            Ok(objects) => objects,
            Err(error) => {
                self.warnings.push(format!("the archive could not be listed: {error}"));
                return;
            }
        };
        let segments = objects.iter().filter_map(|object| match object.name {
            WalFileName::Segment(name) if own.is_none_or(|own| name.timeline() < own) => Some((name, object.archived)),
            _ => None,
        });
        let Some((segment, archived_at)) = segments.max_by_key(|(name, _)| *name) else { return };
        let Some(end_lsn) = segment.start(size).map(|start| Lsn(start.0 + size.bytes())) else { return };
        self.behind_archive_bytes = self.replayed_lsn.map(|replayed| end_lsn.0.saturating_sub(replayed.0));
        self.behind_archive_seconds = self.replayed_at.map(|at| (archived_at - at).as_seconds_f64());
        self.archive = Some(ArchiveEnd { segment, end_lsn, archived_at });
    }
}

/// A server that recovers, and is waited for.
struct Watch<'a> {
    launch: Launch,
    options: &'a StartOptions,
    recovery: &'a RecoveryOptions,
    contents: &'a PhysicalContents,
    phase: PhaseGuard<'a>,
    /// How far progress has been told.
    position: Lsn,
}

/// Where the wait stands.
struct Standing {
    begun: Instant,
    begun_at: SystemTime,
    up: Option<Instant>,
    seen: ReplayState,
    refusal: Option<PostgresError>,
}

impl Watch<'_> {
    async fn run(mut self) -> Result<ClusterStartReport> {
        let mut standing = Standing {
            begun: Instant::now(),
            begun_at: SystemTime::now(),
            up: None,
            seen: ReplayState::default(),
            refusal: None,
        };
        let running = self.launch.start(self.options.timeout)?;
        let mut starter = pin!(running.finish());
        let (mut started, mut misses, mut next_question) = (None, 0, Instant::now());
        loop {
            tokio::select! {
                outcome = &mut starter, if started.is_none() => started = Some(outcome),
                () = tokio::time::sleep(TICK) => {}
            }
            match self.launch.postmaster() {
                Some(server) => {
                    misses = 0;
                    let up = *standing.up.get_or_insert_with(Instant::now);
                    let answers = server.phase == ServerPhase::Ready;
                    if answers && self.is_promoted() {
                        return Ok(self.promoted(&server, standing, up).await);
                    }
                    if answers && Instant::now() >= next_question {
                        self.question(&server, &mut standing).await;
                        next_question = Instant::now() + ASK_EVERY;
                        if standing.seen.paused {
                            return self.paused(&server, standing, up);
                        }
                    }
                }
                // Its starter, which waits for it, ends soon after it. Once may be while its file is rewritten.
                None => {
                    misses += 1;
                    if misses > MISSES
                        && let Some(outcome) = started.take()
                    {
                        return self.ended(outcome.err(), standing);
                    }
                }
            }
            if standing.begun.elapsed() >= self.options.timeout {
                return Err(self.timed_out(standing));
            }
        }
    }

    /// Returns whether the server takes writes. Until it answers, the control file may be as it was in the backup.
    fn is_promoted(&self) -> bool {
        ControlFile::read(&self.launch.data).is_ok_and(|image| image.control.state == ClusterState::Production)
    }

    /// Asks the server how far it is, and passes that on.
    async fn question(&mut self, server: &Postmaster, standing: &mut Standing) {
        let database = self.contents.databases.iter().find(|name| *name == "postgres");
        let database = database.or(self.contents.databases.first()).map_or("template1", String::as_str);
        let login = (self.contents.superuser.as_str(), database);
        match ask(&self.launch, server, login, self.options.password.as_ref()).await {
            Ok(seen) => {
                standing.refusal = None;
                let position = seen.position.unwrap_or(self.position);
                let at = seen.at.map_or_else(String::new, |at| format!(", {}", at.format("%Y-%m-%d %H:%M:%S UTC")));
                self.phase.locate(&format!("{position}{at}"));
                self.phase.advance(position.0.saturating_sub(self.position.0));
                self.position = self.position.max(position);
                standing.seen = seen;
            }
            Err(error) => standing.refusal = Some(error),
        }
    }

    async fn promoted(mut self, server: &Postmaster, mut standing: Standing, up: Instant) -> ClusterStartReport {
        let ready = Instant::now();
        loop {
            self.question(server, &mut standing).await;
            if standing.refusal.is_none() || ready.elapsed() >= ANSWER_PATIENCE {
                break;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        let timeline = ControlFile::read(&self.launch.data).ok().map(|image| image.control.timeline);
        let left = timeline.and_then(|timeline| parent(&self.launch.data, timeline));
        let mut report = self.report(RecoveredState::Promoted, Some(server), standing, up, ready);
        report.timeline = timeline;
        report.replayed_lsn = report.replayed_lsn.or(left.map(|left| left.position));
        report
    }

    fn paused(self, server: &Postmaster, standing: Standing, up: Instant) -> Result<ClusterStartReport> {
        let tail = self.launch.log_tail(standing.begun_at);
        if self.recovery.action != RecoveryAction::Pause || tail.contains(TOO_SMALL) {
            let (data, log, stop) = (self.launch.data.clone(), self.launch.log.clone(), self.launch.stop_command());
            return Err(refused(PhysicalError::ReplayStalled { data, log, tail, stop }));
        }
        let control = ControlFile::read(&self.launch.data).ok().map(|image| image.control);
        let mut report = self.report(RecoveredState::Paused, Some(server), standing, up, Instant::now());
        report.timeline = control.and_then(|control| control.min_recovery_timeline);
        Ok(report)
    }

    /// A server that ended: at its target, where it was to shut down, or because something is wrong.
    fn ended(self, failure: Option<PostgresError>, standing: Standing) -> Result<ClusterStartReport> {
        let control = ControlFile::read(&self.launch.data).ok().map(|image| image.control);
        let is_done = control.as_ref().is_some_and(|control| control.state == ClusterState::ShutDownInRecovery);
        // Without hot standby, PostgreSQL shuts down where it was to pause.
        if is_done && self.recovery.action != RecoveryAction::Promote {
            let up = standing.up.unwrap_or(standing.begun);
            let mut report = self.report(RecoveredState::ShutDown, None, standing, up, Instant::now());
            let position = control.as_ref().map(|control| control.min_recovery_point);
            report.replayed_lsn = position.max(report.replayed_lsn);
            report.timeline = control.and_then(|control| control.min_recovery_timeline);
            return Ok(report);
        }
        let tail = self.launch.log_tail(standing.begun_at);
        let (data, log) = (self.launch.data.clone(), self.launch.log.clone());
        if tail.contains(NOT_REACHED) {
            return Err(refused(PhysicalError::TargetNotReached { data, log, tail }));
        }
        let what = match (failure, standing.up) {
            (_, Some(_)) => "ended before it had recovered".to_owned(),
            (Some(PostgresError::Program { stderr, .. }), None) => format!("did not start ({})", stderr.trim()),
            _ => "did not start".to_owned(),
        };
        let start = self.launch.start_command();
        Err(refused(PhysicalError::NotStarted { data, what, log, tail, start }))
    }

    fn timed_out(self, standing: Standing) -> Error {
        refused(PhysicalError::ReplayTimedOut {
            data: self.launch.data.clone(),
            timeout: self.options.timeout,
            position: standing.seen.position,
            stop: self.launch.stop_command(),
            source: standing.refusal.map(Into::into),
        })
    }

    fn report(
        self,
        state: RecoveredState,
        server: Option<&Postmaster>,
        standing: Standing,
        up: Instant,
        ready: Instant,
    ) -> ClusterStartReport {
        self.phase.finish();
        let unasked = standing.refusal.filter(|_| server.is_some());
        let unasked = unasked.map(|error| format!("the server would not say how far it has replayed: {error}"));
        ClusterStartReport {
            state,
            pid: server.map(|server| server.pid),
            host: server.map(|server| server.host.clone()),
            port: server.map(|server| server.port),
            stop_command: server.map(|_| self.launch.stop_command()),
            log: self.launch.log,
            timeline: None,
            start_seconds: (up - standing.begun).as_secs_f64(),
            replay_seconds: (ready - up).as_secs_f64(),
            rto_seconds: 0.0,
            replayed_lsn: standing.seen.position,
            replayed_at: standing.seen.at,
            behind_target_seconds: None,
            archive: None,
            behind_archive_bytes: None,
            behind_archive_seconds: None,
            warnings: unasked.into_iter().collect(),
        }
    }
}

/// Returns from where a timeline of the data directory began.
fn parent(data: &Path, timeline: TimelineId) -> Option<TimelineSwitch> {
    let path = data.join(WAL_FOLDER).join(format!("{:08X}.history", timeline.get()));
    TimelineHistory::parse(timeline, &std::fs::read(path).ok()?).ok()?.parent()
}

fn refused(error: PhysicalError) -> Error {
    PostgresError::from(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_would_serve_another_folder_or_none_is_refused() {
        let check = |name: &str, value: &str| {
            let settings = vec![(name.to_owned(), value.to_owned())];
            StartOptions::new(ClientPrograms::new()).with_settings(settings).check()
        };
        assert!(check("port", "5433").is_ok() && check("my.own", "it's; fine").is_ok());
        for (name, value) in [("", "x"), ("port; rm", "1"), ("data_directory", "/old"), ("port", "1\n2")] {
            assert!(check(name, value).is_err(), "{name}");
        }
    }
}
