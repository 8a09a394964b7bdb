//! Removes backups and what crashed runs left, so that a crash in between leaves the repository valid.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use futures::TryStreamExt as _;

use super::catalogue::{Catalogue, CatalogueEntry, EXPIRED_DOMAIN, ExpiredEntry};
use super::lease::{self, Lease, OperationLease};
use super::summary::{DOMAIN, Entry};
use super::verdict::{HOLD_DOMAIN, Hold, VERDICT_DOMAIN, Verdict};
use super::{Repository, RepositoryError, layout, packs, record, run};
use crate::storage::{ObjectMeta, PutOptions, Storage, StorageError, StorageExt as _};
use crate::types::{BackupId, ObjectKey};

/// How many verdicts of each backup are kept.
const VERDICTS_KEPT: usize = 10;

/// How long the mark of a revoked run stays: longer than any run can be out of touch and come back.
const REVOCATION_KEPT: TimeDelta = TimeDelta::days(30);

/// What runs left that never committed: for each its objects and their bytes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Leftovers {
    pub(crate) runs: BTreeMap<BackupId, Vec<ObjectMeta>>,
}

impl Leftovers {
    pub(crate) fn bytes(&self) -> u64 {
        self.runs.values().flatten().map(|meta| meta.size).sum()
    }
}

impl Repository {
    /// Takes the lease that only one prune may hold.
    pub(crate) async fn prune_lease(&self) -> Result<OperationLease, RepositoryError> {
        let holder = format!("{:016x}", rand::random::<u64>());
        let lease = Lease::exclusive(&self.storage, "prune", &holder).await?;
        Ok(OperationLease::new(lease, self.environment.cleanups.clone()))
    }

    /// Takes the lease that only one process may hold which acts on the loss of a cluster's primary.
    #[cfg(feature = "runbooks")]
    pub(crate) async fn failover_lease(&self, system: u64) -> Result<OperationLease, RepositoryError> {
        let (purpose, holder) = (format!("failover-{system}"), format!("{:016x}", rand::random::<u64>()));
        let lease = Lease::exclusive(&self.storage, &purpose, &holder).await?;
        let lease = OperationLease::new(lease, self.environment.cleanups.clone());
        lease::remove_lapsed(self.storage.as_ref(), &purpose).await?;
        Ok(lease)
    }

    /// Takes the lease that only one agent may hold, and that lives for `ttl` after each renewal.
    #[cfg(feature = "agent")]
    pub(crate) async fn agent_lease(&self, ttl: std::time::Duration) -> Result<lease::AgentLease, RepositoryError> {
        lease::AgentLease::take(&self.storage, self.environment.cleanups.clone(), ttl).await
    }

    /// Finds the objects of runs that have neither a catalogue entry nor a live lease, and did nothing for `grace`.
    pub(crate) async fn leftovers(
        &self,
        catalogue: &Catalogue,
        grace: TimeDelta,
    ) -> Result<Leftovers, RepositoryError> {
        // Objects first, leases after: a run that begins in between is seen with its lease.
        let mut runs: BTreeMap<BackupId, Vec<ObjectMeta>> = BTreeMap::new();
        let shared = packs::referenced(catalogue);
        for root in [layout::BACKUPS, layout::DUMPS, layout::PACKS] {
            let mut objects = self.storage.list(root);
            while let Some(meta) = objects.try_next().await? {
                let id = layout::backup_of(root, &meta.key).filter(|_| !shared.contains(&meta.key));
                if let Some(id) = id {
                    runs.entry(id).or_default().push(meta);
                }
            }
        }
        let now = lease::storage_time(self.storage.as_ref()).await?;
        let live = self.live_runs().await?;
        let idle = |objects: &[ObjectMeta]| objects.iter().all(|meta| now - meta.last_modified >= grace);
        runs.retain(|id, objects| {
            objects.retain(|meta| meta.key != layout::summary(id));
            !objects.is_empty() && catalogue.find(id).is_none() && !live.contains(id) && idle(objects)
        });
        // An entry that could not be read is damaged, not absent.
        runs.retain(|id, _| !catalogue.problems.iter().any(|problem| problem.subject.contains(id.as_str())));
        let mut leftovers = Leftovers::default();
        for (id, objects) in runs {
            if catalogue.is_removed(&id) || !self.is_committed_somewhere(&id).await {
                leftovers.runs.insert(id, objects);
            }
        }
        Ok(leftovers)
    }

    /// Returns whether a backup that the catalogue lacks may exist all the same: of several places the primary alone answers a
    /// list, and it can have lost what the others have. A read asks them all; what cannot be read counts as existing.
    async fn is_committed_somewhere(&self, id: &BackupId) -> bool {
        let found = record::load::<Entry>(self.storage.as_ref(), &layout::summary(id)).await;
        let exists = match &found {
            Ok(entry) => matches!(entry.as_ref().map(|found| &found.value), Some(Entry::Committed(_))),
            Err(_) => true,
        };
        if exists {
            tracing::warn!(backup = %id, "left alone: its catalogue entry is missing at the primary place; repair heals it");
        }
        exists
    }

    /// Returns whether a backup runs, or may.
    pub(crate) async fn has_live_runs(&self) -> Result<bool, RepositoryError> {
        Ok(!self.live_runs().await?.is_empty())
    }

    pub(super) async fn live_runs(&self) -> Result<BTreeSet<BackupId>, RepositoryError> {
        let leases = lease::live_leases(self.storage.as_ref(), run::PURPOSE).await?;
        let holder = |meta: ObjectMeta| meta.key.file_name().split_once('-')?.1.parse().ok();
        Ok(leases.into_iter().filter_map(holder).collect())
    }

    /// Revokes a run that was taken for dead, and removes its objects.
    ///
    /// The mark lies where the run would create its catalogue entry: of the two, one creates the object.
    /// Returns `false` when the run turned out to have committed.
    pub(crate) async fn revoke(&self, id: &BackupId) -> Result<bool, RepositoryError> {
        let key = self.sealing_key()?;
        let object = layout::summary(id);
        let mark = Entry::Revoked { at: self.environment.clock.now() };
        match self.storage.create(&object, record::encode(&object, DOMAIN, &key.epoch, &key.key, &mark)).await {
            Ok(_) => {}
            Err(StorageError::AlreadyExists { .. }) => {
                let found = record::load::<Entry>(self.storage.as_ref(), &object).await?;
                if !matches!(found.map(|found| found.value), Some(Entry::Revoked { .. })) {
                    return Ok(false);
                }
            }
            Err(error) => return Err(error.into()),
        }
        remove_leftovers(self.storage.as_ref(), id).await?;
        Ok(true)
    }

    /// Removes a backup: first prune's word for it, then the catalogue entry, then the data.
    ///
    /// After a crash at any point the backup either still exists whole, or is a leftover.
    pub(crate) async fn remove_backup(&self, entry: &CatalogueEntry) -> Result<(), RepositoryError> {
        let id = entry.id();
        let expired = ExpiredEntry {
            at: self.environment.clock.now(),
            hash: entry.hash,
            previous: entry.summary.previous.clone(),
        };
        self.write_record(&layout::expired(id), EXPIRED_DOMAIN, &expired).await?;
        self.storage.delete(&layout::summary(id)).await?;
        remove_leftovers(self.storage.as_ref(), id).await?;
        remove_folder(self.storage.as_ref(), &format!("{}/{id}", layout::VERDICTS), |_| true).await?;
        Ok(self.storage.delete(&layout::hold(id)).await?)
    }

    /// Removes records that have served their time: of long-removed backups, revoked runs, lapsed leases.
    pub(crate) async fn forget_old_state(&self) -> Result<(), RepositoryError> {
        // Verdicts first, the catalogue after: whatever had a verdict then was committed before, and is in it unless removed.
        let verdicts: Vec<ObjectKey> =
            self.storage.list(layout::VERDICTS).map_ok(|meta| meta.key).try_collect().await?;
        let catalogue = &self.catalogue().await?;
        self.forget_removed_backups(catalogue, &verdicts).await?;
        let forgettable = catalogue.forgettable();
        for (id, expired) in forgettable.anchors {
            let anchored = ExpiredEntry { previous: None, ..expired };
            self.write_record(&layout::expired(&id), EXPIRED_DOMAIN, &anchored).await?;
        }
        for id in forgettable.dead {
            self.storage.delete(&layout::expired(&id)).await?;
        }
        let now = self.environment.clock.now();
        for (id, _) in catalogue.revoked.iter().filter(|(_, at)| now - **at > REVOCATION_KEPT) {
            self.storage.delete(&layout::summary(id)).await?;
        }
        for purpose in [run::PURPOSE, "prune", "clock"] {
            lease::remove_lapsed(self.storage.as_ref(), purpose).await?;
        }
        self.forget_history().await
    }

    /// Removes verdicts and holds of backups that prune removed: a crash can leave them when the backup is already gone.
    ///
    /// A verdict can outlive prune's own record in one of several places, so the catalogue decides about it; a hold never goes
    /// without prune's word. What a damaged catalogue may have lost stays.
    async fn forget_removed_backups(
        &self,
        catalogue: &Catalogue,
        verdicts: &[ObjectKey],
    ) -> Result<(), RepositoryError> {
        let mut gone: BTreeMap<BackupId, bool> = BTreeMap::new();
        for key in verdicts {
            let Some(id) = layout::backup_of(layout::VERDICTS, key) else { continue };
            let is_gone = match gone.get(&id) {
                Some(known) => *known,
                None => self.is_gone(catalogue, &id).await,
            };
            if is_gone {
                self.storage.delete(key).await?;
            }
            gone.insert(id, is_gone);
        }
        let removed: BTreeSet<&BackupId> = catalogue.removed().filter(|id| catalogue.find(id).is_none()).collect();
        let is_of_removed =
            |key: &ObjectKey| layout::backup_of(layout::HOLDS, key).is_some_and(|id| removed.contains(&id));
        remove_folder(self.storage.as_ref(), layout::HOLDS, is_of_removed).await
    }

    async fn is_gone(&self, catalogue: &Catalogue, id: &BackupId) -> bool {
        let is_problem = || catalogue.problems.iter().any(|problem| problem.subject.contains(id.as_str()));
        catalogue.find(id).is_none()
            && (catalogue.is_removed(id) || !is_problem() && !self.is_committed_somewhere(id).await)
    }

    /// Records what a verification found, and drops the oldest verdicts of the same backup.
    pub(crate) async fn record_verdict(&self, verdict: &Verdict) -> Result<(), RepositoryError> {
        let time = verdict.at.format("%Y%m%dT%H%M%S%.3fZ");
        let object = layout::verdict(&verdict.backup, &format!("{time}-{}", verdict.level));
        self.write_record(&object, VERDICT_DOMAIN, verdict).await?;
        let folder = format!("{}/{}", layout::VERDICTS, verdict.backup);
        let mut keys: Vec<ObjectKey> = self.storage.list(&folder).map_ok(|meta| meta.key).try_collect().await?;
        keys.sort();
        let surplus = keys.len().saturating_sub(VERDICTS_KEPT);
        for key in &keys[..surplus] {
            self.storage.delete(key).await?;
        }
        Ok(())
    }

    /// Puts a backup on hold: no policy removes it.
    ///
    /// # Errors
    /// [`RepositoryError::NoSuchBackup`].
    pub async fn hold(&self, id: &BackupId, reason: &str) -> Result<(), RepositoryError> {
        if self.catalogue().await?.find(id).is_none() {
            return Err(RepositoryError::NoSuchBackup(id.to_string()));
        }
        let hold = Hold { since: self.environment.clock.now(), reason: reason.to_owned() };
        self.write_record(&layout::hold(id), HOLD_DOMAIN, &hold).await
    }

    /// Takes a hold away; one that is not there is no error.
    ///
    /// # Errors
    /// [`RepositoryError::Storage`].
    pub async fn release_hold(&self, id: &BackupId) -> Result<(), RepositoryError> {
        Ok(self.storage.delete(&layout::hold(id)).await?)
    }

    pub(super) async fn write_record<T: serde::Serialize>(
        &self,
        object: &ObjectKey,
        domain: &str,
        value: &T,
    ) -> Result<(), RepositoryError> {
        let key = self.sealing_key()?;
        let stored = record::encode(object, domain, &key.epoch, &key.key, value);
        self.storage.write(object, stored, &PutOptions::default()).await?;
        Ok(())
    }
}

/// Removes the objects of a run but for what lies in the place of its catalogue entry, and for its packs, into which other
/// backups may point.
pub(super) async fn remove_leftovers(storage: &dyn Storage, id: &BackupId) -> Result<(), RepositoryError> {
    let keep = layout::summary(id);
    for folder in [format!("{}/{id}", layout::DUMPS), format!("{}/{id}", layout::BACKUPS)] {
        remove_folder(storage, &folder, |key| *key != keep).await?;
    }
    Ok(())
}

async fn remove_folder(
    storage: &dyn Storage,
    folder: &str,
    wanted: impl Fn(&ObjectKey) -> bool,
) -> Result<(), RepositoryError> {
    let keys: Vec<ObjectKey> = storage.list(folder).map_ok(|meta| meta.key).try_collect().await?;
    for key in keys.iter().filter(|key| wanted(key)) {
        storage.delete(key).await?;
    }
    Ok(())
}
