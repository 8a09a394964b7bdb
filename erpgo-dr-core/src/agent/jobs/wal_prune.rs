//! Removal of log that no backup needs.

use async_trait::async_trait;

use super::{in_short, missed};
use crate::agent::job::{Job, JobContext, JobKind, JobOutcome};
use crate::ops;
use crate::ops::wal::wal_prune;

/// Removes the log before the oldest physical backup of each cluster.
#[derive(Debug, Clone, Copy)]
pub struct WalPruneJob;

#[async_trait]
impl Job for WalPruneJob {
    fn kind(&self) -> JobKind {
        JobKind::WalPrune
    }

    async fn run(&self, context: &JobContext<'_>) -> ops::Result<JobOutcome> {
        let report = wal_prune(context.repository, false, context.progress).await?;
        let (files, bytes) =
            report.clusters.iter().fold((0, 0), |(files, bytes), one| (files + one.files, bytes + one.bytes));
        let findings = missed(&report.missed);
        let message = if findings.is_empty() { format!("{files} files removed") } else { in_short(&findings) };
        Ok(JobOutcome::new(findings.is_empty(), message).with_bytes(bytes).with_fact("files", files))
    }
}
