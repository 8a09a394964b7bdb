//! Removes from the archive what no backup can be recovered with any more.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ops::{ErrorKind, Result};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{Catalogue, CatalogueEntry, Repository, TailPiece, WalObject};
use crate::storage::MissedWrite;
use crate::types::{Lsn, WalFileName, WalSegmentName, WalSegmentSize};

/// What is removed of a cluster's archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PrunedWal {
    /// The cluster.
    pub system_identifier: u64,
    /// Where replay of the oldest backup of the cluster begins: all that lies in segments before is removed.
    pub before: Lsn,
    /// Files that are removed. Histories of timelines always stay.
    pub files: u64,
    /// Bytes that they take up.
    pub bytes: u64,
}

/// What pruning the archive did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WalPruneReport {
    /// Whether nothing was removed because that was not asked for.
    pub dry_run: bool,
    /// What was removed, by cluster.
    pub clusters: Vec<PrunedWal>,
    /// Places that could not be reached with every removal.
    pub missed: Vec<MissedWrite>,
}

/// Files of the archive that are of no use any more.
#[derive(Debug, Default)]
pub(in crate::ops) struct UnneededWal {
    pub(in crate::ops) clusters: Vec<PrunedWal>,
    /// The oldest first: what a crash leaves has no gap.
    objects: Vec<WalObject>,
    /// Pieces of segments that never became whole, or whose removal was cut short.
    tails: Vec<TailPiece>,
}

/// Removes the log before the oldest physical backup of each cluster. A cluster without one keeps all of its log.
///
/// # Errors
/// [`RepositoryError::Busy`](crate::repository::RepositoryError::Busy) beside another prune; of the repository or the storage place.
pub async fn wal_prune(repository: &Repository, dry_run: bool, progress: &dyn Progress) -> Result<WalPruneReport> {
    let catalogue = repository.catalogue().await?;
    if dry_run {
        let unneeded = unneeded_wal(repository, &catalogue, &kept_by_all(&catalogue)).await?;
        return Ok(WalPruneReport { dry_run, clusters: unneeded.clusters, missed: Vec::new() });
    }
    let lease = repository.prune_lease().await?;
    let phase = PhaseGuard::start(progress, Phase::Prune, &repository.storage().location(), None);
    let removed = async {
        let catalogue = repository.catalogue().await?;
        let unneeded = unneeded_wal(repository, &catalogue, &kept_by_all(&catalogue)).await?;
        remove_wal(repository, &unneeded, &phase).await?;
        Ok(unneeded.clusters)
    };
    let removed: Result<Vec<PrunedWal>> = removed.await;
    phase.finish();
    let released = lease.release().await;
    let clusters = removed?;
    released?;
    Ok(WalPruneReport { dry_run, clusters, missed: repository.storage().take_missed_writes() })
}

fn kept_by_all(catalogue: &Catalogue) -> Vec<&CatalogueEntry> {
    catalogue.entries.iter().collect()
}

/// Finds what of the archive none of the `kept` backups can be recovered with. Nothing while that is not certain.
pub(in crate::ops) async fn unneeded_wal(
    repository: &Repository,
    catalogue: &Catalogue,
    kept: &[&CatalogueEntry],
) -> Result<UnneededWal> {
    let objects = repository.wal_objects(None).await?;
    let tails = repository.wal_tails(None, None).await?;
    if objects.is_empty() && tails.is_empty() {
        return Ok(UnneededWal::default());
    }
    if !catalogue.problems.is_empty() || kept.iter().any(|entry| entry.details.is_none()) {
        tracing::warn!("no WAL is removed while a backup cannot be read: it may need it");
        return Ok(UnneededWal::default());
    }
    if repository.has_live_runs().await? {
        tracing::info!("no WAL is removed while a backup runs");
        return Ok(UnneededWal::default());
    }
    // A run that committed before its lease was looked for is in the catalogue by now.
    let now = repository.catalogue().await?;
    if now.entries.iter().any(|entry| catalogue.find(entry.id()).is_none()) {
        return Ok(UnneededWal::default());
    }
    let oldest = match oldest_starts(repository, kept).await {
        Ok(oldest) => oldest,
        Err(error) if matches!(error.kind(), ErrorKind::Integrity | ErrorKind::NotFound) => {
            tracing::warn!(%error, "no WAL is removed while a backup cannot be read: it may need it");
            return Ok(UnneededWal::default());
        }
        Err(error) => return Err(error),
    };
    let mut unneeded = UnneededWal::default();
    // Where replay begins, of what lies before it.
    let is_old = |system: u64, name: Option<WalSegmentName>| {
        let (start, size) = oldest.get(&system)?;
        let number = name?.number((*size)?)?;
        (number < start.0 / (*size)?.bytes()).then_some(*start)
    };
    unneeded.tails = tails;
    unneeded.tails.retain(|piece| is_old(piece.system_identifier, Some(piece.segment)).is_some());
    for object in objects {
        let Some(start) = is_old(object.system_identifier, segment_of(object.name)) else { continue };
        match unneeded.clusters.last_mut() {
            Some(last) if last.system_identifier == object.system_identifier => {
                last.files += 1;
                last.bytes += object.stored_bytes;
            }
            _ => unneeded.clusters.push(PrunedWal {
                system_identifier: object.system_identifier,
                before: start,
                files: 1,
                bytes: object.stored_bytes,
            }),
        }
        unneeded.objects.push(object);
    }
    Ok(unneeded)
}

/// Removes what was found.
pub(in crate::ops) async fn remove_wal(
    repository: &Repository,
    unneeded: &UnneededWal,
    phase: &PhaseGuard<'_>,
) -> Result<()> {
    for object in &unneeded.objects {
        repository.remove_wal(object).await?;
        phase.advance(object.stored_bytes);
    }
    for piece in &unneeded.tails {
        repository.remove_wal_tail(piece).await?;
    }
    for cluster in &unneeded.clusters {
        let PrunedWal { system_identifier, before, files, .. } = cluster;
        tracing::info!(system_identifier, %before, files, "WAL removed");
    }
    Ok(())
}

/// Where replay begins, and the size of segments, if it never changed.
type Start = (Lsn, Option<WalSegmentSize>);

/// Returns where replay of the oldest backup of each cluster begins.
async fn oldest_starts(repository: &Repository, kept: &[&CatalogueEntry]) -> Result<BTreeMap<u64, Start>> {
    let mut oldest: BTreeMap<u64, Start> = BTreeMap::new();
    for entry in kept.iter().filter(|entry| entry.summary.is_physical()) {
        let manifest = repository.manifest(&entry.summary).await?;
        let Some((system, physical)) = manifest.contents.server.system_identifier.zip(manifest.physical) else {
            continue;
        };
        let size = WalSegmentSize::new(physical.wal_segment_bytes);
        let start = oldest.entry(system).or_insert((physical.start_lsn, size));
        start.0 = start.0.min(physical.start_lsn);
        start.1 = start.1.filter(|known| Some(*known) == size);
    }
    Ok(oldest)
}

/// Returns the segment that a file is, or belongs to.
fn segment_of(name: WalFileName) -> Option<WalSegmentName> {
    match name {
        WalFileName::Segment(name) | WalFileName::Partial(name) | WalFileName::BackupHistory(name, _) => Some(name),
        WalFileName::History(_) => None,
    }
}
