//! `cluster restore`: brings a cluster's files back, to be started at any moment that the WAL reaches.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use erpgo_dr_core::Repository;
use erpgo_dr_core::ops::physical::{
    ClusterDifference, ClusterRestoreReport, ClusterTarget, RecoveryAction, RecoveryOptions, RecoveryTarget,
    RecoveryTimeline, compare_cluster, restore_cluster, select_cluster,
};
use erpgo_dr_core::postgres::throwaway::RunAs;
use erpgo_dr_core::types::{BackupId, Lsn, TimelineId};
use serde::Serialize;

use crate::context::{Access, Context, find};
use crate::error::CliError;
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
    /// Stop just before the target, not just behind it
    #[arg(long, requires = "target", help_heading = "Recovery")]
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

    /// Say what would be done, and do nothing
    #[arg(long)]
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
}

impl ClusterRestoreArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let id = self.select(&repository).await?;
        let recovery = self.recovery(context)?;
        if self.dry_run {
            return self.planned(context, &repository, id, &recovery).await;
        }
        let target = self.target()?;
        let report = restore_cluster(&repository, &id, &target, &recovery, context.progress()).await?;
        Report::new(&report, text(&report), true)
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

    fn recovery(&self, context: &Context) -> Result<RecoveryOptions, CliError> {
        let action = match self.action {
            Action::Promote => RecoveryAction::Promote,
            Action::Pause => RecoveryAction::Pause,
            Action::Shutdown => RecoveryAction::Shutdown,
        };
        let command = match (&self.restore_command, self.no_archive) {
            (Some(command), _) => Some(command.clone()),
            (None, true) => None,
            (None, false) => Some(context.wal_fetch_command()?),
        };
        Ok(RecoveryOptions::default()
            .with_target(self.recovery_target())
            .with_inclusive(!self.exclusive)
            .with_timeline(self.timeline)
            .with_action(action)
            .with_restore_command(command)
            .with_archiving(self.keep_archiving))
    }

    async fn planned(
        &self,
        context: &Context,
        repository: &Repository,
        backup: BackupId,
        recovery: &RecoveryOptions,
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
    format!(
        "restored {}: {} files, {} ({} written, {} removed) in {}, into {}\nstart it with PostgreSQL {}: it replays from {} and is consistent at {}\n",
        report.backup,
        report.files,
        bytes(report.bytes),
        bytes(report.written_bytes),
        report.removed,
        seconds(report.seconds),
        report.data.display(),
        report.server_version,
        report.start_lsn,
        report.stop_lsn,
    )
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
