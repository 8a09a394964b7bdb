//! `cluster backup`: copies the data directory of a running server.

use std::path::PathBuf;

use clap::Args;
use erpgo_dr_core::Codec;
use erpgo_dr_core::ops::physical::{ClusterBackupOptions, ClusterBackupReport, back_up_cluster};
use erpgo_dr_core::storage::StorageClass;

use crate::commands::backup::describe;
use crate::config::BackupVerify;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::Report;

/// Copy the data directory of a running server, with the WAL that makes it consistent
#[derive(Debug, Args)]
pub(super) struct ClusterBackupArgs {
    /// The server's data directory on this host [default: what the server says]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
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

impl ClusterBackupArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let settings = context.connection()?;
        let repository = context.repository(Access::Writing).await?;
        let data = self.data_dir.as_deref();
        let report = back_up_cluster(&repository, &settings, data, &self.options(context), context.progress()).await?;
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
    for page in &report.damaged_pages {
        text.push_str(&format!("DAMAGED in the cluster itself: {}, block {}\n", page.path, page.block));
    }
    text
}
