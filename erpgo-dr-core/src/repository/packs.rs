//! Which packs are still needed: they may outlive the backup that wrote them, because later ones point into them.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;

use super::catalogue::Catalogue;
use super::{Repository, RepositoryError, layout};
use crate::storage::{ObjectMeta, Storage};
use crate::types::{BackupId, ObjectKey};

/// Returns the packs that backups of a catalogue point into.
pub(super) fn referenced(catalogue: &Catalogue) -> BTreeSet<&ObjectKey> {
    let objects = catalogue.entries.iter().flat_map(|entry| &entry.summary.objects);
    objects.map(|object| &object.key).filter(|key| key.is_under(layout::PACKS)).collect()
}

/// Removes the packs of a run that never committed: no other backup can point into them.
pub(super) async fn remove_of_run(storage: &dyn Storage, id: &BackupId) -> Result<(), RepositoryError> {
    let folder = format!("{}/{id}", layout::PACKS);
    let packs: Vec<ObjectMeta> = storage.list(&folder).try_collect().await?;
    for pack in packs {
        storage.delete(&pack.key).await?;
    }
    Ok(())
}

impl Repository {
    /// Removes packs of removed backups and revoked runs that no backup points into; returns their bytes.
    ///
    /// Does nothing while a backup runs, or may: it may be about to point into any of them. A run takes its lease before it
    /// reads the catalogue, so that one which began after the leases were listed here sees no removed backup any more.
    pub(crate) async fn remove_unneeded_packs(&self) -> Result<u64, RepositoryError> {
        let packs: Vec<ObjectMeta> = self.storage.list(layout::PACKS).try_collect().await?;
        if packs.is_empty() || !self.live_runs().await?.is_empty() {
            return Ok(0);
        }
        let catalogue = self.catalogue().await?;
        if !catalogue.problems.is_empty() {
            tracing::warn!("no pack is removed while the catalogue has problems: what it cannot show may need them");
            return Ok(0);
        }
        let referenced = referenced(&catalogue);
        let mut unneeded = Vec::new();
        for pack in packs {
            let Some(owner) = layout::backup_of(layout::PACKS, &pack.key) else { continue };
            let gone = catalogue.is_removed(&owner) || catalogue.revoked.contains_key(&owner);
            match catalogue.find(&owner) {
                Some(_) => {}
                None if gone && !referenced.contains(&pack.key) => unneeded.push(pack),
                None if gone => {}
                None if referenced.contains(&pack.key) => {}
                // Of a run that may still commit, and may point into any pack.
                None => return Ok(0),
            }
        }
        for pack in &unneeded {
            self.storage.delete(&pack.key).await?;
        }
        Ok(unneeded.iter().map(|pack| pack.size).sum())
    }
}
