//! A restore into a throwaway server.

use std::ffi::OsString;

use async_trait::async_trait;

use super::{nothing_yet, verified};
use crate::agent::job::{Job, JobContext, JobKind, JobOutcome};
use crate::ops::physical::random_moment;
use crate::ops::{self, ReplayTest, RestoreTestOptions, restore_test};
use crate::types::{BackupId, Lsn};

/// How a throwaway server fetches log from the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveAccess {
    /// PostgreSQL's `restore_command`.
    pub restore_command: String,
    /// The variables that it needs.
    pub environment: Vec<(OsString, OsString)>,
}

/// Restores the newest backup into a throwaway server; with access to the archive a cluster drawn by lot, to a position drawn by lot.
#[derive(Debug, Clone)]
pub struct RestoreTestJob {
    options: RestoreTestOptions,
    random: Option<ArchiveAccess>,
}

impl RestoreTestJob {
    /// Tests on throwaway servers like these.
    pub fn new(options: RestoreTestOptions, random: Option<ArchiveAccess>) -> Self {
        Self { options, random }
    }

    async fn subject(&self, context: &JobContext<'_>) -> ops::Result<Option<(BackupId, Option<Lsn>)>> {
        if self.random.is_some() {
            let moment = random_moment(context.repository).await?;
            return Ok(Some((moment.backup, moment.until)));
        }
        let catalogue = context.repository.catalogue().await?;
        Ok(catalogue.latest().map(|entry| (entry.id().clone(), None)))
    }
}

#[async_trait]
impl Job for RestoreTestJob {
    fn kind(&self) -> JobKind {
        JobKind::RestoreTest
    }

    async fn run(&self, context: &JobContext<'_>) -> ops::Result<JobOutcome> {
        let subject = match self.subject(context).await {
            Err(error) if nothing_yet(&error) => None,
            subject => subject?,
        };
        let Some((backup, until)) = subject else { return Ok(verified(&[], Vec::new())) };
        let replay = until.zip(self.random.clone()).map(|(until, archive)| ReplayTest {
            until,
            restore_command: archive.restore_command,
            environment: archive.environment,
        });
        let options = self.options.clone().with_replay(replay);
        let verdict = restore_test(context.repository, &backup, &options, context.progress).await?;
        let seconds = verdict.restore_seconds;
        Ok(verified(&[verdict], Vec::new()).with_fact("restore_seconds", seconds))
    }
}
