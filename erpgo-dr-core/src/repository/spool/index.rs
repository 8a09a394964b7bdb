//! Which repository lies at which place, as this host has seen it: so that any place of a repository finds its spool, also while none
//! of them answers.

use std::path::Path;

use crate::storage::{LocalStorage, PutOptions, Storage as _, StorageError, StorageExt as _};
use crate::types::{ContentHash, ObjectKey, RepositoryId};

/// The folder of the index, beside those of repositories.
const FOLDER: &str = "places";

/// Hexadecimal digits of a place's hash that name its entry.
const DIGITS: usize = 32;

/// An entry for each place, which holds the repository's identifier.
pub(super) struct Index(LocalStorage);

impl Index {
    pub(super) fn open(spools: &Path) -> Result<Self, StorageError> {
        LocalStorage::open(spools.join(FOLDER)).map(Self)
    }

    /// Returns the repository that was seen at a place; `None` also where the entry cannot be read.
    pub(super) async fn repository_at(&self, location: &str) -> Option<RepositoryId> {
        let entry = self.0.read(&name(location), DIGITS).await.ok()?;
        std::str::from_utf8(&entry).ok()?.parse().ok()
    }

    /// Enters the repository that was seen at a place.
    pub(super) async fn enter(&self, location: &str, id: &RepositoryId) -> Result<(), StorageError> {
        self.0.prepare().await?;
        let text = id.as_str().to_owned();
        self.0.write(&name(location), text.into(), &PutOptions::default()).await.map(|_| ())
    }
}

fn name(location: &str) -> ObjectKey {
    let hash = ContentHash::of(location.as_bytes()).to_hex();
    ObjectKey::new(&hash[..DIGITS]).expect("hexadecimal digits are a key")
}
