//! The catalogue of a repository at several places: what one of them lost and another still has.
//!
//! Of several places the primary alone answers what there is. That keeps what a prune could not delete elsewhere from coming
//! back, and hides what the primary lost, and that another place lacks what it should have; here all are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use futures::future::join_all;

use super::Result;
use crate::repository::{
    BACKUPS, Catalogue, CatalogueEntry, CatalogueProblem, DUMPS, PACKS, Repository, owner_of, summary_key,
};
use crate::storage::{ReplicatedStorage, Storage, StorageError};
use crate::types::{BackupId, ObjectKey};

/// How long a place may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads the catalogue of a repository that was opened at `places`, and compares the places' lists of backups.
///
/// A committed backup that the primary lost is a problem of the catalogue; so are a place that lacks objects of backups, or has
/// them in other lengths, and a place that cannot be read. Without its key a backup that the primary lost is not missed: who wrote
/// its entry cannot be told.
///
/// # Errors
/// When the catalogue cannot be read.
pub async fn catalogue_of_places(repository: &Repository, places: &ReplicatedStorage) -> Result<Catalogue> {
    // In this order: what was committed before the places are asked must be at all of them, a backup is committed at the primary
    // first, and prune leaves its word before it removes one.
    let committed = repository.catalogue().await?;
    let (primary, others) = (&places.places()[0], &places.places()[1..]);
    let listed = join_all(others.iter().map(Listed::read)).await;
    let at_primary = Listed::read(primary).await;
    let mut catalogue = repository.catalogue().await?;
    let lasting: Vec<&CatalogueEntry> =
        committed.entries.iter().filter(|entry| catalogue.find(entry.id()).is_some()).collect();
    let mut problems = Vec::new();
    for (place, found) in others.iter().zip(&listed).chain([(primary, &at_primary)]) {
        match found {
            Ok(found) => problems.extend(found.lacking(place, &lasting)),
            Err(error) => problems.push(unreadable(place, error)),
        }
    }
    catalogue.problems.extend(problems);
    for (place, found) in others.iter().zip(&listed) {
        if let (Ok(found), Ok(known)) = (found, &at_primary) {
            let lost = |id: &BackupId| !known.entries.contains(id) && !catalogue.removed().any(|removed| removed == id);
            let lost: Vec<BackupId> = found.entries.iter().filter(|id| lost(id)).cloned().collect();
            name_lost(repository, place, &lost, &mut catalogue).await;
        }
    }
    Ok(catalogue)
}

/// What a place has.
#[derive(Debug, Default)]
struct Listed {
    /// Backups of which it has the catalogue entry, whatever that says.
    entries: BTreeSet<BackupId>,
    /// Lengths of the objects of backups.
    objects: BTreeMap<ObjectKey, u64>,
}

impl Listed {
    async fn read(place: &Arc<dyn Storage>) -> std::result::Result<Self, StorageError> {
        let work = async {
            let mut listed = Self::default();
            for folder in [BACKUPS, DUMPS, PACKS] {
                let mut found = place.list(folder);
                while let Some(meta) = found.try_next().await? {
                    if folder == BACKUPS && meta.key.file_name() == "summary" {
                        listed.entries.extend(owner_of(&meta.key));
                    }
                    listed.objects.insert(meta.key, meta.size);
                }
            }
            Ok(listed)
        };
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(listed) => listed,
            Err(_) => Err(StorageError::TimedOut { location: place.location(), timeout: PATIENCE }),
        }
    }

    /// Names the place, if it lacks objects of backups that it should have.
    fn lacking(&self, place: &Arc<dyn Storage>, entries: &[&CatalogueEntry]) -> Option<CatalogueProblem> {
        let mut objects = BTreeSet::new();
        let mut backups: Vec<&BackupId> = Vec::new();
        for entry in entries {
            let summary = &entry.summary;
            let parts = std::iter::once(&summary.manifest).chain(&summary.objects);
            let lacks = parts.filter(|object| self.objects.get(&object.key) != Some(&object.stored_bytes));
            let lacks: Vec<ObjectKey> = lacks.map(|object| object.key.clone()).collect();
            let has_entry = self.entries.contains(entry.id());
            let is_hit = !lacks.is_empty() || !has_entry;
            objects.extend(lacks);
            objects.extend((!has_entry).then(|| summary_key(entry.id())));
            backups.extend(is_hit.then(|| entry.id()));
        }
        let newest = backups.last()?;
        let (count, of) = (objects.len(), backups.len());
        let problem = match of == entries.len() && self.entries.is_empty() {
            true => format!("has none of the {of} backups: `repair` brings them there"),
            false => format!(
                "lacks {count} objects of {of} backups, or has them cut short, the newest of them {newest}: `repair` heals that"
            ),
        };
        Some(CatalogueProblem { subject: place.location(), problem })
    }
}

async fn name_lost(repository: &Repository, place: &Arc<dyn Storage>, lost: &[BackupId], catalogue: &mut Catalogue) {
    if lost.is_empty() {
        return;
    }
    let there = match repository.catalogue_at(place.as_ref()).await {
        Ok(there) => there,
        Err(error) => return catalogue.problems.push(unreadable(place, &error)),
    };
    for id in lost {
        if there.find(id).is_none_or(|entry| entry.details.is_none()) {
            continue;
        }
        // What the chain of entries says of it, or another place, is the same in other words.
        catalogue.problems.retain(|problem| problem.subject != id.as_str());
        let problem =
            format!("lost at the primary place, and committed at {}: `repair` brings it back", place.location());
        catalogue.problems.push(CatalogueProblem { subject: id.to_string(), problem });
    }
}

fn unreadable(place: &Arc<dyn Storage>, error: &(dyn std::error::Error + 'static)) -> CatalogueProblem {
    CatalogueProblem { subject: place.location(), problem: format!("cannot be read: {}", crate::causes::chain(error)) }
}
