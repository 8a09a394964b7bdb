//! `cluster backup`: copies the data directory of a running server, or lets the server send it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use erpgo_dr_core::Codec;
use erpgo_dr_core::ops::physical::{
    ChangeDetection, ChangeSource, ClusterBackupOptions, ClusterBackupReport, back_up_cluster, receive_cluster,
};
use erpgo_dr_core::storage::StorageClass;

use crate::commands::backup::describe;
use crate::config::BackupVerify;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Report, bytes};

/// Copy the data directory of a running server, on its host or over the network, with the WAL that makes it consistent
///
/// Pages that have not changed since the last backup of the same cluster are taken over from there. Every backup is complete all
/// the same: each is restored by itself, and any may be removed. After a run that broke off the next one compares with what that has
/// stored, too, and stores the rest.
#[derive(Debug, Args)]
pub(super) struct ClusterBackupArgs {
    /// The server's data directory on this host [default: what the server says]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Let the server send its files over a replication connection: from another host, also from a standby (15 and later)
    ///
    /// The role needs REPLICATION. From version 17 on the server sends what has changed alone, where it keeps summaries of its WAL
    /// (`summarize_wal`); else it sends all, and pages are compared here.
    #[arg(long, conflicts_with = "data_dir")]
    remote: bool,
    /// Where a note on each file is kept meanwhile, with --remote: about a thousandth of the cluster [default: `scratch` in [verify]]
    #[arg(long, value_name = "FOLDER", requires = "remote")]
    scratch: Option<PathBuf>,
    /// How it is found out what has changed since the last backup
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Changes::Auto)]
    changes: Changes,
    /// Store everything anew, as `--changes full` does
    #[arg(long, conflicts_with = "changes")]
    full: bool,
    /// Let the server spread the checkpoint that the backup begins with, instead of hurrying
    #[arg(long)]
    spread_checkpoint: bool,
    /// How it is compressed: zstd[:LEVEL], gzip[:LEVEL] or none [default: the repository's]
    #[arg(long, value_name = "CODEC")]
    codec: Option<Codec>,
    /// The storage class of the data: GLACIER, DEEP_ARCHIVE, GLACIER_IR...
    #[arg(long, value_name = "CLASS")]
    storage_class: Option<StorageClass>,
    /// A name for people
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Do not verify it now
    #[arg(long)]
    no_verify: bool,
    /// Put it on hold, for this reason: prune never removes it
    #[arg(long, value_name = "REASON")]
    hold: Option<String>,
}

/// How it is found out what has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Changes {
    /// By the server's summaries of its WAL, if it keeps them (`summarize_wal`, 17 and later), else by the WAL itself where that is
    /// little, else by comparing
    Auto,
    /// Read all files, and compare their pages with those of the last backup
    Compare,
    /// Do both, and report pages that differ though the WAL does not name them
    Both,
    /// Store everything anew
    Full,
}

impl From<Changes> for ChangeDetection {
    fn from(changes: Changes) -> Self {
        match changes {
            Changes::Auto => Self::Auto,
            Changes::Compare => Self::Compare,
            Changes::Both => Self::Both,
            Changes::Full => Self::Full,
        }
    }
}

impl ClusterBackupArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let settings = context.connection()?;
        let repository = context.repository(Access::Writing).await?;
        let (options, progress) = (self.options(context), context.progress());
        let report = if self.remote {
            let scratch = context.scratch(self.scratch.as_deref());
            receive_cluster(&repository, &settings, &scratch, &options, progress).await?
        } else {
            back_up_cluster(&repository, &settings, self.data_dir.as_deref(), &options, progress).await?
        };
        if let Some(reason) = &self.hold {
            repository.hold(&report.backup.id, reason).await?;
        }
        Report::new(&report, text(&report), report.is_complete())
    }

    fn options(&self, context: &Context) -> ClusterBackupOptions {
        let config = &context.config.backup;
        let verify = if self.no_verify { BackupVerify::None } else { BackupVerify::Mac };
        ClusterBackupOptions::default()
            .with_codec(self.codec.or(config.codec))
            .with_storage_class(self.storage_class.clone().or_else(|| config.storage_class.clone()))
            .with_label(self.label.clone())
            .with_changes(if self.full { ChangeDetection::Full } else { self.changes.into() })
            .with_fast_checkpoint(!self.spread_checkpoint)
            .with_verify(verify.level())
    }
}

fn text(report: &ClusterBackupReport) -> String {
    let mut text = describe(&report.backup);
    text.push_str(&format!(
        "{} files of timeline {}, consistent from {} on\n",
        report.files, report.timeline, report.stop_lsn
    ));
    if let (Some(base), Some(changes)) = (&report.base, report.changes) {
        let log = match report.wal_read_bytes {
            0 => "the server's summaries of its WAL".to_owned(),
            read => format!("{} of WAL", bytes(read)),
        };
        let how = match changes {
            ChangeSource::Summaries | ChangeSource::Wal => format!("by {log}"),
            ChangeSource::Both => format!("by {log} and by comparison"),
            _ => "by comparison".to_owned(),
        };
        let (read, added) = (bytes(report.read_bytes), bytes(report.added_bytes));
        text.push_str(&format!("changed since {base}, found {how}: {read} read, {added} added\n"));
    }
    if report.resumed_bytes > 0 {
        let (resumed, added) = (bytes(report.resumed_bytes), bytes(report.added_bytes));
        text.push_str(&format!("runs that broke off had stored {resumed} of it already: {added} added\n"));
    }
    for page in &report.unannounced_pages {
        text.push_str(&format!("changed, though the WAL does not name it: {}, block {}\n", page.path, page.block));
    }
    for page in &report.damaged_pages {
        text.push_str(&format!("DAMAGED in the cluster itself: {}, block {}\n", page.path, page.block));
    }
    text
}
