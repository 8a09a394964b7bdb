//! Proves a backup by restoring it into a throwaway server and comparing what came back.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Result;
use super::physical::{check_relations, start_restored};
use crate::postgres::throwaway::{RunAs, ThrowawayConnection, ThrowawayOptions, ThrowawayServer};
use crate::postgres::{
    BoxError, CheckOutcome, ClientPrograms, ConnectionSettings, DatabaseContents, DatabaseDriver as _, LogicalDriver,
    PostgresError, RestoreOptions, StreamKind, compare_tables,
};
use crate::progress::{Phase, PhaseGuard, Progress, ProgressEvent};
use crate::repository::{Manifest, PhysicalContents, Repository, Verdict, VerifyLevel};
use crate::types::{BackupId, Lsn};

/// How a restore is tested.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RestoreTestOptions {
    /// Finds the programs of the server's major version.
    pub programs: ClientPrograms,
    /// Where the throwaway server keeps its data, in the clear.
    pub scratch: PathBuf,
    /// The account that it runs as.
    pub run_as: Option<RunAs>,
    /// Restore jobs that run at once.
    pub jobs: usize,
    /// What else must hold in the restored databases.
    pub checks: Vec<SqlCheck>,
    /// Roles to make beforehand. Only for backups without the server's roles: policies name some.
    pub roles: Vec<String>,
    /// What is replayed behind the end of a physical backup.
    pub replay: Option<ReplayTest>,
}

impl RestoreTestOptions {
    /// Tests with the server programs that `programs` finds, and everything the server writes under `scratch`.
    pub fn new(programs: ClientPrograms, scratch: impl Into<PathBuf>) -> Self {
        let (checks, roles) = (Vec::new(), Vec::new());
        Self { programs, scratch: scratch.into(), run_as: None, jobs: 1, checks, roles, replay: None }
    }

    /// Sets the account that the server runs as.
    pub fn with_run_as(mut self, account: Option<RunAs>) -> Self {
        self.run_as = account;
        self
    }

    /// Sets how many restore jobs run at once.
    pub fn with_jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// Sets the roles to make beforehand.
    pub fn with_roles(mut self, roles: Vec<String>) -> Self {
        self.roles = roles;
        self
    }

    /// Sets what is replayed behind the end of a physical backup.
    pub fn with_replay(mut self, replay: Option<ReplayTest>) -> Self {
        self.replay = replay;
        self
    }

    /// Sets what else must hold.
    pub fn with_checks(mut self, checks: Vec<SqlCheck>) -> Self {
        self.checks = checks;
        self
    }
}

/// What a restore test replays behind the end of a physical backup: the archive of the log is proven with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayTest {
    /// Where replay stops, on the backup's own timeline. See [`random_moment`](super::physical::random_moment).
    pub until: Lsn,
    /// PostgreSQL's `restore_command`, which the account of the throwaway server runs.
    pub restore_command: String,
    /// The variables of the environment that the command needs.
    pub environment: Vec<(OsString, OsString)>,
}

/// A question to a restored database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SqlCheck {
    /// Its name in reports.
    pub name: String,
    /// The database to ask.
    pub database: String,
    /// The query: it passes when it returns one row whose first column is true.
    pub query: String,
}

/// Restores a backup into a throwaway server of the same major version, with no network, and compares it.
///
/// Rows, bytes and checksums of every table must be those of backup time, and every check must pass. The time
/// from the first byte read to databases that answer is the observed RTO. The verdict is recorded.
///
/// # Errors
/// What hinders the work: no programs of that version, no scratch space, a repository that cannot be read.
/// What is wrong with the backup is a finding in the verdict.
pub async fn restore_test(
    repository: &Repository,
    id: &BackupId,
    options: &RestoreTestOptions,
    progress: &dyn Progress,
) -> Result<Verdict> {
    let started = Instant::now();
    let catalogue = repository.catalogue().await?;
    let entry = super::select(&catalogue, &super::BackupSelector::Id(id.clone()))?;
    let manifest = repository.manifest(&entry.summary).await?;
    let total = entry.summary.plaintext_bytes;
    let phase = PhaseGuard::start(progress, Phase::RestoreTest, id.as_str(), Some(total));
    let counting = CountingProgress { progress, phase, left: AtomicU64::new(total) };
    let throwaway = throwaway_options(&manifest, options).await?;
    let tested = match &manifest.physical {
        None if options.replay.is_some() => {
            let text = format!("{id} is a {} backup: no log is replayed behind it", manifest.kind);
            return Err(PostgresError::InvalidOptions(text).into());
        }
        None => test_dump(repository, &manifest, throwaway, options, &counting).await,
        Some(physical) => test_cluster(repository, &manifest, physical, throwaway, options, &counting).await,
    };
    let Tested { restore_seconds, findings } = tested.map_err(|error| name_scratch(error, options))?;
    phase.finish();
    let now = repository.environment().clock.now();
    let seconds = started.elapsed().as_secs_f64();
    let mut verdict = Verdict::new(id.clone(), now, VerifyLevel::Restore, seconds, findings);
    verdict.restore_seconds = restore_seconds;
    verdict.replayed_to = options.replay.as_ref().map(|replay| replay.until);
    super::verify::record(repository, &mut verdict).await;
    Ok(verdict)
}

/// Passes on what the restore reports, and counts what it reads as the way of the whole test.
struct CountingProgress<'a> {
    progress: &'a dyn Progress,
    phase: PhaseGuard<'a>,
    /// Several jobs each read the head of the dump, which counts once.
    left: AtomicU64,
}

impl Progress for CountingProgress<'_> {
    fn report(&self, event: ProgressEvent<'_>) {
        self.progress.report(event);
        let ProgressEvent::Advanced { phase: Phase::Restore, bytes } = event else { return };
        let before =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(bytes)));
        let counted = before.unwrap_or(0).min(bytes);
        if counted > 0 {
            self.phase.advance(counted);
        }
    }
}

struct Tested {
    restore_seconds: Option<f64>,
    findings: Vec<String>,
}

/// Says how a throwaway server for a backup is made.
pub(super) async fn throwaway_options(manifest: &Manifest, options: &RestoreTestOptions) -> Result<ThrowawayOptions> {
    let folder = server_programs(&options.programs, "initdb", manifest.contents.server.major()).await?;
    let throwaway = ThrowawayOptions::new(folder, &options.scratch);
    Ok(match options.run_as {
        Some(account) => throwaway.run_as(account),
        None => throwaway,
    })
}

/// Restores a dump into a new cluster.
async fn test_dump(
    repository: &Repository,
    manifest: &Manifest,
    throwaway: ThrowawayOptions,
    options: &RestoreTestOptions,
    progress: &dyn Progress,
) -> Result<Tested> {
    let server = ThrowawayServer::start(throwaway).await?;
    let tested = test(repository, manifest, &server, options, progress).await;
    finish(server, tested, options).await
}

/// Stops the server. What its full disk explains says nothing of the backup.
async fn finish(server: ThrowawayServer, tested: Result<Tested>, options: &RestoreTestOptions) -> Result<Tested> {
    let is_well = tested.as_ref().is_ok_and(|tested| tested.findings.is_empty());
    let lacked_space = !is_well && server.lacked_space().await;
    let stopped = server.stop().await;
    if lacked_space {
        let source = tested.map_or_else(BoxError::from, |tested| tested.findings.join("; ").into());
        return Err(PostgresError::ScratchFull { scratch: options.scratch.clone(), source }.into());
    }
    let tested = tested?;
    stopped?;
    Ok(tested)
}

/// Names the scratch folder in the error of a full disk: a restore test writes nowhere else.
fn name_scratch(error: super::Error, options: &RestoreTestOptions) -> super::Error {
    match error {
        super::Error::Postgres(PostgresError::ScratchFull { .. }) => error,
        error if error.kind() == super::ErrorKind::NoSpace => {
            PostgresError::ScratchFull { scratch: options.scratch.clone(), source: error.into() }.into()
        }
        error => error,
    }
}

/// Restores a cluster's files, and starts a server on them.
async fn test_cluster(
    repository: &Repository,
    manifest: &Manifest,
    physical: &PhysicalContents,
    throwaway: ThrowawayOptions,
    options: &RestoreTestOptions,
    progress: &dyn Progress,
) -> Result<Tested> {
    let started = Instant::now();
    let server =
        match start_restored(repository, manifest, physical, throwaway, options.replay.as_ref(), progress).await {
            Ok(server) => server,
            Err(super::Error::Postgres(error)) => return refused(error),
            Err(error) => return Err(error),
        };
    let restore_seconds = Some(started.elapsed().as_secs_f64());
    let settings = settings(server.connection());
    let driver = LogicalDriver::new(settings.clone(), options.programs.clone());
    let databases = match options.replay {
        // By now there may be others.
        Some(_) => driver.inspector().list_databases().await.map_err(super::Error::from),
        None => Ok(physical.databases.clone()),
    };
    let tested = match databases {
        Ok(databases) => check_relations(&settings, &databases).await,
        Err(error) => Err(error),
    };
    let mut tested = tested.map(|findings| Tested { restore_seconds, findings });
    if let Ok(tested) = &mut tested {
        for check in &options.checks {
            tested.findings.extend(run_check(&driver, check).await);
        }
    }
    finish(server, tested, options).await
}

/// Finds the server programs of exactly this major version: a newer server would prove something else.
/// Returns the folder of a major version's programs, which `program` is one of.
pub(super) async fn server_programs(programs: &ClientPrograms, program: &'static str, major: u32) -> Result<PathBuf> {
    let found = programs.find(program, major).await?;
    match found.path.parent() {
        Some(folder) if found.major == major => Ok(folder.to_owned()),
        _ => Err(PostgresError::NoClientProgram {
            program,
            wanted: major,
            found: found.major.to_string(),
            searched: found.path.display().to_string(),
        }
        .into()),
    }
}

/// Returns how a throwaway server is reached.
pub(super) fn settings(connection: &ThrowawayConnection) -> ConnectionSettings {
    ConnectionSettings::new(connection.socket_folder.display().to_string())
        .port(connection.port)
        .user(&connection.user)
        .database("postgres")
}

async fn test(
    repository: &Repository,
    manifest: &Manifest,
    server: &ThrowawayServer,
    options: &RestoreTestOptions,
    progress: &dyn Progress,
) -> Result<Tested> {
    let driver = throwaway_driver(manifest, server.connection(), options);
    driver.inspector().create_roles(&options.roles).await?;
    let started = Instant::now();
    match driver.restore(&repository.dump_source(manifest), &manifest.contents, progress).await {
        Ok(_) => {}
        Err(error) => return refused(error),
    }
    let restore_seconds = Some(started.elapsed().as_secs_f64());
    let mut findings = Vec::new();
    let comparable = manifest.origin.as_ref().is_none_or(|origin| origin.fingerprinted);
    for database in manifest.contents.databases.iter().filter(|_| comparable) {
        let found = driver.fingerprint_database(&database.database).await?;
        if let Err(difference) = compare_tables(&database.tables, &found) {
            findings.push(format!("{}: {difference}", database.database));
        }
        findings.extend(compare_figures(&driver, database).await?);
    }
    for check in &options.checks {
        findings.extend(run_check(&driver, check).await);
    }
    Ok(Tested { restore_seconds, findings })
}

/// Restores a dump into a throwaway server.
pub(super) fn throwaway_driver(
    manifest: &Manifest,
    connection: &ThrowawayConnection,
    options: &RestoreTestOptions,
) -> LogicalDriver {
    let has_roles = manifest.streams.iter().any(|stream| stream.info.kind == StreamKind::Globals);
    let wanted = RestoreOptions::new().jobs(options.jobs).no_tablespaces(true);
    let wanted = wanted.restore_globals(has_roles).no_owner(!has_roles).no_privileges(!has_roles);
    let driver = LogicalDriver::new(settings(connection), options.programs.clone());
    driver.restore_options(wanted).on_throwaway_server()
}

/// Asks for the figures that were told at backup time.
async fn compare_figures(driver: &LogicalDriver, database: &DatabaseContents) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for recorded in database.figures.iter().filter(|figure| figure.failed.is_none()) {
        let name = &recorded.name;
        let found = driver.inspector().read_figure(&database.database, name, &recorded.query).await?;
        if let Some(reason) = &found.failed {
            // By a setting of the role, say, that is not there. It tells nothing of the data.
            tracing::warn!(figure = name, reason, "a figure cannot be asked of what was restored");
        } else if !found.is_as(recorded) {
            let [was, is] = [recorded, &found].map(|figure| figure.value.clone().unwrap_or_else(|| "null".to_owned()));
            findings.push(format!("{}: the figure {name} is {is}, and was {was} at backup time", database.database));
        }
    }
    Ok(findings)
}

/// What the backup's own bytes cause is a finding; what hinders the work is an error.
fn refused(error: PostgresError) -> Result<Tested> {
    let error = super::Error::from(error);
    match error.kind() {
        super::ErrorKind::Integrity | super::ErrorKind::Database => {
            Ok(Tested { restore_seconds: None, findings: vec![crate::causes::chain(&error)] })
        }
        _ => Err(error),
    }
}

async fn run_check(driver: &LogicalDriver, check: &SqlCheck) -> Option<String> {
    match driver.inspector().run_check(&check.database, &check.query).await {
        Ok(CheckOutcome { passed: true, .. }) => None,
        Ok(outcome) => Some(format!("check {:?} failed: {}", check.name, outcome.detail)),
        Err(error) => Some(format!("check {:?} failed: {}", check.name, crate::causes::chain(&error))),
    }
}
