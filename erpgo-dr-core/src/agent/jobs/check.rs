//! A look at whether one could restore now, and at the server.

use async_trait::async_trait;
use chrono::TimeDelta;

use std::time::Duration;

use super::in_short;
use crate::agent::job::{Job, JobContext, JobKind, JobOutcome};
use crate::ops::wal::{WalCheckOptions, wal_check};
use crate::ops::{self, catalogue_of_places, status_of};
use crate::postgres::ConnectionSettings;
use crate::storage::ReplicatedStorage;
use crate::topology::{Liveness, liveness};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks at the repository, at each of its places, at the server, and at the archive of its log.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CheckJob {
    /// The places of the repository, where there are several.
    pub places: Option<ReplicatedStorage>,
    /// The server that must answer.
    pub server: Option<ConnectionSettings>,
    /// How old the newest proven backup may be.
    pub max_age: Option<TimeDelta>,
    /// Whether the archive of the log must be whole, and follow the server.
    pub wal: bool,
}

impl CheckJob {
    /// Sets the places of the repository.
    pub fn with_places(mut self, places: Option<ReplicatedStorage>) -> Self {
        self.places = places;
        self
    }

    /// Sets the server that must answer.
    pub fn with_server(mut self, server: Option<ConnectionSettings>) -> Self {
        self.server = server;
        self
    }

    /// Sets how old the newest proven backup may be.
    pub fn with_max_age(mut self, max_age: Option<TimeDelta>) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sets whether the archive of the log is looked at.
    pub fn with_wal(mut self, wal: bool) -> Self {
        self.wal = wal;
        self
    }

    async fn repository_findings(&self, context: &JobContext<'_>) -> ops::Result<(Vec<String>, Option<f64>)> {
        let repository = context.repository;
        let catalogue = match &self.places {
            Some(places) => catalogue_of_places(repository, places).await?,
            None => repository.catalogue().await?,
        };
        let status = status_of(repository, &catalogue);
        let mut findings: Vec<String> =
            status.problems.iter().map(|problem| format!("{}: {}", problem.subject, problem.problem)).collect();
        findings.extend(status.failed.iter().map(|id| format!("the last verification of {id} failed")));
        match (status.rpo_seconds, self.max_age) {
            (None, _) => findings.push("there is no proven backup".to_owned()),
            (Some(age), Some(limit)) if age > limit.as_seconds_f64() => {
                findings.push(format!("the newest proven backup is {age:.0} seconds old"));
            }
            _ => {}
        }
        Ok((findings, status.rpo_seconds))
    }
}

#[async_trait]
impl Job for CheckJob {
    fn kind(&self) -> JobKind {
        JobKind::Check
    }

    async fn run(&self, context: &JobContext<'_>) -> ops::Result<JobOutcome> {
        let (mut findings, rpo_seconds) = self.repository_findings(context).await?;
        if let Some(server) = &self.server
            && let Liveness::Answers { error } | Liveness::Refused { error } | Liveness::Silent { error } =
                liveness(server, PATIENCE).await
        {
            findings.push(format!("the server {server}: {error}"));
        }
        let mut outcome = JobOutcome::new(true, "").with_fact("rpo_seconds", rpo_seconds);
        if self.wal {
            let report = wal_check(context.repository, self.server.as_ref(), &WalCheckOptions::default()).await?;
            outcome = outcome.with_fact("lag_bytes", report.lag_bytes);
            findings.extend(report.findings);
        }
        outcome.passed = findings.is_empty();
        outcome.message = if findings.is_empty() { "all is well".to_owned() } else { in_short(&findings) };
        Ok(outcome.with_fact("findings", findings))
    }
}
