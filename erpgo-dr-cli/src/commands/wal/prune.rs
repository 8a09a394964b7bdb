//! `wal prune`: removes the log that no backup can be recovered with any more.

use clap::Args;
use erpgo_dr_core::ops::wal::{PrunedWal, wal_prune};

use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Report, bytes};

/// Remove the log before the oldest physical backup of each cluster; `prune` does that too
///
/// A cluster without a physical backup keeps all of its log, and histories of timelines always stay.
#[derive(Debug, Args)]
pub(super) struct WalPruneArgs {
    /// Say what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl WalPruneArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let report = wal_prune(&repository, self.dry_run, context.progress()).await?;
        let verb = if report.dry_run { "would be removed" } else { "removed" };
        let text = match report.clusters.is_empty() {
            true => "all of the log is needed\n".to_owned(),
            false => render_wal(&report.clusters, verb),
        };
        Report::new(&report, text, report.missed.is_empty())
    }
}

/// Says what is removed of each cluster's log.
pub(crate) fn render_wal(clusters: &[PrunedWal], verb: &str) -> String {
    let line = |cluster: &PrunedWal| {
        let PrunedWal { system_identifier, before, files, .. } = cluster;
        format!("WAL of cluster {system_identifier} before {before} {verb}: {files} files, {}\n", bytes(cluster.bytes))
    };
    clusters.iter().map(line).collect()
}
