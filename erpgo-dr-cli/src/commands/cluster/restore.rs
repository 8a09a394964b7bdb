//! `cluster restore`: brings a cluster's files back, to be started at any moment that the WAL reaches.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, ValueEnum};
use erpgo_dr_core::Repository;
use erpgo_dr_core::ops::physical::{
    ClusterDifference, ClusterRestoreReport, ClusterStartReport, ClusterTarget, RecoveredState, RecoveryAction,
    RecoveryOptions, RecoveryTarget, RecoveryTimeline, StartOptions, compare_cluster, restore_and_start_cluster,
    restore_cluster, select_cluster,
};
use erpgo_dr_core::postgres::throwaway::RunAs;
use erpgo_dr_core::types::{BackupId, Lsn, TimelineId};
use serde::Serialize;

use crate::commands::parse_span;
use crate::context::{Access, Context, WalCommand, find};
use crate::error::{self, CliError};
use crate::output::{Report, bytes, seconds};

/// Restore a cluster into a folder, and set how far it replays when it is started
#[derive(Debug, Args)]
pub(super) struct ClusterRestoreArgs {
    /// The backup: its identifier or the beginning of one [default: the newest that is not beyond the target]
    #[arg(value_name = "BACKUP")]
    backup: Option<String>,
    /// The new data directory: an empty folder, or one that does not exist; with --delta the old one
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,
    /// Restore over the same cluster, or go on with a restore that broke off: only pages that differ are written, and what the
    /// backup does not have is removed
    #[arg(long)]
    delta: bool,
    /// With --delta: also where the folder has WAL that was never archived, and is lost then
    #[arg(long, requires = "delta")]
    discard_wal: bool,
    /// Write a backup_manifest, for pg_verifybackup; for that all files are read back
    #[arg(long)]
    backup_manifest: bool,
    /// Where a tablespace goes; may be given several times [default: where it was]
    #[arg(long, value_name = "OID=FOLDER", value_parser = parse_tablespace)]
    tablespace: Vec<(u32, PathBuf)>,
    /// Restore the contents of this database, and not those of others; may be given several times
    ///
    /// What all databases share comes along, as do postgres and the templates. The others become shells without contents, which take up no
    /// space: drop them when the server has recovered.
    #[arg(long, value_name = "NAME", conflicts_with = "delta")]
    database: Vec<String>,
    /// The account that owns the files [default: postgres, for root]
    #[arg(long, value_name = "USER")]
    owner: Option<String>,

    /// Replay to just before the first commit after this moment: 2026-11-24T03:00:00Z
    #[arg(long, value_name = "TIME", group = "target", help_heading = "Recovery")]
    target_time: Option<DateTime<Utc>>,
    /// Replay to this position
    #[arg(long, value_name = "LSN", group = "target", help_heading = "Recovery")]
    target_lsn: Option<Lsn>,
    /// Replay to the commit of this transaction
    #[arg(long, value_name = "XID", group = "target", help_heading = "Recovery")]
    target_xid: Option<u32>,
    /// Replay to the point of this name, which pg_create_restore_point() made
    #[arg(long, value_name = "NAME", group = "target", help_heading = "Recovery")]
    target_name: Option<String>,
    /// Replay no further than to the end of the backup
    #[arg(long, group = "target", help_heading = "Recovery")]
    immediate: bool,
    /// Stop just before the time, position or transaction, not just behind it
    #[arg(long, requires = "target", conflicts_with_all = ["immediate", "target_name"], help_heading = "Recovery")]
    exclusive: bool,
    /// The timeline that is followed: `latest`, `current` (the backup's) or a number
    #[arg(long, value_name = "TIMELINE", value_parser = parse_timeline, default_value = "latest", help_heading = "Recovery")]
    timeline: RecoveryTimeline,
    /// What the server does at its target
    #[arg(long, value_name = "ACTION", default_value = "promote", help_heading = "Recovery")]
    action: Action,
    /// PostgreSQL's restore_command, which fetches WAL [default: this program's `wal fetch`]
    #[arg(long, value_name = "COMMAND", help_heading = "Recovery")]
    restore_command: Option<String>,
    /// Take only the WAL that lies in the backup, and none from the archive
    #[arg(long, conflicts_with = "restore_command", help_heading = "Recovery")]
    no_archive: bool,
    /// Let the server archive its WAL as the old one did: only when the old one is gone for good
    #[arg(long, help_heading = "Recovery")]
    keep_archiving: bool,

    /// Start the server, wait until it has recovered, and measure how long that took and what is lost; it runs on then
    #[arg(long, help_heading = "Start")]
    start: bool,
    /// With --start: how long the end of the recovery is waited for: 90s, 30m, 12h
    #[arg(long, value_name = "SPAN", requires = "start", default_value = "24h", value_parser = parse_span, help_heading = "Start")]
    start_timeout: Duration,
    /// With --start: a parameter on the server's command line, over its configuration: port=5433; may be given several times
    #[arg(long, value_name = "NAME=VALUE", requires = "start", value_parser = parse_setting, help_heading = "Start")]
    server_setting: Vec<(String, String)>,
    /// With --start: where the server writes until its configuration says otherwise [default: erpgo-dr.log in the data directory]
    #[arg(long, value_name = "FILE", requires = "start", help_heading = "Start")]
    server_log: Option<PathBuf>,

    /// Say what would be done, and do nothing
    #[arg(long, conflicts_with = "start")]
    dry_run: bool,
}

/// What the server does at its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// Begin a new timeline and take writes
    Promote,
    /// Wait, and answer queries
    Pause,
    /// Shut down
    Shutdown,
}

#[derive(Serialize)]
struct Planned {
    dry_run: bool,
    backup: BackupId,
    data: PathBuf,
    target: RecoveryTarget,
    restore_command: Option<String>,
    /// What restoring over the folder would change.
    difference: Option<ClusterDifference>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Restored {
    #[serde(flatten)]
    report: ClusterRestoreReport,
    warnings: Vec<String>,
}

impl ClusterRestoreArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let id = self.select(&repository).await?;
        let command = self.wal_command(context)?;
        let target = self.target()?;
        let warnings = self.warnings(&target, command.as_ref())?;
        warnings.iter().for_each(|warning| context.output.warn(warning));
        let recovery = self.recovery(command.map(|command| command.line));
        if self.dry_run {
            return self.planned(context, &repository, id, &recovery, warnings).await;
        }
        let progress = context.progress();
        let report = match self.start {
            true => {
                let options = self.start_options(context)?;
                restore_and_start_cluster(&repository, &id, &target, &recovery, &options, progress).await?
            }
            false => restore_cluster(&repository, &id, &target, &recovery, progress).await?,
        };
        let text = text(&report);
        Report::new(&Restored { report, warnings }, text, true)
    }

    /// What may go wrong later, and can be said now.
    fn warnings(&self, target: &ClusterTarget, command: Option<&WalCommand>) -> Result<Vec<String>, CliError> {
        let mut warnings = match (command, target.account()?) {
            (Some(command), Some(account)) => command.warnings(account),
            _ => Vec::new(),
        };
        if self.backup.is_none() && (self.target_xid.is_some() || self.target_name.is_some()) {
            warnings.push(
                "where a transaction or a name lies is not known beforehand: the newest backup is taken, which may be beyond it; \
                 if it is not reached, name an earlier BACKUP"
                    .to_owned(),
            );
        }
        Ok(warnings)
    }

    fn start_options(&self, context: &Context) -> Result<StartOptions, CliError> {
        let log = self.server_log.as_deref().map(std::path::absolute).transpose();
        let log = log.map_err(|source| error::io("resolve the server's log", source))?;
        Ok(StartOptions::new(context.programs())
            .with_timeout(self.start_timeout)
            .with_settings(self.server_setting.clone())
            .with_log(log)
            .with_password(context.server_password())
            .with_environment(context.wal_environment()))
    }

    /// Returns this program's `wal fetch`, unless something else was asked for.
    fn wal_command(&self, context: &Context) -> Result<Option<WalCommand>, CliError> {
        match self.restore_command.is_some() || self.no_archive {
            true => Ok(None),
            false => Ok(Some(context.wal_fetch_command()?)),
        }
    }

    async fn select(&self, repository: &Repository) -> Result<BackupId, CliError> {
        let mut catalogue = repository.catalogue().await?;
        if self.backup.as_deref().is_some_and(|named| named.starts_with("latest")) {
            catalogue.entries.retain(|entry| entry.summary.is_physical());
        }
        let entry = match &self.backup {
            Some(text) => find(&catalogue, text)?,
            None => select_cluster(repository, &catalogue, &self.recovery_target()).await?,
        };
        Ok(entry.id().clone())
    }

    fn target(&self) -> Result<ClusterTarget, CliError> {
        let owner = self.owner.as_deref().map(RunAs::from_user_name).transpose()?;
        let target = ClusterTarget::new(&self.data_dir)
            .with_delta(self.delta)
            .with_discard_wal(self.discard_wal)
            .with_databases(self.database.clone())
            .with_owner(owner)
            .with_backup_manifest(self.backup_manifest);
        Ok(self.tablespace.iter().fold(target, |target, (oid, folder)| target.with_tablespace(*oid, folder)))
    }

    fn recovery_target(&self) -> RecoveryTarget {
        let named = self.target_name.clone().map(RecoveryTarget::Name);
        let chosen = self.target_time.map(RecoveryTarget::Time).or(self.target_lsn.map(RecoveryTarget::Lsn));
        let chosen = chosen.or(self.target_xid.map(RecoveryTarget::Xid)).or(named);
        let immediate = self.immediate.then_some(RecoveryTarget::Immediate);
        chosen.or(immediate).unwrap_or_default()
    }

    fn recovery(&self, wal_fetch: Option<String>) -> RecoveryOptions {
        let action = match self.action {
            Action::Promote => RecoveryAction::Promote,
            Action::Pause => RecoveryAction::Pause,
            Action::Shutdown => RecoveryAction::Shutdown,
        };
        RecoveryOptions::default()
            .with_target(self.recovery_target())
            .with_inclusive(!self.exclusive)
            .with_timeline(self.timeline)
            .with_action(action)
            .with_restore_command(self.restore_command.clone().or(wal_fetch))
            .with_archiving(self.keep_archiving)
    }

    async fn planned(
        &self,
        context: &Context,
        repository: &Repository,
        backup: BackupId,
        recovery: &RecoveryOptions,
        warnings: Vec<String>,
    ) -> Result<Report, CliError> {
        let difference = match self.delta {
            true => Some(compare_cluster(repository, &backup, &self.target()?, context.progress()).await?),
            false => None,
        };
        let planned = Planned {
            dry_run: true,
            backup,
            data: self.data_dir.clone(),
            target: recovery.target.clone(),
            restore_command: recovery.restore_command.clone(),
            difference,
            warnings,
        };
        let command = recovery.restore_command.as_deref().unwrap_or("none: only the WAL in the backup");
        let mut text =
            format!("would restore {} into {}\nWAL comes from: {command}\n", planned.backup, planned.data.display());
        if let Some(difference) = &planned.difference {
            let (files, size) = (difference.files, bytes(difference.bytes));
            text.push_str(&format!("would write {size} to {files} files, and remove {}:\n", difference.removed.len()));
            difference.removed.iter().for_each(|path| text.push_str(&format!("  {}\n", path.display())));
        }
        Report::new(&planned, text, true)
    }
}

fn text(report: &ClusterRestoreReport) -> String {
    let mut text = format!(
        "restored {}: {} files, {} ({} written, {} removed) in {}, into {}\n",
        report.backup,
        report.files,
        bytes(report.bytes),
        bytes(report.written_bytes),
        report.removed,
        seconds(report.seconds),
        report.data.display(),
    );
    if !report.empty_databases.is_empty() {
        text.push_str(&format!("without contents, to be dropped: {}\n", report.empty_databases.join(", ")));
    }
    match &report.started {
        None => text.push_str(&format!(
            "start it with PostgreSQL {}: it replays from {} and is consistent at {}\n",
            report.server_version, report.start_lsn, report.stop_lsn,
        )),
        Some(started) => text.push_str(&started_text(report, started)),
    }
    text
}

fn started_text(report: &ClusterRestoreReport, started: &ClusterStartReport) -> String {
    let timeline = started.timeline.map_or_else(String::new, |timeline| format!(" on timeline {timeline}"));
    let mut text = match (started.state, &started.host, started.port) {
        (RecoveredState::ShutDown, _, _) => format!("the server has shut down at its target{timeline}\n"),
        (state, host, port) => {
            let state = if state == RecoveredState::Paused { "waits at its target" } else { "is promoted" };
            let (host, port) = (host.as_deref().unwrap_or("?"), port.unwrap_or_default());
            format!("the server {state}{timeline}, and answers at {host}, port {port}\n")
        }
    };
    text.push_str(&format!(
        "RTO {}: restore {}, start {}, replay {}\n",
        seconds(started.rto_seconds),
        seconds(report.seconds),
        seconds(started.start_seconds),
        seconds(started.replay_seconds),
    ));
    text.push_str(&format!("RPO: {}\n", lost_text(started)));
    for warning in &started.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    if started.state == RecoveredState::Paused {
        text.push_str("go on with: SELECT pg_wal_replay_resume()\n");
    }
    if let Some(stop) = &started.stop_command {
        text.push_str(&format!("stop it with: {stop}\nits log: {}\n", started.log.display()));
    }
    text
}

/// Says how far replay came, and what lies beyond.
fn lost_text(started: &ClusterStartReport) -> String {
    let mut parts = vec![match (started.replayed_at, started.replayed_lsn) {
        (Some(at), Some(lsn)) => {
            format!("the last transaction is of {}, at {lsn}", at.to_rfc3339_opts(SecondsFormat::Micros, true))
        }
        (None, Some(lsn)) => format!("replayed to {lsn}"),
        _ => "not known".to_owned(),
    }];
    if let Some(behind) = started.behind_target_seconds {
        parts.push(format!("{} before the target time, with no other in between", seconds(behind)));
    }
    if let (Some(archive), Some(left)) = (&started.archive, started.behind_archive_bytes) {
        parts.push(format!("the archive ends at {} ({}), {} further", archive.end_lsn, archive.segment, bytes(left)));
    }
    parts.join("; ")
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn parse_tablespace(text: &str) -> Result<(u32, PathBuf), String> {
    let expected = || "expected OID=FOLDER".to_owned();
    let (oid, folder) = text.split_once('=').ok_or_else(expected)?;
    Ok((oid.parse().map_err(|_| expected())?, PathBuf::from(folder)))
}

fn parse_timeline(text: &str) -> Result<RecoveryTimeline, String> {
    match text {
        "latest" => Ok(RecoveryTimeline::Latest),
        "current" => Ok(RecoveryTimeline::Current),
        number => {
            let id = number.parse().ok().and_then(TimelineId::new);
            id.map(RecoveryTimeline::Id).ok_or_else(|| "expected `latest`, `current` or a number from 1 on".to_owned())
        }
    }
}
