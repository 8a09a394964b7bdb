//! The catalogue of a repository at several places: what the primary lost and another still has.
//!
//! Of several places the primary alone answers what there is. That keeps what a prune could not delete elsewhere from coming
//! back, and hides what the primary lost; here the others are asked too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use futures::future::join_all;

use super::Result;
use crate::repository::{BACKUPS, Catalogue, CatalogueProblem, Repository, owner_of};
use crate::storage::{ReplicatedStorage, Storage, StorageError};
use crate::types::BackupId;

/// How long a place may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads the catalogue of a repository that was opened at `places`, and compares the places' lists of backups.
///
/// A committed backup that the primary lost is a problem of the catalogue, and so is a place that cannot be read. Without its
/// key a backup is not missed: who wrote its entry cannot be told.
///
/// # Errors
/// When the catalogue cannot be read.
pub async fn catalogue_of_places(repository: &Repository, places: &ReplicatedStorage) -> Result<Catalogue> {
    // In this order: a backup is committed at the primary first, and prune leaves its word before it removes one.
    let (primary, others) = (&places.places()[0], &places.places()[1..]);
    let listed = join_all(others.iter().map(list)).await;
    let at_primary = list(primary).await;
    let mut catalogue = repository.catalogue().await?;
    for (place, found) in others.iter().zip(listed) {
        match (found, &at_primary) {
            (Ok(found), Ok(known)) => {
                let lost = |id: &BackupId| !known.contains(id) && !catalogue.removed().any(|removed| removed == id);
                let lost: Vec<BackupId> = found.into_iter().filter(lost).collect();
                name_lost(repository, place, &lost, &mut catalogue).await;
            }
            (Ok(_), Err(_)) => {}
            (Err(error), _) => catalogue.problems.push(unreadable(place, &error)),
        }
    }
    if let Err(error) = &at_primary {
        catalogue.problems.push(unreadable(primary, error));
    }
    Ok(catalogue)
}

/// Lists the backups of which a place has the catalogue entry, whatever it says.
async fn list(place: &Arc<dyn Storage>) -> std::result::Result<BTreeSet<BackupId>, StorageError> {
    let entries = place.list(BACKUPS).try_filter_map(|meta| async move {
        Ok(if meta.key.file_name() == "summary" { owner_of(&meta.key) } else { None })
    });
    match tokio::time::timeout(PATIENCE, entries.try_collect()).await {
        Ok(found) => found,
        Err(_) => Err(StorageError::TimedOut { location: place.location(), timeout: PATIENCE }),
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
    CatalogueProblem { subject: place.location(), problem: format!("cannot be read: {}", super::verify::chain(error)) }
}
