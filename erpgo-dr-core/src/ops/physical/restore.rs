//! Restores the files of a cluster, so that a server can be started on them.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::recovery::{RecoveryOptions, RecoveryTarget, rewrite_auto_conf};
use super::scatter::{Scatter, blocking};
use super::target::{ClusterTarget, TargetFolders, failed};
use super::{BACKUP_LABEL, CONTROL_FILE};
use crate::ops::{BackupSelector, Result, select};
use crate::postgres::PostgresError;
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{
    Catalogue, CatalogueEntry, Extent, FileKind, FileRecord, Manifest, PhysicalContents, Repository, RepositoryError,
};
use crate::types::{BackupId, Lsn};

const AUTO_CONF: &str = "postgresql.auto.conf";
const RECOVERY_SIGNAL: &str = "recovery.signal";
/// The name of the control file until all else is durable: no server starts without one.
const CONTROL_DRAFT: &str = "global/pg_control.erpgo-dr";

/// A cluster whose files have been restored.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClusterRestoreReport {
    /// The backup.
    pub backup: BackupId,
    /// The data directory.
    pub data: PathBuf,
    /// The server's version, which must start it.
    pub server_version: String,
    /// Files that were restored.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Where replay begins.
    pub start_lsn: Lsn,
    /// Where the cluster is consistent: no target can lie before it.
    pub stop_lsn: Lsn,
    /// Where replay is to stop.
    pub target: RecoveryTarget,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Finds the physical backup to restore from: the newest that is not beyond the target of the recovery.
///
/// # Errors
/// [`RepositoryError::NoBackup`] when there is none.
pub async fn select_cluster<'a>(
    repository: &Repository,
    catalogue: &'a Catalogue,
    target: &RecoveryTarget,
) -> Result<&'a CatalogueEntry> {
    let candidates = catalogue.entries.iter().rev().filter(|entry| entry.summary.is_physical());
    for entry in candidates {
        let reachable = match target {
            RecoveryTarget::Time(time) => entry.summary.finished <= *time,
            RecoveryTarget::Lsn(lsn) => {
                let manifest = repository.manifest(&entry.summary).await?;
                manifest.physical.is_some_and(|physical| physical.stop_lsn <= *lsn)
            }
            _ => true,
        };
        if reachable {
            return Ok(entry);
        }
    }
    Err(RepositoryError::NoBackup("physical backup that ended before the target of the recovery").into())
}

/// Restores the cluster of a physical backup to `target`, and sets how it recovers when it is started.
///
/// The control file comes last, and under its own name only when all else is durable: what a crash leaves does not start. Every
/// byte is authenticated before it is written.
///
/// # Errors
/// [`PostgresError::FolderNotEmpty`]; of the repository, the storage place or the disk.
pub async fn restore_cluster(
    repository: &Repository,
    id: &BackupId,
    target: &ClusterTarget,
    recovery: &RecoveryOptions,
    progress: &dyn Progress,
) -> Result<ClusterRestoreReport> {
    let started = Instant::now();
    let catalogue = repository.catalogue().await?;
    let entry = select(&catalogue, &BackupSelector::Id(id.clone()))?;
    let manifest = repository.manifest(&entry.summary).await?;
    let Some(physical) = &manifest.physical else {
        let message = format!("{id} is a {} backup, which holds no cluster: restore it into a database", manifest.kind);
        return Err(PostgresError::InvalidOptions(message).into());
    };
    let files = restore_to(repository, &manifest, physical, target, recovery, progress).await?;
    Ok(ClusterRestoreReport {
        backup: id.clone(),
        data: target.data.clone(),
        server_version: manifest.contents.server.version.clone(),
        files,
        bytes: physical.bytes,
        start_lsn: physical.start_lsn,
        stop_lsn: physical.stop_lsn,
        target: recovery.target.clone(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Restores the files of a backup whose manifest has been read; returns how many.
pub(super) async fn restore_to(
    repository: &Repository,
    manifest: &Manifest,
    physical: &PhysicalContents,
    target: &ClusterTarget,
    recovery: &RecoveryOptions,
    progress: &dyn Progress,
) -> Result<u64> {
    let phase = PhaseGuard::start(progress, Phase::Restore, &target.data.display().to_string(), Some(physical.bytes));
    let wanted = target.clone();
    let folders = blocking(move || TargetFolders::claim(&wanted)).await?;
    let packs = repository.pack_reader(physical);
    let mut work = Work { folders, scatter: Scatter::new(&packs, &phase), has_control: false, files: 0 };
    let mut map = repository.file_map(&manifest.id).await?;
    while let Some(record) = map.next().await? {
        work.place(&record).await?;
    }
    work.scatter.flush().await?;
    let Work { folders, files, has_control, .. } = work;
    if !has_control || files != physical.files {
        let reason = format!("it lists {files} of {} files, control file: {has_control}", physical.files);
        return Err(RepositoryError::Damaged { record: physical.map.key.to_string(), reason }.into());
    }
    let (contents, options) = (physical.clone(), recovery.clone());
    blocking(move || finish(&folders, &contents, &options)).await?;
    phase.finish();
    Ok(files)
}

/// A restore under way.
struct Work<'a> {
    folders: TargetFolders,
    scatter: Scatter<'a>,
    has_control: bool,
    files: u64,
}

impl Work<'_> {
    /// Makes what a record describes; the contents of files follow when enough of them have been gathered.
    async fn place(&mut self, record: &FileRecord) -> Result<()> {
        match &record.kind {
            FileKind::Directory => self.folders.directory(&record.path, record.mode),
            FileKind::Tablespace { target } => self.folders.tablespace(&record.path, target),
            FileKind::File { extents, .. } => {
                let mut path = self.folders.resolve(&record.path)?;
                if record.path == CONTROL_FILE {
                    self.has_control = true;
                    path = self.folders.data().join(CONTROL_DRAFT);
                }
                self.folders.file(&path, record.mode, record.size())?;
                self.files += 1;
                self.scatter.file(path);
                let mut at = 0;
                for extent in extents {
                    if let Extent::Stored { pack, offset, length } = *extent {
                        self.scatter.piece(pack, u64::from(offset), u64::from(length), at);
                    }
                    at += extent.length();
                }
                if self.scatter.is_full() { self.scatter.flush().await } else { Ok(()) }
            }
        }
    }
}

/// Writes what steers recovery, makes all durable, and only then gives the control file its name.
fn finish(folders: &TargetFolders, contents: &PhysicalContents, recovery: &RecoveryOptions) -> Result<()> {
    let data = folders.data();
    folders.write(&data.join(BACKUP_LABEL), contents.backup_label.as_bytes())?;
    let conf = data.join(AUTO_CONF);
    let stored = match std::fs::read_to_string(&conf) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed("read", &conf)(error)),
    };
    folders.write(&conf, rewrite_auto_conf(&stored, recovery).as_bytes())?;
    folders.write(&data.join(RECOVERY_SIGNAL), b"")?;
    folders.sync()?;
    let control = data.join(CONTROL_FILE);
    std::fs::rename(data.join(CONTROL_DRAFT), &control).map_err(failed("name", &control))?;
    sync_folder(&data.join("global"))
}

fn sync_folder(path: &Path) -> Result<()> {
    std::fs::File::open(path).and_then(|folder| folder.sync_all()).map_err(failed("sync", path))
}
