//! A restore point and a moment behind it, drawn by lot: what a restore test replays, so that in the long run every part of the archive has its turn.

use super::restore::find;
use crate::ops::Result;
use crate::repository::{CatalogueEntry, PhysicalContents, Repository, RepositoryError, segment_ranges};
use crate::types::{BackupId, Lsn, WalFileName, WalSegmentName, WalSegmentSize};

/// A moment that a cluster can be restored to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RandomMoment {
    /// The backup.
    pub backup: BackupId,
    /// How far its log is to be replayed; `None` where the archive has no more than the backup itself.
    pub until: Option<Lsn>,
}

/// Draws a physical backup of a repository, and a position of the log between its end and the end of what is archived behind it without a gap, on
/// the backup's own timeline.
///
/// # Errors
/// [`RepositoryError::NoBackup`] where there is no physical backup; of the repository or the storage place.
pub async fn random_moment(repository: &Repository) -> Result<RandomMoment> {
    let catalogue = repository.catalogue().await?;
    let is_candidate = |entry: &&CatalogueEntry| entry.summary.is_physical() && entry.details.is_some();
    let candidates: Vec<&CatalogueEntry> = catalogue.entries.iter().filter(is_candidate).collect();
    if candidates.is_empty() {
        return Err(RepositoryError::NoBackup("physical backup").into());
    }
    let backup = candidates[rand::random_range(0..candidates.len())].id().clone();
    let range = archived_end(repository, &backup).await?.filter(|(from, until)| until > from);
    let until = range.map(|(from, until)| Lsn(rand::random_range(from.0..=until.0)));
    Ok(RandomMoment { backup, until })
}

/// Returns where a physical backup is consistent, and how far the log is archived behind it without a gap, on its own timeline.
pub(in crate::ops) async fn archived_end(repository: &Repository, backup: &BackupId) -> Result<Option<(Lsn, Lsn)>> {
    let (manifest, physical) = find(repository, backup).await?;
    let end = match manifest.contents.server.system_identifier {
        Some(system) => end_of_archive(repository, system, &physical).await?,
        None => None,
    };
    Ok(end.map(|end| (physical.stop_lsn, end)))
}

/// Returns how many bytes of the log are archived behind a physical backup without a gap, and would be replayed.
pub(in crate::ops) async fn archived_behind(repository: &Repository, backup: &BackupId) -> Result<u64> {
    let range = archived_end(repository, backup).await?;
    Ok(range.map_or(0, |(from, until)| until.0.saturating_sub(from.0)))
}

/// Returns the beginning of the last segment that follows on the end of a backup. In the segment itself, records may end anywhere.
async fn end_of_archive(repository: &Repository, system: u64, physical: &PhysicalContents) -> Result<Option<Lsn>> {
    let Some(size) = WalSegmentSize::new(physical.wal_segment_bytes) else { return Ok(None) };
    let (objects, _) = repository.wal_of_timeline(system, physical.timeline).await?;
    let segments = objects.iter().filter_map(|object| match object.name {
        WalFileName::Segment(name) => Some(name),
        _ => None,
    });
    let (ranges, _) = segment_ranges(physical.timeline, segments, size);
    // The segment that the backup ends in lies in the backup, too.
    let own = WalSegmentName::containing(physical.timeline, physical.stop_lsn, size);
    let next = own.start(size).map(|start| Lsn(start.0 + size.bytes()));
    let next = next.map(|next| WalSegmentName::containing(physical.timeline, next, size));
    let follows = |first: WalSegmentName, last: WalSegmentName| next.is_some_and(|next| first <= next && next <= last);
    Ok(ranges.iter().find(|range| follows(range.first, range.last)).and_then(|range| range.last.start(size)))
}
