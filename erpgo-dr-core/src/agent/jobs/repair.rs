//! Places are healed from one another.

use async_trait::async_trait;

use super::in_short;
use crate::agent::job::{Job, JobContext, JobKind, JobOutcome};
use crate::ops::{self, repair};
use crate::storage::{RepairOptions, ReplicatedStorage};

/// Brings the places of a repository up to date from one another.
#[derive(Debug, Clone)]
pub struct RepairJob {
    places: ReplicatedStorage,
    options: RepairOptions,
}

impl RepairJob {
    /// Heals these places.
    pub fn new(places: ReplicatedStorage, options: RepairOptions) -> Self {
        Self { places, options }
    }
}

#[async_trait]
impl Job for RepairJob {
    fn kind(&self) -> JobKind {
        JobKind::Repair
    }

    async fn run(&self, context: &JobContext<'_>) -> ops::Result<JobOutcome> {
        let outcome = repair(context.repository, &self.places, &self.options, false, context.progress).await?;
        let failures = outcome.report.iter().flat_map(|report| &report.failures).chain(&outcome.plan.failures);
        let mut findings: Vec<String> =
            outcome.plan.unresolved.iter().map(|key| format!("no place has a right copy of {key}")).collect();
        findings.extend(failures.map(|failure| format!("{}: {}", failure.location, failure.error)));
        let (copied, bytes) = outcome.report.as_ref().map_or((0, 0), |report| (report.copied, report.bytes));
        let message = if findings.is_empty() { format!("{copied} objects copied") } else { in_short(&findings) };
        Ok(JobOutcome::new(outcome.is_healthy(), message).with_bytes(bytes).with_fact("copied", copied))
    }
}
