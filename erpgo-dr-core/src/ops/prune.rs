//! Removes what no policy keeps, and what crashed runs left.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde::Serialize;

use super::Result;
use super::wal::{PrunedWal, UnneededWal, remove_wal, unneeded_wal};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{Catalogue, CatalogueEntry, Leftovers, Repository};
use crate::retention::{Decision, Guarded, RetentionCandidate, RetentionPlan, RetentionPolicy};
use crate::storage::MissedWrite;
use crate::types::{BackupId, ObjectKey};

/// How a prune goes about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneOptions {
    /// Only say what would be done.
    pub dry_run: bool,
    /// How long what an uncommitted run wrote must have lain untouched, and its lease have lapsed, to be removed.
    pub grace: TimeDelta,
    /// Whether the archive of the write-ahead log keeps what lies before the oldest backup.
    pub keep_wal: bool,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self { dry_run: false, grace: TimeDelta::hours(1), keep_wal: false }
    }
}

impl PruneOptions {
    /// Sets whether anything is done.
    pub fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Sets the time that leftovers must have lain untouched.
    pub fn with_grace(mut self, grace: TimeDelta) -> Self {
        self.grace = grace;
        self
    }

    /// Sets whether the archive of the write-ahead log keeps what lies before the oldest backup.
    pub fn with_keep_wal(mut self, keep_wal: bool) -> Self {
        self.keep_wal = keep_wal;
        self
    }
}

/// A backup that was removed, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PrunedBackup {
    /// The backup.
    pub id: BackupId,
    /// Bytes that it took up, and that no other backup needs.
    pub bytes: u64,
}

/// What a prune did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PruneReport {
    /// Whether this is only what would be done.
    pub dry_run: bool,
    /// The policy, in words.
    pub policy: String,
    /// The decision about every backup, with its reasons.
    pub decisions: Vec<Decision>,
    /// What was removed.
    pub removed: Vec<PrunedBackup>,
    /// The write-ahead log before the oldest backup that is kept of each cluster.
    pub wal: Vec<PrunedWal>,
    /// Runs that never committed and whose objects were removed.
    pub leftover_runs: Vec<BackupId>,
    /// Bytes of those objects.
    pub leftover_bytes: u64,
    /// Bytes that the storage place was asked to free of unfinished writes.
    pub unfinished_writes: u64,
    /// Places that could not be reached with every removal.
    pub missed: Vec<MissedWrite>,
}

/// Removes the backups that `policy` expires, and the leftovers of crashed runs.
///
/// Guards stand above any policy: the last proven backup stays, as does what another needs, what is on hold,
/// and what comes from the future. Every backup must be open to the keys at hand: what cannot be
/// authenticated is not decided about. A prune beside running backups is safe, a second prune is refused.
///
/// # Errors
/// [`RepositoryError::Busy`](crate::repository::RepositoryError::Busy) beside another prune;
/// [`RepositoryError::Locked`](crate::repository::RepositoryError::Locked) without the keys.
pub async fn prune(
    repository: &Repository,
    policy: &dyn RetentionPolicy,
    options: &PruneOptions,
    progress: &dyn Progress,
) -> Result<PruneReport> {
    if options.dry_run {
        return plan(repository, policy, options).await.map(|plan| plan.report);
    }
    let lease = repository.prune_lease().await?;
    let phase = PhaseGuard::start(progress, Phase::Prune, &repository.storage().location(), None);
    let outcome = act(repository, policy, options, &phase).await;
    phase.finish();
    let released = lease.release().await;
    let report = outcome?;
    released?;
    Ok(report)
}

struct PrunePlan {
    catalogue: Catalogue,
    leftovers: Leftovers,
    wal: UnneededWal,
    report: PruneReport,
}

async fn plan(repository: &Repository, policy: &dyn RetentionPolicy, options: &PruneOptions) -> Result<PrunePlan> {
    let catalogue = repository.catalogue().await?;
    let leftovers = repository.leftovers(&catalogue, options.grace).await?;
    let decisions = decide(repository, &catalogue, policy).decisions;
    let expired = decisions.iter().filter(|decision| !decision.keep);
    let expired: Vec<&CatalogueEntry> = expired.filter_map(|decision| catalogue.find(&decision.id)).collect();
    let is_kept = |entry: &&CatalogueEntry| !expired.iter().any(|expired| expired.id() == entry.id());
    let kept: Vec<&CatalogueEntry> = catalogue.entries.iter().filter(is_kept).collect();
    let removed = freed(&expired, &kept);
    let wal = match options.keep_wal {
        true => UnneededWal::default(),
        false => unneeded_wal(repository, &catalogue, &kept).await?,
    };
    let report = PruneReport {
        dry_run: options.dry_run,
        policy: policy.describe(),
        decisions,
        removed,
        wal: wal.clusters.clone(),
        leftover_runs: leftovers.runs.keys().cloned().collect(),
        leftover_bytes: leftovers.bytes(),
        unfinished_writes: 0,
        missed: Vec::new(),
    };
    Ok(PrunePlan { catalogue, leftovers, wal, report })
}

/// Tells what each of the expired backups gives back: what no other one needs.
fn freed(expired: &[&CatalogueEntry], kept: &[&CatalogueEntry]) -> Vec<PrunedBackup> {
    let mut needed: BTreeSet<&ObjectKey> =
        kept.iter().flat_map(|entry| &entry.summary.objects).map(|object| &object.key).collect();
    let mut freed = Vec::new();
    for entry in expired {
        let summary = &entry.summary;
        // What several expired backups share is counted once.
        let objects = summary.objects.iter().filter(|object| needed.insert(&object.key));
        let bytes = objects.map(|object| object.stored_bytes).sum::<u64>() + summary.manifest.stored_bytes;
        freed.push(PrunedBackup { id: entry.id().clone(), bytes });
    }
    freed
}

/// Asks the policy about the backups that are open, and keeps the others.
fn decide(repository: &Repository, catalogue: &Catalogue, policy: &dyn RetentionPolicy) -> RetentionPlan {
    let (open, locked): (Vec<_>, Vec<_>) = catalogue.entries.iter().partition(|entry| entry.details.is_some());
    let candidates: Vec<RetentionCandidate> = open.iter().map(|entry| entry.candidate()).collect();
    let mut plan = Guarded::new(policy).plan(repository.environment().clock.now(), &candidates);
    plan.decisions.extend(locked.iter().map(|entry| Decision {
        id: entry.id().clone(),
        keep: true,
        reasons: vec!["locked: cannot be authenticated without its key".to_owned()],
    }));
    plan.decisions.sort_by(|a, b| a.id.cmp(&b.id));
    plan
}

async fn act(
    repository: &Repository,
    policy: &dyn RetentionPolicy,
    options: &PruneOptions,
    phase: &PhaseGuard<'_>,
) -> Result<PruneReport> {
    let PrunePlan { catalogue, leftovers, wal, mut report } = plan(repository, policy, options).await?;
    for pruned in &report.removed {
        let Some(entry) = catalogue.find(&pruned.id) else { continue };
        repository.remove_backup(entry).await?;
        phase.advance(pruned.bytes);
        tracing::info!(backup = %pruned.id, bytes = pruned.bytes, "backup removed");
    }
    let mut revoked = Vec::new();
    for id in leftovers.runs.keys() {
        if repository.revoke(id).await? {
            tracing::info!(run = %id, "leftovers of a dead run removed");
            revoked.push(id.clone());
        }
    }
    report.leftover_runs = revoked;
    remove_wal(repository, &wal, phase).await?;
    let packs = repository.remove_unneeded_packs().await?;
    phase.advance(packs);
    let now = repository.environment().clock.now();
    report.unfinished_writes = repository.storage().sweep(now - options.grace).await?;
    repository.forget_old_state().await?;
    report.missed = repository.storage().take_missed_writes();
    Ok(report)
}
