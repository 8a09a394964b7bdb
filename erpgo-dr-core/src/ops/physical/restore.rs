//! Restores the files of a cluster, so that a server can be started on them.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::compare::Comparison;
use super::delta::{self, PathKind};
use super::early_sync::sync_meanwhile;
use super::lineage;
use super::manifest_file::write_backup_manifest;
use super::recovery::{RecoveryOptions, RecoveryTarget, rewrite_auto_conf};
use super::scatter::{Scatter, blocking};
use super::selection::EmptyDatabases;
use super::start::ClusterStartReport;
use super::target::{ClusterTarget, TargetFolders, failed, sync_folder};
use super::{AUTO_CONF, BACKUP_LABEL, CONTROL_DRAFT, CONTROL_FILE};
use crate::ops::{BackupSelector, Result, select};
use crate::postgres::PostgresError;
#[cfg(doc)]
use crate::postgres::physical::PhysicalError;
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{
    Catalogue, CatalogueEntry, Extent, ExtentCursor, FileKind, FileMapReader, FileRecord, Manifest, PhysicalContents,
    Repository, RepositoryError,
};
use crate::types::{BackupId, Lsn};

const RECOVERY_SIGNAL: &str = "recovery.signal";

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
    /// Bytes that were written, because they were not there already.
    pub written_bytes: u64,
    /// Files and folders that were removed, because the backup does not have them.
    pub removed: u64,
    /// Databases of which nothing but the size of their files was restored: nobody can connect to them, and they are to be dropped.
    pub empty_databases: Vec<String>,
    /// Where replay begins.
    pub start_lsn: Lsn,
    /// Where the cluster is consistent: no target can lie before it.
    pub stop_lsn: Lsn,
    /// Where replay is to stop.
    pub target: RecoveryTarget,
    /// Seconds that it took to restore the files.
    pub seconds: f64,
    /// The server that was started, if one was.
    pub started: Option<ClusterStartReport>,
}

/// What lies in a folder, beside a backup.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClusterDifference {
    /// Files that would be made or written to.
    pub files: u64,
    /// Bytes that would be written.
    pub bytes: u64,
    /// Files and folders that the backup does not have, and that would be removed.
    pub removed: Vec<PathBuf>,
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
/// [`PostgresError::InvalidOptions`]; [`PostgresError::NotInBackup`] for a database; [`PostgresError::FolderNotEmpty`]; with [`ClusterTarget::delta`] instead [`ServerRuns`](PhysicalError::ServerRuns) and
/// [`OtherCluster`](PhysicalError::OtherCluster); of the repository, the storage place or the disk.
pub async fn restore_cluster(
    repository: &Repository,
    id: &BackupId,
    target: &ClusterTarget,
    recovery: &RecoveryOptions,
    progress: &dyn Progress,
) -> Result<ClusterRestoreReport> {
    let started = Instant::now();
    recovery.check()?;
    let (manifest, physical) = find(repository, id).await?;
    let Restored { files, written_bytes, removed, empty_databases } =
        restore_to(repository, &manifest, &physical, target, recovery, progress).await?;
    Ok(ClusterRestoreReport {
        backup: id.clone(),
        data: target.data.clone(),
        server_version: manifest.contents.server.version.clone(),
        files,
        bytes: physical.bytes,
        written_bytes,
        removed,
        empty_databases,
        start_lsn: physical.start_lsn,
        stop_lsn: physical.stop_lsn,
        target: recovery.target.clone(),
        seconds: started.elapsed().as_secs_f64(),
        started: None,
    })
}

/// What restoring a cluster over what lies in `target` would change there.
///
/// # Errors
/// As [`restore_cluster`].
pub async fn compare_cluster(
    repository: &Repository,
    id: &BackupId,
    target: &ClusterTarget,
    progress: &dyn Progress,
) -> Result<ClusterDifference> {
    let (manifest, physical) = find(repository, id).await?;
    let folders = TargetFolders::new(target)?;
    let extras = survey(repository, &manifest, &physical, &folders, target.discard_wal).await?;
    let phase = PhaseGuard::start(progress, Phase::Verify, &target.data.display().to_string(), Some(physical.bytes));
    let mut difference = ClusterDifference { removed: extras, ..ClusterDifference::default() };
    let mut comparison = Comparison::begin(repository, &manifest, &physical).await?;
    while let Some((record, stretches)) = comparison.next(&folders, &phase).await? {
        let bytes = stretches.iter().map(|stretch| stretch.end - stretch.start).sum::<u64>();
        difference.bytes += bytes;
        difference.files += u64::from(bytes > 0 && matches!(record.kind, FileKind::File { .. }));
    }
    phase.finish();
    Ok(difference)
}

pub(in crate::ops) async fn find(repository: &Repository, id: &BackupId) -> Result<(Manifest, PhysicalContents)> {
    let catalogue = repository.catalogue().await?;
    let entry = select(&catalogue, &BackupSelector::Id(id.clone()))?;
    let mut manifest = repository.manifest(&entry.summary).await?;
    match manifest.physical.take() {
        Some(physical) => Ok((manifest, physical)),
        None => {
            let kind = &manifest.kind;
            let message = format!("{id} is a {kind} backup, which holds no cluster: restore it into a database");
            Err(PostgresError::InvalidOptions(message).into())
        }
    }
}

/// What a restore did.
#[derive(Debug, Default)]
pub(super) struct Restored {
    files: u64,
    written_bytes: u64,
    removed: u64,
    empty_databases: Vec<String>,
}

/// Restores the files of a backup whose manifest has been read.
pub(super) async fn restore_to(
    repository: &Repository,
    manifest: &Manifest,
    physical: &PhysicalContents,
    target: &ClusterTarget,
    recovery: &RecoveryOptions,
    progress: &dyn Progress,
) -> Result<Restored> {
    let empty = EmptyDatabases::beside(&target.databases, &manifest.id, physical)?;
    if target.delta && !target.databases.is_empty() {
        let text = "databases are selected for a new folder: what lies in an old one would be lost of the others";
        return Err(PostgresError::InvalidOptions(text.to_owned()).into());
    }
    let phase = PhaseGuard::start(progress, Phase::Restore, &target.data.display().to_string(), Some(physical.bytes));
    let mut folders = TargetFolders::new(target)?;
    let system_identifier = manifest.contents.server.system_identifier;
    let is_over = target.delta && !is_empty(&target.data)?;
    let removed = match is_over {
        true => {
            let extras = survey(repository, manifest, physical, &folders, target.discard_wal).await?;
            folders = blocking(move || {
                folders.take_over(system_identifier)?;
                Ok(folders)
            })
            .await?;
            remove_all(extras).await?
        }
        false => {
            folders = blocking(move || {
                folders.claim(system_identifier)?;
                Ok(folders)
            })
            .await?;
            0
        }
    };
    let packs = repository.pack_reader(physical);
    let scatter = Scatter::new(&packs, &phase, !is_over);
    let disks = folders.roots_of(physical);
    let mut work = Work { folders, scatter, has_control: false, files: 0, written_bytes: 0 };
    let write = async {
        match is_over {
            true => work.write_changes(Comparison::begin(repository, manifest, physical).await?, &phase).await,
            false => work.write_all(repository.file_map(&manifest.id).await?, &empty, &phase).await,
        }
    };
    tokio::select! {
        biased;
        written = write => written?,
        lost = sync_meanwhile(disks) => match lost? {},
    }
    let Work { folders, files, has_control, written_bytes, .. } = work;
    if !has_control || files != physical.files {
        let reason = format!("it lists {files} of {} files, control file: {has_control}", physical.files);
        return Err(RepositoryError::Damaged { record: physical.map.key.to_string(), reason }.into());
    }
    if target.backup_manifest {
        write_backup_manifest(repository, manifest, physical, &folders).await?;
    }
    let (contents, options) = (physical.clone(), lineage::resolve(repository, manifest, physical, recovery).await);
    blocking(move || finish(&folders, &contents, &options)).await?;
    phase.finish();
    Ok(Restored { files, written_bytes, removed, empty_databases: empty.names() })
}

fn is_empty(folder: &Path) -> Result<bool> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed("list", folder)(error)),
    }
}

/// Checks that a folder may be restored over, and lists what has to go. Reads the whole map: nothing is touched before it is
/// known to be sound.
async fn survey(
    repository: &Repository,
    manifest: &Manifest,
    physical: &PhysicalContents,
    folders: &TargetFolders,
    discard_wal: bool,
) -> Result<Vec<PathBuf>> {
    let (data, system_identifier) = (folders.data().to_owned(), manifest.contents.server.system_identifier);
    blocking(move || {
        delta::check_owner(&data, system_identifier)?;
        if discard_wal { Ok(()) } else { delta::check_archived(&data) }
    })
    .await?;
    let mut known = HashMap::new();
    let mut map = repository.file_map(&manifest.id).await?;
    while let Some(record) = map.next().await? {
        let kind = PathKind::of(&record.kind, &record.path, folders);
        known.insert(record.path, kind);
    }
    delta::check_tablespaces(folders, &known, &physical.data_directory)?;
    let data = folders.data().to_owned();
    blocking(move || delta::extras(&data, &known)).await
}

async fn remove_all(extras: Vec<PathBuf>) -> Result<u64> {
    blocking(move || {
        extras.iter().try_for_each(|path| delta::remove(path))?;
        Ok(extras.len() as u64)
    })
    .await
}

/// A restore under way.
struct Work<'a> {
    folders: TargetFolders,
    scatter: Scatter<'a>,
    has_control: bool,
    files: u64,
    written_bytes: u64,
}

impl Work<'_> {
    async fn write_changes(&mut self, mut comparison: Comparison, phase: &PhaseGuard<'_>) -> Result<()> {
        while let Some((record, stretches)) = comparison.next(&self.folders, phase).await? {
            self.place(&record, &stretches).await?;
        }
        self.scatter.flush().await
    }

    async fn write_all(
        &mut self,
        mut map: FileMapReader,
        empty: &EmptyDatabases,
        phase: &PhaseGuard<'_>,
    ) -> Result<()> {
        while let Some(record) = map.next().await? {
            let size = record.size();
            match empty.include(&record.path) {
                true => {
                    self.place(&record, &[]).await?;
                    phase.advance(size);
                }
                false => self.place(&record, std::slice::from_ref(&(0..size))).await?,
            }
        }
        self.scatter.flush().await
    }

    /// Makes what a record describes; the `stretches` of files that are not there yet follow when enough have been gathered.
    async fn place(&mut self, record: &FileRecord, stretches: &[Range<u64>]) -> Result<()> {
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
                let mut zeros = Vec::new();
                self.scatter.file(path.clone());
                let (mut cursor, mut at) = (ExtentCursor::new(extents), 0);
                for stretch in stretches {
                    cursor.advance(stretch.start - at, |_| {});
                    at = stretch.start;
                    cursor.advance(stretch.end - stretch.start, |extent| {
                        match extent {
                            Extent::Stored { pack, offset, length } => {
                                self.scatter.piece(pack, u64::from(offset), u64::from(length), at);
                            }
                            Extent::Zeros { length } => zeros.push(at..at + length),
                        }
                        at += extent.length();
                    });
                    self.written_bytes += stretch.end - stretch.start;
                }
                if !self.scatter.is_sparse() && !zeros.is_empty() {
                    blocking(move || delta::write_zeros(&path, &zeros)).await?;
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
    let recovery = if contents.from_standby { &recovery.of_standby() } else { recovery };
    folders.write(&conf, rewrite_auto_conf(&stored, recovery).as_bytes())?;
    folders.write(&data.join(RECOVERY_SIGNAL), b"")?;
    folders.sync()?;
    let control = data.join(CONTROL_FILE);
    std::fs::rename(data.join(CONTROL_DRAFT), &control).map_err(failed("name", &control))?;
    sync_folder(&data.join("global"))?;
    folders.unmark()
}
