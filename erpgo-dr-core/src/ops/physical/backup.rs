//! Takes a physical backup: the files of a cluster while it runs, and the WAL that makes them consistent.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::copy::copy;
use super::options::ClusterBackupOptions;
use super::remote;
use crate::ops::backup::verify_new;
use crate::ops::verify::GoodPacks;
use crate::ops::{BackupReport, Result};
use crate::postgres::ConnectionSettings;
use crate::progress::Progress;
use crate::repository::{BackupRun, DamagedPage, Finished, PHYSICAL, Repository, StoredObject, owner_of};
use crate::types::{BackupId, Lsn, TimelineId};

/// What told of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChangeSource {
    /// The server's summaries of its WAL.
    Summaries,
    /// The records of the WAL, which the server still had or the archive has.
    Wal,
    /// A comparison of all pages.
    Comparison,
    /// Summaries or records, and a comparison that proves them.
    Both,
}

/// A physical backup that has been taken.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClusterBackupReport {
    /// What every backup has.
    #[serde(flatten)]
    pub backup: BackupReport,
    /// Files in it.
    pub files: u64,
    /// Where replay begins.
    pub start_lsn: Lsn,
    /// Where the cluster is consistent: from here on every moment can be restored to.
    pub stop_lsn: Lsn,
    /// The timeline that it was taken on.
    pub timeline: TimelineId,
    /// The earlier backup that unchanged pages were taken over from.
    pub base: Option<BackupId>,
    /// What told which pages have changed since then.
    pub changes: Option<ChangeSource>,
    /// Bytes of files that were read.
    pub read_bytes: u64,
    /// Bytes of WAL that were read to find what has changed; 0 where the server's summaries told, or nothing did.
    pub wal_read_bytes: u64,
    /// Bytes of files that runs which broke off had stored, and that were taken over from there.
    pub resumed_bytes: u64,
    /// Bytes that this backup added to the repository, beside its catalogue entry.
    pub added_bytes: u64,
    /// Pages that are damaged in the cluster itself.
    pub damaged_pages: Vec<DamagedPage>,
    /// Pages that had changed although the WAL does not name them, where that was compared; they are in the backup. Without
    /// checksums and `wal_log_hints`, hint bits do that.
    pub unannounced_pages: Vec<DamagedPage>,
}

impl ClusterBackupReport {
    /// Returns whether the backup is durable everywhere, was found good as far as was asked, and shows no damage of the cluster.
    pub fn is_complete(&self) -> bool {
        self.backup.is_complete() && self.damaged_pages.is_empty()
    }
}

/// Backs up the cluster of the server that `settings` connect to, from its data directory: `data`, or where the server says.
///
/// The WAL from the beginning to the end of the backup is part of it, so that it can be restored by itself. When this returns an
/// error before the commit, nothing of the run is visible. What it has stored by then is used by the next backup of the cluster, whose pages
/// are read and compared with it; prune removes what is left.
///
/// # Errors
/// Of the server, of the files, of the storage place or the repository.
pub async fn back_up_cluster(
    repository: &Repository,
    settings: &ConnectionSettings,
    data: Option<&Path>,
    options: &ClusterBackupOptions,
    progress: &dyn Progress,
) -> Result<ClusterBackupReport> {
    let source = Source::Files(data);
    run(repository, settings, source, options, progress).await
}

/// Backs up the cluster of the server that `settings` connect to, from anywhere: the server sends its files (`BASE_BACKUP`, PostgreSQL 15 and
/// later), as it does for `pg_basebackup`, and from version 17 on what has changed alone, where it has summaries of its log.
///
/// The role needs `REPLICATION`, and `pg_hba.conf` a line for the database `replication` beside the one for SQL. Places and keyed hashes of
/// pages are kept in the folder `scratch` until they are in order: about a thousandth of the cluster, without a name, gone at the end.
///
/// # Errors
/// As [`back_up_cluster`]; [`PostgresError::InvalidOptions`](crate::postgres::PostgresError::InvalidOptions) for a server before version 15,
/// and for [`ChangeDetection::Both`](super::ChangeDetection::Both).
pub async fn receive_cluster(
    repository: &Repository,
    settings: &ConnectionSettings,
    scratch: &Path,
    options: &ClusterBackupOptions,
    progress: &dyn Progress,
) -> Result<ClusterBackupReport> {
    let source = Source::Server { scratch };
    run(repository, settings, source, options, progress).await
}

/// Where the files come from.
enum Source<'a> {
    Files(Option<&'a Path>),
    Server { scratch: &'a Path },
}

async fn run(
    repository: &Repository,
    settings: &ConnectionSettings,
    source: Source<'_>,
    options: &ClusterBackupOptions,
    progress: &dyn Progress,
) -> Result<ClusterBackupReport> {
    let started = Instant::now();
    let mut run = BackupRun::begin(repository, options.codec, None).await?;
    let copied = match source {
        Source::Files(data) => copy(repository, &mut run, settings, data, options, progress).await,
        Source::Server { scratch } => remote::copy(repository, &mut run, settings, scratch, options, progress).await,
    };
    let copied = match copied {
        Ok(copied) => copied,
        Err(error) => {
            run.abandon().await;
            return Err(error);
        }
    };
    let finished = Finished {
        kind: PHYSICAL,
        contents: copied.contents,
        streams: Vec::new(),
        label: options.label.clone(),
        origin: None,
        physical: Some(copied.physical),
    };
    let (summary, manifest) = run.commit(finished).await?;
    let missed = repository.storage().take_missed_writes();
    let mut backup = BackupReport::new(&summary, manifest.databases(), started.elapsed().as_secs_f64(), missed);
    tracing::info!(backup = %backup.id, bytes = backup.plaintext_bytes, stored = backup.stored_bytes, "physical backup committed");
    if let Some(level) = options.verify {
        // What was taken over from a backup that was proven is not read again.
        let proven = copied.base.as_ref().and_then(|base| Some((base.packs, base.proven_at?)));
        let table = manifest.physical.as_ref().map_or(&[][..], |physical| &physical.packs);
        let good = match proven.and_then(|(packs, read_at)| Some((table.get(..packs)?, read_at))) {
            Some((of_base, read_at)) => GoodPacks::inherited(of_base, read_at),
            None => GoodPacks::default(),
        };
        backup.verdict = Some(verify_new(repository, None, &summary, good, level, progress).await?);
        backup.missed.extend(repository.storage().take_missed_writes());
    }
    let own = |object: &&StoredObject| owner_of(&object.key).as_ref() == Some(&summary.id);
    let added_bytes = manifest.objects().filter(own).map(|object| object.stored_bytes).sum();
    let physical = manifest.physical.expect("committed above");
    Ok(ClusterBackupReport {
        backup,
        files: physical.files,
        start_lsn: physical.start_lsn,
        stop_lsn: physical.stop_lsn,
        timeline: physical.timeline,
        base: physical.base,
        changes: copied.base.as_ref().map(|base| base.changes),
        read_bytes: copied.read_bytes,
        wal_read_bytes: copied.base.map_or(0, |base| base.wal_read_bytes),
        resumed_bytes: copied.resumed_bytes,
        added_bytes,
        damaged_pages: physical.damaged_pages,
        unannounced_pages: copied.unannounced,
    })
}
