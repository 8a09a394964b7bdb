//! The commands, one file each: parse, call the library, and make a report of what it returns.

mod agent;
mod backup;
mod bench;
mod bisect;
mod check;
mod cluster;
mod completions;
mod config;
mod decrypt;
mod demo;
mod doctor;
mod drill;
mod encrypt;
mod evidence;
mod fleet;
mod ha;
mod history;
mod hold;
mod import;
mod init;
mod key;
mod legacy;
mod list;
mod man;
mod monitor;
mod prune;
mod repair;
mod restore;
mod restore_tests;
mod runbook;
mod show;
mod status;
mod thaw;
mod topology;
mod verify;
mod wal;

use std::path::Path;
use std::time::Duration;

use clap::Subcommand;
use erpgo_dr_core::ops::SqlCheck;
use erpgo_dr_core::postgres::Scope;
use erpgo_dr_core::retention::RetentionSettings;

use crate::context::Context;
use crate::error::{self, CliError};
use crate::output::Report;

pub(crate) use wal::FETCH as WAL_FETCH;

/// What the tool does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::InitArgs),
    Backup(backup::BackupArgs),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Verify(verify::VerifyArgs),
    Check(check::CheckArgs),
    Bisect(Box<bisect::BisectArgs>),
    Restore(Box<restore::RestoreArgs>),
    Cluster(cluster::ClusterArgs),
    Prune(prune::PruneArgs),
    Status(status::StatusArgs),
    Metrics(monitor::MetricsArgs),
    Report(monitor::ReportArgs),
    Serve(monitor::ServeArgs),
    Hold(hold::HoldArgs),
    Key(key::KeyArgs),
    Repair(repair::RepairArgs),
    Thaw(thaw::ThawArgs),
    Topology(topology::TopologyArgs),
    Ha(Box<ha::HaArgs>),
    Wal(wal::WalArgs),
    Runbook(runbook::RunbookArgs),
    Evidence(evidence::EvidenceArgs),
    Drill(Box<drill::DrillArgs>),
    Agent(agent::AgentArgs),
    Fleet(fleet::FleetArgs),
    History(history::HistoryArgs),
    Config(config::ConfigArgs),
    Import(import::ImportArgs),
    Decrypt(decrypt::DecryptArgs),
    Encrypt(encrypt::EncryptArgs),
    Doctor(doctor::DoctorArgs),
    Bench(bench::BenchArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

impl Command {
    /// Returns the name of the command, as it appears in JSON.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Backup(_) => "backup",
            Self::List(_) => "list",
            Self::Show(_) => "show",
            Self::Verify(_) => "verify",
            Self::Check(arguments) => arguments.name(),
            Self::Bisect(_) => "bisect",
            Self::Restore(_) => "restore",
            Self::Cluster(arguments) => arguments.name(),
            Self::Prune(_) => "prune",
            Self::Status(_) => "status",
            Self::Metrics(_) => "metrics",
            Self::Report(_) => "report",
            Self::Serve(_) => "serve",
            Self::Hold(arguments) => arguments.name(),
            Self::Key(arguments) => arguments.name(),
            Self::Repair(_) => "repair",
            Self::Thaw(_) => "thaw",
            Self::Topology(_) => "topology",
            Self::Ha(arguments) => arguments.name(),
            Self::Wal(arguments) => arguments.name(),
            Self::Runbook(arguments) => arguments.name(),
            Self::Evidence(arguments) => arguments.name(),
            Self::Drill(arguments) => arguments.name(),
            Self::Agent(_) => "agent",
            Self::Fleet(arguments) => arguments.name(),
            Self::History(_) => "history",
            Self::Config(arguments) => arguments.name(),
            Self::Import(_) => "import",
            Self::Decrypt(_) => "decrypt",
            Self::Encrypt(_) => "encrypt",
            Self::Doctor(_) => "doctor",
            Self::Bench(_) => "bench",
            Self::Demo(_) => "demo",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }

    /// Returns whether a configuration that cannot be read is a finding of the command, and not its end.
    pub(crate) fn looks_for_faults(&self) -> bool {
        matches!(self, Self::Doctor(_) | Self::Config(_))
    }

    /// Returns whether it runs for long, and says in its log what it does.
    pub(crate) fn is_service(&self) -> bool {
        match self {
            Self::Agent(_) => true,
            Self::Fleet(arguments) => arguments.is_service(),
            _ => false,
        }
    }

    /// Runs the command.
    pub(crate) async fn run(self, context: &Context) -> Result<Report, CliError> {
        match self {
            Self::Init(arguments) => arguments.run(context).await,
            Self::Backup(arguments) => arguments.run(context).await,
            Self::List(arguments) => arguments.run(context).await,
            Self::Show(arguments) => arguments.run(context).await,
            Self::Verify(arguments) => arguments.run(context).await,
            Self::Check(arguments) => arguments.run(context).await,
            Self::Bisect(arguments) => arguments.run(context).await,
            Self::Restore(arguments) => arguments.run(context).await,
            Self::Cluster(arguments) => arguments.run(context).await,
            Self::Prune(arguments) => arguments.run(context).await,
            Self::Status(arguments) => arguments.run(context).await,
            Self::Metrics(arguments) => arguments.run(context).await,
            Self::Report(arguments) => arguments.run(context).await,
            Self::Serve(arguments) => arguments.run(context).await,
            Self::Hold(arguments) => arguments.run(context).await,
            Self::Key(arguments) => arguments.run(context).await,
            Self::Repair(arguments) => arguments.run(context).await,
            Self::Thaw(arguments) => arguments.run(context).await,
            Self::Topology(arguments) => arguments.run(context).await,
            Self::Ha(arguments) => arguments.run(context).await,
            Self::Wal(arguments) => arguments.run(context).await,
            Self::Runbook(arguments) => arguments.run(context).await,
            Self::Evidence(arguments) => arguments.run(context).await,
            Self::Drill(arguments) => arguments.run(context).await,
            Self::Agent(arguments) => arguments.run(context).await,
            Self::Fleet(arguments) => arguments.run(context).await,
            Self::History(arguments) => arguments.run(context).await,
            Self::Config(arguments) => arguments.run(context),
            Self::Import(arguments) => arguments.run(context).await,
            Self::Decrypt(arguments) => arguments.run(context).await,
            Self::Encrypt(arguments) => arguments.run(context).await,
            Self::Doctor(arguments) => arguments.run(context).await,
            Self::Bench(arguments) => arguments.run(context).await,
            Self::Demo(arguments) => arguments.run(context).await,
            Self::Completions(arguments) => arguments.run(context),
            Self::Man(arguments) => arguments.run(context),
        }
    }
}

/// Parses a span of time: `90s`, `30m`, `12h`.
fn parse_span(text: &str) -> Result<Duration, String> {
    let span = RetentionSettings::parse_duration(text).map_err(|error| error.to_string())?;
    span.to_std().map_err(|error| error.to_string())
}

/// Parses `NAME:DATABASE:SQL`.
fn parse_check(text: &str) -> Result<SqlCheck, String> {
    let mut parts = text.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(database), Some(query)) if !query.trim().is_empty() => {
            Ok(SqlCheck { name: name.to_owned(), database: database.to_owned(), query: query.to_owned() })
        }
        _ => Err("expected NAME:DATABASE:SQL".to_owned()),
    }
}

/// Parses `full`, `schema` or `data`.
fn scope_parser() -> impl clap::builder::TypedValueParser<Value = Scope> {
    use clap::builder::TypedValueParser as _;
    clap::builder::PossibleValuesParser::new(["full", "schema", "data"]).map(|text| match text.as_str() {
        "schema" => Scope::Schema,
        "data" => Scope::Data,
        _ => Scope::Full,
    })
}

/// Returns the word for a scope.
fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Full => "full",
        Scope::Schema => "schema",
        Scope::Data => "data",
    }
}

/// Refuses to write over a file, before any work is done for it.
fn refuse_existing(path: &Path, force: bool) -> Result<(), CliError> {
    match !force && path.symlink_metadata().is_ok() {
        true => Err(exists(path)),
        false => Ok(()),
    }
}

fn exists(path: &Path) -> CliError {
    let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
    error::io(format!("write {}: it is there already, and --force would replace it", path.display()), source)
}

/// Writes a file that only its owner can read, under its name only when it is whole. Without `force` it replaces none.
async fn write_new_file<F>(path: &Path, force: bool, write: F) -> Result<u64, CliError>
where
    F: AsyncFnOnce(&mut tokio::fs::File) -> Result<u64, CliError>,
{
    let action = || format!("write {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Mode 0600, and removed when dropped.
    let temporary = tempfile::NamedTempFile::new_in(folder).map_err(|source| error::io(action(), source))?;
    let handle = temporary.reopen().map_err(|source| error::io(action(), source))?;
    let mut file = tokio::fs::File::from_std(handle);
    let written = write(&mut file).await?;
    file.sync_all().await.map_err(|source| error::io(action(), source))?;
    let named = if force { temporary.persist(path) } else { temporary.persist_noclobber(path) };
    named.map_err(|failure| match failure.error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => error::io(action(), failure.error),
    })?;
    let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| error::io(action(), source))?;
    Ok(written)
}
