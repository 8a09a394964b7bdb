//! Removal of what no rule keeps.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::{in_short, missed};
use crate::agent::job::{Job, JobContext, JobKind, JobOutcome};
use crate::ops::{self, PruneOptions, prune};
use crate::postgres::throwaway::sweep;
use crate::retention::RetentionPolicy;

/// Prunes by a policy, and removes what killed restore tests left in the scratch folder.
#[derive(Clone)]
pub struct PruneJob {
    policy: Arc<dyn RetentionPolicy>,
    options: PruneOptions,
    scratch: Option<PathBuf>,
}

impl PruneJob {
    /// Prunes by this policy.
    pub fn new(policy: Arc<dyn RetentionPolicy>, options: PruneOptions) -> Self {
        Self { policy, options, scratch: None }
    }

    /// Sets the scratch folder of restore tests.
    pub fn with_scratch(mut self, scratch: Option<PathBuf>) -> Self {
        self.scratch = scratch;
        self
    }
}

impl std::fmt::Debug for PruneJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PruneJob").field("options", &self.options).finish_non_exhaustive()
    }
}

#[async_trait]
impl Job for PruneJob {
    fn kind(&self) -> JobKind {
        JobKind::Prune
    }

    async fn run(&self, context: &JobContext<'_>) -> ops::Result<JobOutcome> {
        if let Some(scratch) = &self.scratch
            && let Err(error) = sweep(scratch).await
        {
            tracing::warn!(%error, "what killed restore tests left could not be removed");
        }
        let report = prune(context.repository, self.policy.as_ref(), &self.options, context.progress).await?;
        let of_backups: u64 = report.removed.iter().map(|pruned| pruned.bytes).sum();
        let of_wal: u64 = report.wal.iter().map(|pruned| pruned.bytes).sum();
        let findings = missed(&report.missed);
        let message = match findings.is_empty() {
            true => format!("{} of {} backups removed", report.removed.len(), report.decisions.len()),
            false => in_short(&findings),
        };
        Ok(JobOutcome::new(findings.is_empty(), message)
            .with_bytes(of_backups + of_wal + report.leftover_bytes)
            .with_fact("removed", report.removed.len())
            .with_fact("kept", report.decisions.len().saturating_sub(report.removed.len()))
            .with_fact("leftover_runs", report.leftover_runs.len())
            .with_fact("wal_bytes", of_wal))
    }
}
