//! A drill on throwaway servers.

use async_trait::async_trait;

use super::{in_short, nothing_yet};
use crate::agent::job::{Job, JobContext, JobKind, JobOutcome};
use crate::causes::chain;
use crate::drill::{DrillError, Rehearsal, run_drill};
use crate::ops;
use crate::ops::drill::{DrillOptions, Scenario};
use crate::postgres::PostgresError;
use crate::runbook::{NoObserver, RunbookError};

/// Rehearses a scenario, and writes down what it showed.
#[derive(Debug, Clone)]
pub struct DrillJob {
    scenario: Scenario,
    options: DrillOptions,
    rehearsal: Rehearsal,
}

impl DrillJob {
    /// Rehearses this scenario.
    pub fn new(scenario: Scenario, options: DrillOptions) -> Self {
        Self { scenario, options, rehearsal: Rehearsal::default() }
    }

    /// Sets the runbook, where the scenario has one.
    pub fn with_rehearsal(mut self, rehearsal: Rehearsal) -> Self {
        self.rehearsal = rehearsal;
        self
    }
}

#[async_trait]
impl Job for DrillJob {
    fn kind(&self) -> JobKind {
        JobKind::Drill
    }

    async fn run(&self, context: &JobContext<'_>) -> ops::Result<JobOutcome> {
        let (scenario, options, rehearsal) = (self.scenario, &self.options, &self.rehearsal);
        let drill = run_drill(context.repository, scenario, options, rehearsal, &NoObserver, context.progress);
        let record = match drill.await.map_err(as_operation) {
            Err(error) if nothing_yet(&error) => return Ok(JobOutcome::new(true, "there is no backup yet")),
            record => record?,
        };
        let mut findings = record.findings.clone();
        findings.extend((record.rto_met() == Some(false)).then(|| "recovery took longer than it may".to_owned()));
        findings.extend((record.rpo_met() == Some(false)).then(|| "more would be lost than may be".to_owned()));
        let message = match findings.is_empty() {
            true => format!("drill {} of {}", record.id, self.scenario),
            false => format!("drill {} of {}: {}", record.id, self.scenario, in_short(&findings)),
        };
        Ok(JobOutcome::new(findings.is_empty(), message)
            .with_fact("drill", record.id.as_str())
            .with_fact("rto_seconds", record.rto_seconds)
            .with_fact("rpo_seconds", record.rpo_seconds))
    }
}

/// A runbook that cannot be used does not get better by trying again.
fn as_operation(error: DrillError) -> ops::Error {
    match error {
        DrillError::Operation(error) => error,
        DrillError::Runbook(RunbookError::Repository(error)) => error.into(),
        error => PostgresError::InvalidOptions(chain(&error)).into(),
    }
}
