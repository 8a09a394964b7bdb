//! A backup of a whole cluster.

use std::path::PathBuf;

use async_trait::async_trait;

use super::backed_up;
use crate::agent::job::{Job, JobContext, JobKind, JobOutcome};
use crate::ops;
use crate::ops::physical::{ClusterBackupOptions, back_up_cluster, receive_cluster};
use crate::postgres::ConnectionSettings;

/// Where the files of a cluster come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterSource {
    /// From this folder, or from the one that the server names.
    Files(Option<PathBuf>),
    /// The server sends them; places and hashes of pages are kept in the folder meanwhile.
    Server {
        /// The folder.
        scratch: PathBuf,
    },
}

/// Takes a backup of a whole cluster.
#[derive(Debug, Clone)]
pub struct ClusterBackupJob {
    settings: ConnectionSettings,
    source: ClusterSource,
    options: ClusterBackupOptions,
}

impl ClusterBackupJob {
    /// Takes backups of the cluster of this server.
    pub fn new(settings: ConnectionSettings, source: ClusterSource, options: ClusterBackupOptions) -> Self {
        Self { settings, source, options }
    }
}

#[async_trait]
impl Job for ClusterBackupJob {
    fn kind(&self) -> JobKind {
        JobKind::ClusterBackup
    }

    async fn run(&self, context: &JobContext<'_>) -> ops::Result<JobOutcome> {
        let (repository, progress) = (context.repository, context.progress);
        let report = match &self.source {
            ClusterSource::Files(data) => {
                back_up_cluster(repository, &self.settings, data.as_deref(), &self.options, progress).await?
            }
            ClusterSource::Server { scratch } => {
                receive_cluster(repository, &self.settings, scratch, &self.options, progress).await?
            }
        };
        let damaged = report.damaged_pages.iter();
        let findings: Vec<String> =
            damaged.map(|page| format!("damaged in the cluster itself: {}, block {}", page.path, page.block)).collect();
        Ok(backed_up(&report.backup, findings)
            .with_fact("added_bytes", report.added_bytes)
            .with_fact("read_bytes", report.read_bytes)
            .with_fact("damaged_pages", report.damaged_pages.len()))
    }
}
