//! Makes a backup: the roles first, then each database in a snapshot of its own.

use std::ffi::OsString;
use std::time::Duration;

use super::super::archive::ArchiveContents;
use super::super::connection::Client;
use super::super::programs::{ClientProgram, Invocation};
use super::super::{
    BackupContents, BackupSink, ConnectionSettings, DatabaseContents, FigureValue, PostgresError, Scope, ServerInfo,
    StreamKind, TableContents, inspect,
};
use super::options::DatabaseSelection;
use super::parallel::Parallel;
use super::pump::ArchivePump;
use super::snapshot::Snapshot;
use super::{LogicalDriver, estimate, properties, pump};
use crate::progress::{NoProgress, Phase, PhaseGuard, Progress};

/// Both make the text of values the same on every server, so that fingerprints can be compared.
/// pg_dump itself sets `DateStyle`, `IntervalStyle` and `extra_float_digits`.
const SESSION_OPTIONS: &str = "-c bytea_output=hex";
const TIME_ZONE: &str = "UTC";

/// Backs up what the driver's options ask for.
pub(super) async fn back_up(
    driver: &LogicalDriver,
    sink: &mut dyn BackupSink,
    progress: &dyn Progress,
) -> Result<BackupContents, PostgresError> {
    let session = driver.settings.connect().await?;
    let server = inspect::probe(&session).await?;
    let databases = choose_databases(driver, &session).await?;
    let program = driver.programs.find("pg_dump", server.major()).await?;
    let mut contents = BackupContents::new(server, driver.dump.scope, program.major, Vec::new());
    let mut stream = 0;
    if driver.dump.globals && driver.dump.scope != Scope::Data {
        dump_globals(driver, &session, &mut contents, sink, progress).await?;
        stream += 1;
    }
    session.close().await;
    for database in databases {
        let dumped = dump_database(driver, &program, &contents.server, &database, stream, sink, progress).await?;
        let failed = dumped.figures.iter().filter_map(|figure| Some((&figure.name, figure.failed.as_ref()?)));
        for (name, reason) in failed {
            tracing::warn!(figure = name, reason, "a figure could not be told");
            contents.warnings.push(format!("the figure {name} could not be told: {reason}"));
        }
        contents.databases.push(dumped);
        stream += 1;
    }
    Ok(contents)
}

/// Fingerprints the tables of a database by a dump of its data that nobody keeps.
pub(super) async fn fingerprint(driver: &LogicalDriver, database: &str) -> Result<Vec<TableContents>, PostgresError> {
    let settings = driver.settings.clone().database(database);
    let server = driver.inspector().probe().await?;
    let program = driver.programs.find("pg_dump", server.major()).await?;
    let snapshot = Snapshot::take(&settings, &server, driver.dump.deferrable).await?;
    let dump = pg_dump(driver, &program, &settings, snapshot.id()).argument("--data-only");
    let guard = PhaseGuard::start(&NoProgress, Phase::Verify, database, None);
    let archive = pump::archive(dump.spawn(false)?, &mut pump::Nowhere, &guard).await?;
    snapshot.end().await;
    Ok(archive.tables)
}

async fn choose_databases(driver: &LogicalDriver, session: &Client) -> Result<Vec<String>, PostgresError> {
    let names = match &driver.dump.databases {
        DatabaseSelection::All => inspect::list_databases(session).await?,
        DatabaseSelection::Named(names) => names.clone(),
    };
    if names.is_empty() {
        return Err(PostgresError::InvalidOptions("there is no database to back up".to_owned()));
    }
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            return Err(PostgresError::InvalidOptions(format!("database {name} is named twice")));
        }
        if !inspect::database_exists(session, name).await? {
            let server = session.server().to_owned();
            return Err(PostgresError::NoSuchDatabase { server, database: name.clone() });
        }
    }
    Ok(names)
}

async fn dump_globals(
    driver: &LogicalDriver,
    session: &Client,
    contents: &mut BackupContents,
    sink: &mut dyn BackupSink,
    progress: &dyn Progress,
) -> Result<(), PostgresError> {
    let program = driver.programs.find("pg_dumpall", contents.server.major()).await?;
    let mut dump = driver
        .programs
        .invoke(&program.path)
        .connection(&driver.settings)
        .arguments(["--globals-only", "--no-password"])
        .argument(format!("--database={}", driver.settings.conninfo()));
    if !may_read_passwords(session).await? {
        dump = dump.argument("--no-role-passwords");
        contents.warnings.push("the roles are without their passwords: pg_authid may not be read".to_owned());
    }
    let guard = PhaseGuard::start(progress, Phase::Backup, "globals", None);
    let running = dump.spawn(false)?;
    sink.begin(&StreamKind::Globals).await.map_err(PostgresError::Sink)?;
    pump::text(running, sink, &guard).await?;
    sink.end().await.map_err(PostgresError::Sink)?;
    guard.finish();
    Ok(())
}

async fn may_read_passwords(session: &Client) -> Result<bool, PostgresError> {
    let row = session
        .query_one("SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')", &[])
        .await
        .map_err(session.query_error("ask for a privilege"))?;
    Ok(row.get(0))
}

async fn dump_database(
    driver: &LogicalDriver,
    program: &ClientProgram,
    server: &ServerInfo,
    database: &str,
    stream: u32,
    sink: &mut dyn BackupSink,
    progress: &dyn Progress,
) -> Result<DatabaseContents, PostgresError> {
    let settings = driver.settings.clone().database(database);
    let snapshot = Snapshot::take(&settings, server, driver.dump.deferrable).await?;
    let properties = properties::read(snapshot.client(), server.major()).await?;
    let estimate = match driver.dump.is_whole() {
        true => estimate::dump_bytes(snapshot.client()).await,
        false => None,
    };
    let figures = figures(driver, database, snapshot.client()).await?;
    let parallel = Parallel::prepare(driver, &settings, server, &snapshot).await?;
    let guard = PhaseGuard::start(progress, Phase::Backup, database, estimate);
    let dump = pg_dump(driver, program, &settings, snapshot.id()).arguments(scope(driver.dump.scope));
    let kind = StreamKind::Database { database: database.to_owned() };
    sink.begin(&kind).await.map_err(PostgresError::Sink)?;
    let (entries, tables) = match parallel {
        None => {
            let ArchiveContents { head, tables, .. } = pump::archive(dump.spawn(false)?, sink, &guard).await?;
            (head.entries.len(), tables)
        }
        Some(parallel) => dump_in_parallel(dump, parallel, sink, &guard).await?,
    };
    sink.end().await.map_err(PostgresError::Sink)?;
    guard.finish();
    let mut contents = DatabaseContents::new(database, stream, entries as u64, tables);
    contents.snapshot = snapshot.id().map(str::to_owned);
    contents.properties = properties;
    contents.figures = figures;
    snapshot.end().await;
    Ok(contents)
}

/// Asks for the figures of a database, in its snapshot.
async fn figures(driver: &LogicalDriver, database: &str, client: &Client) -> Result<Vec<FigureValue>, PostgresError> {
    let mut told = Vec::new();
    // Of a part of a database they would say nothing that a restore of it can be measured by.
    if !driver.dump.is_whole() || driver.dump.scope != Scope::Full {
        return Ok(told);
    }
    for figure in driver.dump.figures.iter().filter(|figure| figure.database == database) {
        let value = FigureValue::read(client, &figure.name, &figure.query).await;
        told.push(value.map_err(client.query_error("ask for a figure"))?);
    }
    Ok(told)
}

/// Returns the number of the archive's entries, and its tables.
async fn dump_in_parallel(
    dump: Invocation,
    parallel: Parallel,
    sink: &mut dyn BackupSink,
    guard: &PhaseGuard<'_>,
) -> Result<(usize, Vec<TableContents>), PostgresError> {
    // The other connections are in UTF-8 too.
    let dump = dump.arguments(parallel.exclusions()).variable("PGCLIENTENCODING", "UTF8");
    let archive = ArchivePump::start(dump.spawn(false)?)?;
    let ((archive, head, rest), readers) = tokio::try_join!(archive.head(guard), parallel.connect())?;
    let head = parallel.splice(&head)?;
    for bytes in [head.bytes.clone(), rest] {
        sink.write(bytes).await.map_err(PostgresError::Sink)?;
    }
    let mut copying = parallel.copy(readers, &head, sink).await?;
    let (archive, copied) = match tokio::try_join!(archive.rest(sink, guard), copying.finish(guard)) {
        Ok(ended) => ended,
        Err(error) => {
            copying.stop().await;
            return Err(error);
        }
    };
    let mut tables = archive.tables;
    for table in &mut tables {
        table.offset += head.growth;
    }
    tables.extend(copied.contents(archive.length + head.growth));
    Ok((archive.head.entries.len() + head.added.len(), tables))
}

/// Prepares pg_dump for a whole database, uncompressed, so that its rows can be seen as they pass.
fn pg_dump(
    driver: &LogicalDriver,
    program: &ClientProgram,
    settings: &ConnectionSettings,
    snapshot: Option<&str>,
) -> Invocation {
    let mut dump = driver
        .programs
        .invoke(&program.path)
        .connection(settings)
        .variable("PGTZ", TIME_ZONE)
        .variable("PGOPTIONS", session_options(settings))
        .arguments(["--format=custom", "--compress=0", "--no-password"])
        .argument(format!("--dbname={}", settings.conninfo()))
        .arguments(driver.dump.filter_arguments());
    if driver.dump.includes_by_pattern() {
        dump = dump.argument("--strict-names");
    }
    if let Some(timeout) = driver.dump.lock_timeout {
        dump = dump.argument(format!("--lock-wait-timeout={}", milliseconds(timeout)));
    }
    match snapshot {
        Some(id) => dump.argument(format!("--snapshot={id}")),
        None => dump,
    }
}

fn session_options(settings: &ConnectionSettings) -> OsString {
    match settings.session_options() {
        Some(options) => format!("{options} {SESSION_OPTIONS}").into(),
        None => SESSION_OPTIONS.into(),
    }
}

/// 0 would mean no limit at all.
pub(super) fn milliseconds(timeout: Duration) -> u128 {
    timeout.as_millis().clamp(1, i32::MAX as u128)
}

fn scope(scope: Scope) -> Option<&'static str> {
    match scope {
        Scope::Full => None,
        Scope::Schema => Some("--schema-only"),
        Scope::Data => Some("--data-only"),
    }
}
