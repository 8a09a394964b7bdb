//! Restores a backup, or a file that other tools made, into a server.

use std::path::Path;
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Result;
use super::legacy::{LegacyOptions, LegacySource};
use crate::postgres::{BackupSource as _, DatabaseDriver, PostgresError, RestoreOutcome};
use crate::progress::Progress;
use crate::repository::{Catalogue, CatalogueEntry, Repository, RepositoryError};
use crate::types::BackupId;

/// Which backup is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackupSelector {
    /// This one.
    Id(BackupId),
    /// The newest.
    Latest,
    /// The newest that a verification found good.
    LatestProven,
    /// The newest that began at or before a moment.
    Before(DateTime<Utc>),
}

/// Finds the backup that is meant.
///
/// # Errors
/// [`RepositoryError::NoSuchBackup`] or [`RepositoryError::NoBackup`].
pub fn select<'a>(catalogue: &'a Catalogue, selector: &BackupSelector) -> Result<&'a CatalogueEntry> {
    let found = match selector {
        BackupSelector::Id(id) => {
            return catalogue.find(id).ok_or_else(|| RepositoryError::NoSuchBackup(id.to_string()).into());
        }
        BackupSelector::Latest => catalogue.latest().ok_or("backup"),
        BackupSelector::LatestProven => catalogue.latest_proven().ok_or("backup that was verified and found good"),
        BackupSelector::Before(moment) => {
            let before = |entry: &&CatalogueEntry| entry.summary.created <= *moment;
            catalogue.entries.iter().rev().find(before).ok_or("backup from before that moment")
        }
    };
    found.map_err(|what| RepositoryError::NoBackup(what).into())
}

/// A restore that has been done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The backup; `None` when a file was restored.
    pub backup: Option<BackupId>,
    /// What the driver did.
    #[serde(flatten)]
    pub outcome: RestoreOutcome,
    /// Seconds from the first byte read to the end: the measured RTO of this restore.
    pub seconds: f64,
    /// Seconds between the backup's beginning and this restore's: what is lost by it, at most.
    pub rpo_seconds: Option<f64>,
}

/// Restores a backup with `driver`, whose settings say where to and how.
///
/// Every byte is authenticated before it leaves the repository, and a stream that is cut short fails the
/// restore. What had been restored by then is rolled back only where the driver uses a single transaction.
///
/// # Errors
/// Of the repository, the storage place or the server; [`Error::kind`](super::Error::kind) tells what to do.
pub async fn restore(
    repository: &Repository,
    id: &BackupId,
    driver: &dyn DatabaseDriver,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    let started = Instant::now();
    let catalogue = repository.catalogue().await?;
    let entry = select(&catalogue, &BackupSelector::Id(id.clone()))?;
    let manifest = repository.manifest(&entry.summary).await?;
    if manifest.physical.is_some() {
        let message = format!("{id} is a physical backup, the files of a whole cluster: it is restored into a folder");
        return Err(PostgresError::InvalidOptions(message).into());
    }
    let source = repository.dump_source(&manifest);
    let outcome = driver.restore(&source, &manifest.contents, progress).await?;
    let age = repository.environment().clock.now() - entry.summary.created;
    Ok(RestoreReport {
        backup: Some(id.clone()),
        outcome,
        seconds: started.elapsed().as_secs_f64(),
        rpo_seconds: Some(age.as_seconds_f64()),
    })
}

/// Restores the dump in a file of the old scripts, whatever layers are around it, with `driver`.
///
/// The file is read twice: once to prove that the dump in it is whole, before anything is changed, and once to
/// restore it. An `openssl enc` layer cannot show that somebody altered the file.
///
/// # Errors
/// [`LegacyError`](super::legacy::LegacyError) for the file, and those of [`restore`].
pub async fn restore_file(
    path: &Path,
    options: &LegacyOptions,
    driver: &dyn DatabaseDriver,
    progress: &dyn Progress,
) -> Result<RestoreReport> {
    let started = Instant::now();
    let source = LegacySource::examine(path, options).await?;
    tracing::info!(file = %path.display(), streams = source.streams().len(), "file examined");
    let outcome = driver.restore(&source, source.contents(), progress).await?;
    Ok(RestoreReport { backup: None, outcome, seconds: started.elapsed().as_secs_f64(), rpo_seconds: None })
}
