//! The recovery window: to which moments a cluster can be brought back, and to which it cannot.
//!
//! Behind the end of each physical backup the log of its cluster is followed, segment by segment and from timeline to timeline, as far
//! as it is archived without a gap. Only names are looked at, and the end of the last stretch: that segments are sound is what
//! [`wal_check`](super::wal::wal_check) with its option to verify, and restore tests, prove.

mod follow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::wal::newest_commit_of;
use super::{Error, ErrorKind, Result};
use crate::repository::{Catalogue, CatalogueEntry, Repository, RepositoryError, Summary};
use crate::storage::StorageError;
use crate::types::{BackupId, WalSegmentName};
use follow::{Archive, Start, Stretch, spans};

/// Manifests that are read at once.
const AT_ONCE: usize = 8;

/// The moments that a cluster can be brought back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecoveryWindow {
    /// The cluster.
    pub system_identifier: u64,
    /// Whether any of its log is archived: without it, only the moments of the backups can be had.
    pub archived: bool,
    /// Stretches of time of which every moment can be had, the oldest first; they do not touch one another.
    pub spans: Vec<RecoverySpan>,
    /// Whether there is more of the log behind the last of them, and a gap before it: nothing of that can be had.
    pub cut_off: bool,
}

/// A stretch of time, of which every moment can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecoverySpan {
    /// When its first backup was complete.
    pub from: DateTime<Utc>,
    /// The last moment: that of the newest commit in its last segments. Where nothing was committed in them, it is when the last one was archived, by the
    /// clock of the storage place, which may be late.
    pub until: DateTime<Utc>,
    /// The last segment of the log that follows without a gap; absent where nothing follows on its backups.
    pub last_segment: Option<WalSegmentName>,
    /// The backups that it can begin from, the oldest first.
    pub backups: Vec<BackupId>,
}

impl RecoveryWindow {
    /// Returns the stretches between the spans, no moment of which can be had although the log is archived.
    pub fn gaps(&self) -> impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)> {
        self.spans.windows(2).filter(|_| self.archived).map(|pair| (pair[0].until, pair[1].from))
    }
}

/// The newest commit in and before a segment of a cluster, where there is one.
type NewestCommits = BTreeMap<(u64, WalSegmentName), Option<DateTime<Utc>>>;

/// What never changes of a repository, so that who asks again and again does not read it again.
#[derive(Debug, Default)]
pub struct WindowMemory {
    starts: Mutex<BTreeMap<BackupId, Start>>,
    commits: Mutex<NewestCommits>,
}

/// Finds the recovery window of each cluster of which there is a physical backup, in order of their system identifiers.
///
/// Reads the manifest of each physical backup, the histories of timelines, the names of the archive, and the last segments that can be reached. Backups whose last
/// verification failed, and those of epochs that are locked, are left out.
///
/// # Errors
/// Of the storage place; [`RepositoryError`] for a segment that cannot be trusted.
pub async fn recovery_windows(repository: &Repository, catalogue: &Catalogue) -> Result<Vec<RecoveryWindow>> {
    recovery_windows_with(repository, catalogue, &WindowMemory::default()).await
}

/// As [`recovery_windows`], for who asks again: what was read for the same repository before is in `memory`.
///
/// # Errors
/// As [`recovery_windows`].
pub async fn recovery_windows_with(
    repository: &Repository,
    catalogue: &Catalogue,
    memory: &WindowMemory,
) -> Result<Vec<RecoveryWindow>> {
    let has_failed = |entry: &CatalogueEntry| entry.verdicts.last().is_some_and(|verdict| !verdict.passed);
    let is_candidate =
        |entry: &&CatalogueEntry| entry.summary.is_physical() && entry.details.is_some() && !has_failed(entry);
    let summaries: Vec<Summary> =
        catalogue.entries.iter().filter(is_candidate).map(|entry| entry.summary.clone()).collect();
    memory.forget_all_but(&summaries);
    let starts =
        futures::stream::iter(summaries).map(|summary| async move { memory.start(repository, &summary).await });
    let starts: Vec<Option<Start>> = starts.buffered(AT_ONCE).try_collect().await?;
    let mut of_cluster: BTreeMap<u64, Vec<Start>> = BTreeMap::new();
    for start in starts.into_iter().flatten() {
        of_cluster.entry(start.system_identifier).or_default().push(start);
    }
    let mut windows = Vec::new();
    for (system_identifier, starts) in of_cluster {
        let archive = Archive::read(repository, system_identifier).await?;
        let mut stretches = archive.stretches(starts);
        for stretch in &mut stretches {
            memory.end_with_a_commit(repository, system_identifier, stretch).await?;
        }
        memory.forget_commits_but(system_identifier, &stretches);
        let newest = stretches.iter().max_by_key(|stretch| stretch.span.until);
        let cut_off = newest.is_some_and(|newest| newest.goes_on_behind_a_gap);
        let spans = spans(stretches);
        let archived = archive.has_segments();
        windows.push(RecoveryWindow { system_identifier, archived, spans, cut_off });
    }
    Ok(windows)
}

impl WindowMemory {
    fn forget_all_but(&self, summaries: &[Summary]) {
        let known: BTreeSet<&BackupId> = summaries.iter().map(|summary| &summary.id).collect();
        lock(&self.starts).retain(|id, _| known.contains(id));
    }

    fn forget_commits_but(&self, system: u64, stretches: &[Stretch]) {
        let is_last = |name: WalSegmentName| stretches.iter().any(|stretch| stretch.span.last_segment == Some(name));
        lock(&self.commits).retain(|(cluster, name), _| *cluster != system || is_last(*name));
    }

    async fn start(&self, repository: &Repository, summary: &Summary) -> Result<Option<Start>> {
        if let Some(start) = lock(&self.starts).get(&summary.id) {
            return Ok(Some(start.clone()));
        }
        let found = start(repository, summary).await?;
        // What is damaged may be healed.
        if let Some(start) = &found {
            lock(&self.starts).insert(summary.id.clone(), start.clone());
        }
        Ok(found)
    }

    /// Has a stretch end with its newest commit: the storage place may have got its last segment long after it was full.
    async fn end_with_a_commit(&self, repository: &Repository, system: u64, stretch: &mut Stretch) -> Result<()> {
        let Some(last) = stretch.span.last_segment else { return Ok(()) };
        let remembered = lock(&self.commits).get(&(system, last)).copied();
        let commit = match remembered {
            Some(commit) => commit,
            None => {
                let (commit, is_sound) = newest_commit(repository, system, &stretch.newest_segments).await?;
                if is_sound {
                    lock(&self.commits).insert((system, last), commit);
                } else {
                    stretch.goes_on_behind_a_gap = true;
                }
                commit.or((!is_sound).then_some(stretch.span.from))
            }
        };
        if let Some(commit) = commit {
            stretch.span.until = stretch.span.until.min(commit).max(stretch.span.from);
        }
        Ok(())
    }
}

/// Finds the newest commit in segments, the newest first, and whether all that were read are sound: behind a damaged one nothing can be had.
async fn newest_commit(
    repository: &Repository,
    system: u64,
    segments: &[WalSegmentName],
) -> Result<(Option<DateTime<Utc>>, bool)> {
    let mut is_sound = true;
    for segment in segments {
        match newest_commit_of(repository, system, std::iter::once(*segment)).await {
            Err(error) if error.kind() == ErrorKind::Integrity => {
                tracing::warn!(%segment, %error, "one of the last segments is damaged: nothing behind it can be had");
                is_sound = false;
            }
            found => match found? {
                None => {}
                commit => return Ok((commit, is_sound)),
            },
        }
    }
    Ok((None, is_sound))
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn start(repository: &Repository, summary: &Summary) -> Result<Option<Start>> {
    let manifest = match repository.manifest(summary).await {
        Ok(manifest) => manifest,
        // Removed since the catalogue was read.
        Err(RepositoryError::Storage(StorageError::NotFound { .. })) => return Ok(None),
        Err(error) => match Error::from(error) {
            error if error.kind() == ErrorKind::Integrity => {
                tracing::warn!(backup = %summary.id, %error, "nothing can be brought back from a backup whose manifest is damaged");
                return Ok(None);
            }
            error => return Err(error),
        },
    };
    let system_identifier = manifest.contents.server.system_identifier;
    let found = manifest.physical.as_ref().zip(system_identifier);
    Ok(found.and_then(|(physical, system)| Start::new(summary, system, physical)))
}
