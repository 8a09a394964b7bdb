//! `wal`: what concerns the archive of the write-ahead log.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::span::Span;
use super::{Act, Done, Loss, Nature, Scope, Uses, View, server};
use crate::ops::wal::{WalCheckOptions, wal_check};
use crate::postgres::ServerInspector;

/// Does something with the archive of a server's write-ahead log.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Wal {
    /// What is done.
    #[serde(rename = "do")]
    pub task: WalTask,
    /// The variable of the server.
    pub on: String,
    /// With `check`: how old the newest commit in the archive may be.
    pub within: Option<Span>,
}

/// What is done with an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum WalTask {
    /// Ends the segment that is being written, and waits until it is in the archive.
    Switch,
    /// Checks that the archive of this cluster has no gap, and is as new as it should be.
    Check,
}

#[async_trait]
impl Act for Wal {
    fn nature(&self) -> Nature {
        match self.task {
            WalTask::Switch => Nature::change(120).repeatable(),
            WalTask::Check => Nature::check(300),
        }
    }

    fn describe(&self, view: &View<'_>) -> String {
        let server = view.server_name(&self.on);
        match (self.task, self.within) {
            (WalTask::Switch, _) => format!("end the segment of {server}, and wait until it is archived"),
            (WalTask::Check, None) => format!("check that the archive of {server} has no gap"),
            (WalTask::Check, Some(within)) => {
                format!("check that the archive of {server} has no gap, and a commit of the last {within}")
            }
        }
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.push(&self.on);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        match self.task {
            WalTask::Switch => self.switch(scope).await,
            WalTask::Check => self.check(scope).await,
        }
    }
}

impl Wal {
    async fn switch(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let client = server::connect(scope.server(&self.on, None)?, scope.timeout.duration()).await?;
        let asked = server::run(&client, "SHOW archive_mode", "ask whether it archives").await?;
        if asked.first() == Some("off") {
            let name = scope.server_name(&self.on);
            return Err(ActionError::Unexpected {
                expected: format!("{name} to archive its log"),
                found: "archive_mode = off".to_owned(),
            });
        }
        let sql = "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_switch_wal())";
        let switched = server::run(&client, sql, "end a segment").await?;
        let name = switched.first().unwrap_or_default().to_owned();
        let archived =
            "SELECT coalesce(last_archived_wal, ''), coalesce(last_failed_wal, '') FROM pg_catalog.pg_stat_archiver";
        loop {
            let answered = server::run(&client, archived, "ask what is archived").await?;
            if answered.first().is_some_and(|last| last >= name.as_str()) {
                client.close().await;
                return Ok(Done::returned(name));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn check(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        // The server may be gone: then the only cluster of the archive is meant.
        let settings = scope.server(&self.on, None)?.connect_timeout(Duration::from_secs(3));
        let system = match ServerInspector::new(settings).probe().await {
            Ok(server) => server.system_identifier,
            Err(_) => None,
        };
        let repository = &scope.surroundings.repository;
        let report = wal_check(repository, None, &WalCheckOptions::default().with_system_identifier(system)).await?;
        if !report.is_healthy() {
            let found = serde_json::to_string(&report.findings).unwrap_or_default();
            return Err(ActionError::Unexpected { expected: "an archive without gaps".to_owned(), found });
        }
        let now = repository.environment().clock.now();
        let age = report.newest_commit.map(|newest| (now - newest).as_seconds_f64().max(0.0));
        let output = match age {
            Some(age) => format!("no gap; the newest commit in it is {age:.0} s old"),
            None => "no gap, and no commit in it".to_owned(),
        };
        match self.within {
            Some(within) if age.is_none_or(|age| age > within.duration().as_secs_f64()) => {
                Err(ActionError::Unexpected { expected: format!("a commit no older than {within}"), found: output })
            }
            _ => {
                let loss = Some(Loss { recovered_to: report.newest_commit, bytes: report.lag_bytes });
                Ok(Done { output, loss, ..Done::default() })
            }
        }
    }
}
