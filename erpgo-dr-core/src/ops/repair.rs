//! Brings the places of a replicated repository up to date again: what one lacks or has wrong comes from another.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use serde::Serialize;

use super::{Result, strays};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{LEASES, Repository, StoredObject, owner_of};
use crate::storage::{
    RepairCopy, RepairJudge, RepairOptions, RepairPlan, RepairReport, ReplicatedStorage, StorageExt as _,
};
use crate::types::{BackupId, ContentHash, ContentHasher, ObjectKey};

/// Records and key slots are small.
const RECORD_LIMIT: usize = 16 << 20;

/// What a repair found and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairOutcome {
    /// What differed.
    pub plan: RepairPlan,
    /// What was done about it; `None` in a dry run.
    pub report: Option<RepairReport>,
}

impl RepairOutcome {
    /// Returns whether all places hold all that they should, now.
    pub fn is_healthy(&self) -> bool {
        let planned = self.plan.unresolved.is_empty() && self.plan.failures.is_empty();
        match &self.report {
            Some(report) => planned && report.failures.is_empty(),
            None => self.plan.is_healthy(),
        }
    }
}

/// Finds what the places of `storage` lack or have wrong, and copies it from a place that has it right.
///
/// Right is, for an object of a backup, what has the recorded hash; for a record, what has a valid MAC; for a file of the
/// write-ahead log, an entry of a journal and a part of evidence, what is authentic from its beginning to its end. Backups
/// that prune removed are not brought back. With `deep`, every copy is read and hashed; without, only sizes
/// are compared. What a delete has missed of backups that prune removed is removed.
///
/// `repository` must be unlocked, and opened at `storage` or at any one of its places that is sound.
///
/// # Errors
/// When no place can be listed. A place that fails is named in the outcome.
pub async fn repair(
    repository: &Repository,
    storage: &ReplicatedStorage,
    options: &RepairOptions,
    dry_run: bool,
    progress: &dyn Progress,
) -> Result<RepairOutcome> {
    let phase = PhaseGuard::start(progress, Phase::Repair, &repository.storage().location(), None);
    let judge = Judge::read(repository, storage).await?;
    let plan = storage.plan_repair(options, &judge).await?;
    let report = match dry_run {
        true => None,
        false => {
            let mut report = storage.repair(&plan).await;
            strays::remove(repository, storage, &plan.strays, &mut report).await?;
            Some(report)
        }
    };
    phase.advance(report.as_ref().map_or(0, |report| report.bytes));
    phase.finish();
    Ok(RepairOutcome { plan, report })
}

/// Knows from the catalogues of all places which objects there should be, and what is in them.
struct Judge<'a> {
    repository: &'a Repository,
    objects: BTreeMap<ObjectKey, StoredObject>,
    backups: BTreeSet<BackupId>,
}

impl<'a> Judge<'a> {
    async fn read(repository: &'a Repository, storage: &ReplicatedStorage) -> Result<Self> {
        let mut judge = Self { repository, objects: BTreeMap::new(), backups: BTreeSet::new() };
        let (mut removed, mut entries) = (BTreeSet::new(), BTreeMap::new());
        for place in storage.places() {
            // A place that cannot be read tells nothing; the plan will name it.
            let Ok(catalogue) = repository.catalogue_at(place.as_ref()).await else { continue };
            removed.extend(catalogue.removed().cloned());
            let open = catalogue.entries.into_iter().filter(|entry| entry.details.is_some());
            entries.extend(open.map(|entry| (entry.id().clone(), entry.summary)));
        }
        for (id, summary) in entries.into_iter().filter(|(id, _)| !removed.contains(id)) {
            let objects = std::iter::once(summary.manifest).chain(summary.objects);
            judge.objects.extend(objects.map(|object| (object.key.clone(), object)));
            judge.backups.insert(id);
        }
        Ok(judge)
    }

    async fn is_right(&self, key: &ObjectKey, copy: &RepairCopy) -> bool {
        match self.objects.get(key) {
            Some(object) if copy.size != object.stored_bytes => false,
            Some(object) => match copy.hash {
                Some(hash) => hash == object.hash,
                None => hash_of(copy, key).await == Some(object.hash),
            },
            None => match self.repository.is_authentic_container(copy.storage.as_ref(), key).await {
                Some(authentic) => authentic,
                None => match copy.storage.read(key, RECORD_LIMIT).await {
                    Ok(stored) => self.repository.is_authentic_record(key, stored),
                    Err(_) => false,
                },
            },
        }
    }
}

async fn hash_of(copy: &RepairCopy, key: &ObjectKey) -> Option<ContentHash> {
    let mut stream = copy.storage.get(key, None).await.ok()?;
    let mut hasher = ContentHasher::new();
    while let Some(chunk) = stream.try_next().await.ok()? {
        hasher.update(&chunk);
    }
    Some(hasher.finish())
}

#[async_trait]
impl RepairJudge for Judge<'_> {
    fn is_wanted(&self, key: &ObjectKey) -> bool {
        let advisory = key.is_under(LEASES);
        // A pack may outlive the backup that wrote it: others point into it.
        !advisory && (self.objects.contains_key(key) || owner_of(key).is_none_or(|id| self.backups.contains(&id)))
    }

    async fn choose(&self, key: &ObjectKey, copies: &[RepairCopy]) -> Option<usize> {
        for (number, copy) in copies.iter().enumerate() {
            if self.is_right(key, copy).await {
                return Some(number);
            }
        }
        None
    }
}
