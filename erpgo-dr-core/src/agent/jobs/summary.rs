//! What happened in the last days, told to those who hear of alarms.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;

use crate::agent::job::{Job, JobContext, JobKind, JobOutcome};
use crate::agent::summary::summary;
use crate::ops;
use crate::ops::drill::PlannedDrill;
use crate::runbook::Notifier;

/// Tells people what an agent did in a span of time, and how its repository stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SummaryJob {
    /// Who is told.
    pub notifier: Arc<dyn Notifier>,
    /// What it says that it comes from.
    pub host: String,
    /// How far back it looks.
    pub span: TimeDelta,
    /// Which drills are due how often.
    pub drills: Vec<PlannedDrill>,
}

impl SummaryJob {
    /// Tells of the last seven days.
    pub fn new(notifier: Arc<dyn Notifier>, host: impl Into<String>) -> Self {
        Self { notifier, host: host.into(), span: TimeDelta::days(7), drills: Vec::new() }
    }

    /// Sets how far back it looks.
    pub fn with_span(mut self, span: TimeDelta) -> Self {
        self.span = span;
        self
    }

    /// Sets which drills are due how often.
    pub fn with_drills(mut self, drills: Vec<PlannedDrill>) -> Self {
        self.drills = drills;
        self
    }
}

#[async_trait]
impl Job for SummaryJob {
    fn kind(&self) -> JobKind {
        JobKind::Summary
    }

    /// That something is not well is what it tells, and no finding of its own: whoever found it has raised the alarm.
    async fn run(&self, context: &JobContext<'_>) -> ops::Result<JobOutcome> {
        let summary = summary(context.repository, self.span, &self.drills).await?;
        self.notifier.tell(&summary.to_text(&self.host)).await.map_err(|error| ops::Error::Io {
            action: "tell anybody what happened".to_owned(),
            source: io::Error::new(io::ErrorKind::HostUnreachable, error),
        })?;
        let message = if summary.is_well() { "told that all is well" } else { "told that something needs somebody" };
        Ok(JobOutcome::new(true, message).with_fact("is_well", summary.is_well()))
    }
}
