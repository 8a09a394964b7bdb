//! Asks for the archived objects of a backup to be made readable.

use serde::Serialize;

use super::Result;
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{Repository, RepositoryError};
use crate::storage::{ThawOptions, ThawState};
use crate::types::BackupId;

/// Where the thaw of a backup stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ThawReport {
    /// The backup.
    pub id: BackupId,
    /// Objects that can be read now.
    pub readable: u64,
    /// Objects that the provider is at work on.
    pub ongoing: u64,
}

impl ThawReport {
    /// Returns whether the backup can be restored now.
    pub fn is_readable(&self) -> bool {
        self.ongoing == 0
    }
}

/// Requests the thaw of every object of a backup. Repeat it to ask how far it is: a second request is harmless.
///
/// # Errors
/// [`StorageError::Unsupported`](crate::storage::StorageError::Unsupported) where nothing can be thawed.
pub async fn thaw(
    repository: &Repository,
    id: &BackupId,
    options: &ThawOptions,
    progress: &dyn Progress,
) -> Result<ThawReport> {
    let catalogue = repository.catalogue().await?;
    let entry = catalogue.find(id).ok_or_else(|| RepositoryError::NoSuchBackup(id.to_string()))?;
    let phase = PhaseGuard::start(progress, Phase::Thaw, id.as_str(), Some(entry.summary.stored_bytes));
    let mut report = ThawReport { id: id.clone(), readable: 0, ongoing: 0 };
    for object in &entry.summary.objects {
        match repository.storage().thaw(&object.key, options).await? {
            ThawState::Readable => report.readable += 1,
            ThawState::Ongoing => report.ongoing += 1,
        }
        phase.advance(object.stored_bytes);
    }
    phase.finish();
    Ok(report)
}
