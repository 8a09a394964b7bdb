//! The spools of a host: what opens each repository, and the journals of its runs, for when its place is away.
//!
//! ```text
//! <folder>/<repository>/        repo.json, keys/, state/runs/ as at the place; waiting/, diverged/
//! <folder>/places/<location>    the repository that lies there
//! ```
//! A repository is looked for by what its place says that it is, and only where that does not answer by the index. So another one at
//! the same address gets a spool of its own, and what waits for the former one stays with that.

mod index;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use self::index::Index;
use super::{Repository, layout, record};
use crate::storage::{LocalStorage, SPOOL_PATIENCE, SpooledStorage, Storage, StorageError};
use crate::types::RepositoryId;

/// A repository's place, with the spool of this host in front of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SpooledPlace {
    /// The place: opened there, a repository opens without its place too.
    pub storage: SpooledStorage,
    /// The spools of other repositories that lay here before this one. What waits there is not delivered.
    pub former: Vec<PathBuf>,
}

/// What of `repo.json` says which repository it is of, whatever its version.
#[derive(Deserialize)]
struct Named {
    id: RepositoryId,
}

impl Repository {
    /// Puts a spool in front of a repository's place: a folder of this host below `spools`, which may be of several repositories.
    /// `locations` are those of the single places, of which any finds the spool later. Opened there, the repository opens without its
    /// place too, once [`SpooledStorage::refresh`] has mirrored its settings and keys, and runs of runbooks begin and go on, their
    /// journals in the spool until [`SpooledStorage::deliver`] has brought them to the place. All else needs the place.
    ///
    /// `None` where the place does not say which repository it has, and this host has never seen it: there is no spool of it. What lies
    /// in a spool is sealed and wrapped as it is at the place.
    ///
    /// # Errors
    /// [`StorageError::InvalidAddress`] for a folder that is none.
    pub async fn spooled_place(
        place: Arc<dyn Storage>,
        locations: &[String],
        spools: &Path,
    ) -> Result<Option<SpooledPlace>, StorageError> {
        let index = Index::open(spools)?;
        let settings = layout::settings();
        let asked = tokio::time::timeout(SPOOL_PATIENCE, record::load::<Named>(place.as_ref(), &settings)).await;
        let has_failed = !matches!(asked, Ok(Ok(_)));
        let (id, former) = match asked {
            Ok(Ok(Some(found))) => (Some(found.value.id.clone()), enter(&index, locations, &found.value.id).await),
            _ => (look_up(&index, locations).await, BTreeSet::new()),
        };
        let Some(id) = id else { return Ok(None) };
        let spool = Arc::new(LocalStorage::open(spools.join(id.as_str()))?);
        let storage = SpooledStorage::new(place, spool, &[layout::SETTINGS, layout::KEYS], &[layout::RUNS])
            .with_landmark(settings, is_same_repository);
        if has_failed {
            storage.leave_alone();
        }
        Ok(Some(SpooledPlace { storage, former: former.iter().map(|id| spools.join(id.as_str())).collect() }))
    }
}

/// Notes what lies at each place. Returns what lay there before.
async fn enter(index: &Index, locations: &[String], id: &RepositoryId) -> BTreeSet<RepositoryId> {
    let mut former = BTreeSet::new();
    for location in locations {
        let known = index.repository_at(location).await;
        if known.as_ref() == Some(id) {
            continue;
        }
        former.extend(known);
        if let Err(error) = index.enter(location, id).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(location, error, "what lies there is not known without it");
        }
    }
    former
}

async fn look_up(index: &Index, locations: &[String]) -> Option<RepositoryId> {
    for location in locations {
        if let Some(id) = index.repository_at(location).await {
            return Some(id);
        }
    }
    None
}

/// What cannot be read is not another repository's: that it is damaged is told when it is opened.
fn is_same_repository(known: &Bytes, found: &Bytes) -> bool {
    let id =
        |stored: &Bytes| record::decode::<Named>(&layout::settings(), stored.clone()).ok().map(|named| named.value.id);
    match (id(known), id(found)) {
        (Some(known), Some(found)) => known == found,
        _ => true,
    }
}
