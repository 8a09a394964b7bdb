//! `archive_command`: a file goes into the archive, and with it what else is ready.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt as _;
use serde::Serialize;

use super::local::LocalFile;
use super::notes::FileStamp;
use super::spool::WalSpool;
use crate::ops::Result;
use crate::repository::{Repository, WalOutcome};
use crate::storage::{MissedWrite, Storage};
use crate::types::WalFileName;

/// How a file is archived.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct WalPushOptions {
    /// The cluster that the file must be of; what is not said is found out.
    pub system_identifier: Option<u64>,
    /// The places of the repository, the primary first, if there are several: a file that is archived already is given to those that
    /// lack it, as after an attempt that was cut short.
    pub places: Vec<Arc<dyn Storage>>,
}

impl WalPushOptions {
    /// Sets the cluster that the file must be of.
    pub fn with_system_identifier(mut self, identifier: Option<u64>) -> Self {
        self.system_identifier = identifier;
        self
    }

    /// Sets the places of the repository, the primary first.
    pub fn with_places(mut self, places: Vec<Arc<dyn Storage>>) -> Self {
        self.places = places;
        self
    }
}

/// What a push did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WalPushOutcome {
    /// The file was archived.
    Archived,
    /// The same file was there already.
    Identical,
    /// An earlier push had taken it along.
    PushedAhead,
}

/// A file that is archived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WalPushReport {
    /// The cluster.
    pub system_identifier: u64,
    /// The file.
    pub name: WalFileName,
    /// What was done.
    pub outcome: WalPushOutcome,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes that are stored.
    pub stored_bytes: u64,
    /// Places that do not have it. Empty means: durable everywhere.
    pub missed: Vec<MissedWrite>,
}

impl WalPushReport {
    pub(super) fn new(
        system_identifier: u64,
        name: WalFileName,
        outcome: WalPushOutcome,
        bytes: u64,
        stored_bytes: u64,
    ) -> Self {
        Self { system_identifier, name, outcome, bytes, stored_bytes, missed: Vec::new() }
    }

    /// Returns whether the file is durable at every place: only then may PostgreSQL recycle it.
    pub fn is_complete(&self) -> bool {
        self.missed.is_empty()
    }
}

/// Archives the file at `path`: a segment, or a `.partial`, `.history` or `.backup` file.
///
/// The file is read once. It is checked against its name; of which cluster it is, its own header says, or else the option, the data
/// directory it lies in, or the archive. The same file again is fine. A crash leaves the archive without the file or with all of it.
///
/// # Errors
/// [`Error::Wal`](crate::Error::Wal) for a file that is not what its name says, [`RepositoryError::WalConflict`] when another
/// file of this name is archived, [`RepositoryError::WalDamaged`] when that one cannot be read.
///
/// [`RepositoryError::WalConflict`]: crate::repository::RepositoryError::WalConflict
/// [`RepositoryError::WalDamaged`]: crate::repository::RepositoryError::WalDamaged
pub async fn wal_push(repository: &Repository, path: &Path, options: &WalPushOptions) -> Result<WalPushReport> {
    let (report, _) = push(repository, path, options).await?;
    Ok(report)
}

async fn push(repository: &Repository, path: &Path, options: &WalPushOptions) -> Result<(WalPushReport, FileStamp)> {
    let file = LocalFile::read(path).await?;
    let stamp = file.stamp;
    let source = file.into_source(repository, options.system_identifier).await?;
    let (system, name) = (source.system_identifier, source.name);
    let WalOutcome { identical, plaintext_bytes, stored_bytes, missed } =
        repository.store_wal(source, &options.places).await?;
    let outcome = if identical { WalPushOutcome::Identical } else { WalPushOutcome::Archived };
    let mut report = WalPushReport::new(system, name, outcome, plaintext_bytes, stored_bytes);
    report.missed = missed;
    report.missed.extend(repository.storage().take_missed_writes());
    Ok((report, stamp))
}

/// Files that are taken along in one push.
const AHEAD: usize = 64;
/// Bytes of files that are pushed at once: each is held in memory twice, in the clear and sealed.
const AT_ONCE: u64 = 32 << 20;

impl WalSpool {
    /// Archives the other files that wait beside `path`, oldest first, and notes which are durable everywhere.
    ///
    /// Call it after the push of `path` itself. What fails here fails again, and is told, when PostgreSQL asks for it. Returns the names
    /// of those that were archived.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the notes cannot be written.
    pub async fn push_ahead(
        &self,
        repository: &Repository,
        report: &WalPushReport,
        path: &Path,
        options: &WalPushOptions,
    ) -> Result<Vec<WalFileName>> {
        let system = report.system_identifier;
        let waiting = waiting_beside(path);
        self.forget_pushed(system, |noted| waiting.iter().any(|name| name.to_string() == noted))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let ahead = waiting.into_iter().filter(|name| *name != report.name && !self.is_noted(system, *name));
        let paths: Vec<PathBuf> = ahead.take(AHEAD).map(|name| folder.join(name.to_string())).collect();
        let location = repository.storage().location();
        let largest = paths.first().and_then(|path| std::fs::metadata(path).ok()).map_or(0, |found| found.len());
        let at_once = AT_ONCE.checked_div(largest).unwrap_or(1).clamp(1, 2) as usize;
        let pushes = futures::stream::iter(paths).map(|path| async move {
            let outcome = push(repository, &path, options).await;
            (path, outcome)
        });
        // In order: where one fails, nothing behind it is noted, and the archive grows from its end.
        let mut pushes = pushes.buffered(at_once).boxed();
        let mut pushed = Vec::new();
        while let Some((path, outcome)) = pushes.next().await {
            match outcome {
                Ok((report, stamp)) if report.is_complete() => {
                    self.note_pushed(&report, &location, stamp)?;
                    pushed.push(report.name);
                }
                Ok((report, _)) => {
                    tracing::warn!(file = %report.name, "a place missed it; it is pushed again when PostgreSQL asks");
                    break;
                }
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "not pushed ahead; it is pushed when PostgreSQL asks");
                    break;
                }
            }
        }
        Ok(pushed)
    }
}

/// Lists the files beside `path` that PostgreSQL marked as ready to be archived: histories first, as it does itself.
fn waiting_beside(path: &Path) -> Vec<WalFileName> {
    let Some(folder) = path.parent() else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(folder.join("archive_status")) else { return Vec::new() };
    let ready = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_suffix(".ready")?.parse().ok()
    });
    let mut waiting: Vec<WalFileName> = ready.collect();
    waiting.sort_by_key(|name| (!matches!(name, WalFileName::History(_)), name.to_string()));
    waiting
}
