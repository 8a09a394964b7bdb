//! Removes what a delete has missed: objects at some place of backups that are gone for good.
//!
//! A prune that is killed between two places, or of which a place heard nothing, leaves objects where the primary has none.
//! Prune itself looks at the primary alone, and does not find them again.

use std::collections::{BTreeMap, BTreeSet};

use super::Result;
use crate::repository::{BACKUPS, Catalogue, DUMPS, HOLDS, Repository, VERDICTS, owner_of, summary_key};
use crate::storage::{RepairFailure, RepairReport, ReplicatedStorage, StorageExt as _};
use crate::types::{BackupId, ObjectKey};

/// A mark that prune leaves in the place of a catalogue entry is small.
const MARK_LIMIT: usize = 16 << 20;

/// Removes those of `strays` whose backup can never be again, wherever they are, and counts them in `report`.
///
/// That is so by prune's authenticated word alone: it removed the backup, or revoked the run, and the primary has no entry of it.
/// What else belongs to no backup may be of a run that has not committed yet, and is prune's to judge.
pub(super) async fn remove(
    repository: &Repository,
    storage: &ReplicatedStorage,
    strays: &[ObjectKey],
    report: &mut RepairReport,
) -> Result<()> {
    let owned: Vec<(&ObjectKey, BackupId)> = strays.iter().filter_map(|key| Some((key, owner(key)?))).collect();
    if owned.is_empty() {
        return Ok(());
    }
    let dead = Dead::read(repository, storage).await?;
    let mut known: BTreeMap<&BackupId, bool> = BTreeMap::new();
    for (key, id) in &owned {
        let is_dead = match known.get(id) {
            Some(known) => *known,
            None => dead.includes(id).await,
        };
        known.insert(id, is_dead);
        // The mark of a revoked run must stay: without it the run could still commit, if it was only slow.
        let is_mark = **key == summary_key(id) && !dead.removed.contains(id);
        if is_dead && !is_mark {
            remove_everywhere(storage, key, report).await;
        }
    }
    Ok(())
}

/// Packs are left out: others may point into one whose backup is gone.
fn owner(key: &ObjectKey) -> Option<BackupId> {
    let is_of_one_backup = [BACKUPS, DUMPS, VERDICTS, HOLDS].into_iter().any(|folder| key.is_under(folder));
    if is_of_one_backup { owner_of(key) } else { None }
}

async fn remove_everywhere(storage: &ReplicatedStorage, key: &ObjectKey, report: &mut RepairReport) {
    let mut everywhere = true;
    for place in storage.places() {
        if let Err(error) = place.delete(key).await {
            everywhere = false;
            let error = crate::causes::chain(&error);
            report.failures.push(RepairFailure { location: place.location(), key: Some(key.clone()), error });
        }
    }
    if everywhere {
        tracing::info!(%key, "an object of a removed backup was left over, and is removed");
        report.removed += 1;
    }
}

/// Which backups are gone for good.
struct Dead<'a> {
    repository: &'a Repository,
    storage: &'a ReplicatedStorage,
    primary: Catalogue,
    removed: BTreeSet<BackupId>,
    held: BTreeSet<BackupId>,
}

impl<'a> Dead<'a> {
    async fn read(repository: &'a Repository, storage: &'a ReplicatedStorage) -> Result<Self> {
        let places = storage.places();
        let primary = repository.catalogue_at(places[0].as_ref()).await?;
        let mut dead = Self { repository, storage, primary, removed: BTreeSet::new(), held: BTreeSet::new() };
        dead.removed.extend(dead.primary.removed().cloned());
        for place in &places[1..] {
            let Ok(catalogue) = repository.catalogue_at(place.as_ref()).await else { continue };
            dead.removed.extend(catalogue.removed().cloned());
            let held = catalogue.entries.iter().filter(|entry| entry.hold.is_some());
            dead.held.extend(held.map(|entry| entry.id().clone()));
        }
        Ok(dead)
    }

    async fn includes(&self, id: &BackupId) -> bool {
        let is_problem = self.primary.problems.iter().any(|problem| problem.subject.contains(id.as_str()));
        if self.primary.find(id).is_some() || is_problem || self.held.contains(id) {
            return false;
        }
        self.removed.contains(id) || self.is_revoked(id).await
    }

    /// What the primary has in the place of an entry that is none, and is authentic, is prune's mark.
    async fn is_revoked(&self, id: &BackupId) -> bool {
        let key = summary_key(id);
        match self.storage.places()[0].read(&key, MARK_LIMIT).await {
            Ok(stored) => self.repository.is_authentic_record(&key, stored),
            Err(_) => false,
        }
    }
}
