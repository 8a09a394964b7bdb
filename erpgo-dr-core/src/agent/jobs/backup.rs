//! A backup of databases.

use std::sync::Arc;

use async_trait::async_trait;

use super::backed_up;
use crate::agent::job::{Job, JobContext, JobKind, JobOutcome};
use crate::ops::{self, BackupOptions, backup};
use crate::postgres::DatabaseDriver;

/// Takes a backup with a driver, and verifies it as the options say.
#[derive(Clone)]
pub struct BackupJob {
    driver: Arc<dyn DatabaseDriver>,
    options: BackupOptions,
}

impl BackupJob {
    /// Takes backups with this driver.
    pub fn new(driver: Arc<dyn DatabaseDriver>, options: BackupOptions) -> Self {
        Self { driver, options }
    }
}

impl std::fmt::Debug for BackupJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupJob").field("options", &self.options).finish_non_exhaustive()
    }
}

#[async_trait]
impl Job for BackupJob {
    fn kind(&self) -> JobKind {
        JobKind::Backup
    }

    async fn run(&self, context: &JobContext<'_>) -> ops::Result<JobOutcome> {
        let report = backup(context.repository, self.driver.as_ref(), &self.options, context.progress).await?;
        Ok(backed_up(&report, Vec::new()))
    }
}
