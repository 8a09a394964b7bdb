//! Takes a backup: database → codec → crypto → storage, committed, and verified at once.

use std::time::Instant;

use serde::Serialize;

use super::Result;
use super::verify::{GoodPacks, VerifyOptions, verify_entry};
use crate::codec::Codec;
use crate::postgres::DatabaseDriver;
use crate::progress::Progress;
use crate::repository::{BackupRun, CatalogueEntry, Repository, Summary, Verdict, VerifyLevel};
use crate::storage::{MissedWrite, StorageClass};
use crate::types::BackupId;

/// How a backup is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupOptions {
    /// Another codec than the repository's.
    pub codec: Option<Codec>,
    /// The storage class of the data; catalogue and manifest stay in the place's default class.
    pub storage_class: Option<StorageClass>,
    /// A name for people.
    pub label: Option<String>,
    /// How deep the backup is verified before this returns; `None` leaves that for later.
    pub verify: Option<VerifyLevel>,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self { codec: None, storage_class: None, label: None, verify: Some(VerifyLevel::Mac) }
    }
}

impl BackupOptions {
    /// Sets another codec than the repository's.
    pub fn with_codec(mut self, codec: Option<Codec>) -> Self {
        self.codec = codec;
        self
    }

    /// Sets the storage class of the data.
    pub fn with_storage_class(mut self, class: Option<StorageClass>) -> Self {
        self.storage_class = class;
        self
    }

    /// Sets a name for people.
    pub fn with_label(mut self, label: Option<String>) -> Self {
        self.label = label;
        self
    }

    /// Sets how deep the backup is verified at once.
    pub fn with_verify(mut self, level: Option<VerifyLevel>) -> Self {
        self.verify = level;
        self
    }
}

/// A backup that has been taken.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BackupReport {
    /// The backup.
    pub id: BackupId,
    /// How it was made.
    pub kind: String,
    /// The databases in it.
    pub databases: Vec<String>,
    /// Bytes that came out of the databases.
    pub plaintext_bytes: u64,
    /// Bytes that are stored.
    pub stored_bytes: u64,
    /// Objects that were written.
    pub objects: u64,
    /// Seconds until the backup was committed.
    pub backup_seconds: f64,
    /// What the verification found; `None` when none was asked for.
    pub verdict: Option<Verdict>,
    /// Places that do not have all of it. Empty means: durable everywhere.
    pub missed: Vec<MissedWrite>,
}

impl BackupReport {
    /// Returns whether the backup is durable at every place and was found good, as far as was asked, and that was recorded.
    pub fn is_complete(&self) -> bool {
        let is_good = |verdict: &Verdict| verdict.passed && verdict.unrecorded.is_none();
        self.missed.is_empty() && self.verdict.as_ref().is_none_or(is_good)
    }

    pub(super) fn new(
        summary: &Summary,
        databases: Vec<String>,
        backup_seconds: f64,
        missed: Vec<MissedWrite>,
    ) -> Self {
        Self {
            id: summary.id.clone(),
            kind: summary.kind.clone(),
            databases,
            plaintext_bytes: summary.plaintext_bytes,
            stored_bytes: summary.stored_bytes,
            objects: summary.objects.len() as u64 + 2,
            backup_seconds,
            verdict: None,
            missed,
        }
    }
}

/// Takes a backup with `driver`, and verifies it as deep as the options say.
///
/// When this returns an error before the commit, nothing of the run is visible, and what it wrote has been
/// removed as far as the place still answered; prune removes the rest. A backup that a secondary place
/// missed, or whose verification failed, exists, and the report says so: see [`BackupReport::is_complete`].
///
/// # Errors
/// Of the database, the storage place or the repository; [`Error::kind`](super::Error::kind) tells what to do.
pub async fn backup(
    repository: &Repository,
    driver: &dyn DatabaseDriver,
    options: &BackupOptions,
    progress: &dyn Progress,
) -> Result<BackupReport> {
    let started = Instant::now();
    let run = BackupRun::begin(repository, options.codec, None).await?;
    let mut sink = run.sink(options.storage_class.clone());
    let contents = match driver.back_up(&mut sink, progress).await {
        Ok(contents) => contents,
        Err(error) => {
            drop(sink);
            run.abandon().await;
            return Err(error.into());
        }
    };
    let databases: Vec<String> = contents.databases.iter().map(|found| found.database.clone()).collect();
    let finished = crate::repository::Finished {
        kind: driver.kind(),
        contents,
        streams: sink.into_streams(),
        label: options.label.clone(),
        origin: None,
        physical: None,
    };
    let (summary, _) = run.commit(finished).await?;
    let mut report = BackupReport::new(
        &summary,
        databases,
        started.elapsed().as_secs_f64(),
        repository.storage().take_missed_writes(),
    );
    tracing::info!(backup = %report.id, bytes = report.plaintext_bytes, stored = report.stored_bytes, "backup committed");
    if let Some(level) = options.verify {
        report.verdict =
            Some(verify_new(repository, Some(driver), &summary, GoodPacks::default(), level, progress).await?);
        report.missed.extend(repository.storage().take_missed_writes());
    }
    Ok(report)
}

/// Verifies a backup that this process has just committed, but for packs that are known to be good.
pub(super) async fn verify_new(
    repository: &Repository,
    checker: Option<&dyn DatabaseDriver>,
    summary: &Summary,
    mut good: GoodPacks,
    level: VerifyLevel,
    progress: &dyn Progress,
) -> Result<Verdict> {
    let entry = CatalogueEntry::committed(summary.clone());
    let options = VerifyOptions::default().with_level(level.min(VerifyLevel::Contents));
    verify_entry(repository, &entry, checker, &mut good, &options, progress).await
}
