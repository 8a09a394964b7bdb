//! Restores a backup, or a file that other tools made, into a server.

use std::path::Path;
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::legacy::{LegacyOptions, LegacySource};
use super::{Result, VerifyOptions};
use crate::postgres::{BackupSource as _, DatabaseDriver, PostgresError, RestoreOutcome};
use crate::progress::Progress;
use crate::repository::{Catalogue, CatalogueEntry, Repository, RepositoryError};
use crate::types::BackupId;

const NONE_PROVEN: &str = "backup that was verified and found good";
const NONE_BEFORE: &str = "backup from before that moment";
const ONLY_CLUSTERS: &str = "backup of databases, only physical ones of whole clusters";

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
        BackupSelector::LatestProven => catalogue.latest_proven().ok_or(NONE_PROVEN),
        BackupSelector::Before(moment) => {
            let before = |entry: &&CatalogueEntry| entry.summary.created <= *moment;
            catalogue.entries.iter().rev().find(before).ok_or(NONE_BEFORE)
        }
    };
    found.map_err(|what| RepositoryError::NoBackup(what).into())
}

/// Finds the backup that is meant among those that are restored into a database, and not into a folder.
///
/// # Errors
/// Those of [`select`]. A physical backup that is named by its identifier is found all the same.
pub fn select_dump<'a>(catalogue: &'a Catalogue, selector: &BackupSelector) -> Result<&'a CatalogueEntry> {
    let mut dumps = catalogue.entries.iter().rev().filter(|entry| !entry.summary.is_physical()).peekable();
    if dumps.peek().is_none() && !catalogue.entries.is_empty() && !matches!(selector, BackupSelector::Id(_)) {
        return Err(RepositoryError::NoBackup(ONLY_CLUSTERS).into());
    }
    let found = match selector {
        BackupSelector::Id(_) => return select(catalogue, selector),
        BackupSelector::Latest => dumps.next().ok_or("backup"),
        BackupSelector::LatestProven => dumps.find(|entry| entry.proven().is_some()).ok_or(NONE_PROVEN),
        BackupSelector::Before(moment) => dumps.find(|entry| entry.summary.created <= *moment).ok_or(NONE_BEFORE),
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
/// restore. What had been restored by then is rolled back only where the driver uses a single transaction;
/// a database that the restore had made is dropped again. Where something is there that the restore
/// [replaces](DatabaseDriver::replaces), all of the backup is read first: damage behind its beginning costs nothing.
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
    if driver.replaces(&manifest.contents).await? {
        prove_readable(repository, id, progress).await?;
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

/// Reads all of a backup before what it replaces is dropped.
async fn prove_readable(repository: &Repository, id: &BackupId, progress: &dyn Progress) -> Result<()> {
    let options = VerifyOptions::default().with_record(false);
    let report = super::verify(repository, std::slice::from_ref(id), None, &options, progress).await?;
    match report.verdicts.into_iter().find(|verdict| !verdict.passed) {
        None => Ok(()),
        Some(verdict) => {
            let reason = format!("{}; nothing was changed", verdict.findings.join("; "));
            Err(RepositoryError::Damaged { record: id.to_string(), reason }.into())
        }
    }
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
