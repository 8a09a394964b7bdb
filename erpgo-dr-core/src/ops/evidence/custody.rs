//! The chain of custody: who did what with a bundle, each entry with the hash of the one before it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::manifest::stored;
use crate::ops::Result;
use crate::repository::{Repository, RepositoryError};
use crate::storage::StorageError;
use crate::types::{ContentHash, EvidenceId};

/// How often another number is tried when somebody else has written that entry.
const ATTEMPTS: usize = 10;

/// Who has evidence in hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Custodian {
    /// The person.
    pub name: String,
    /// The host that they work on.
    pub host: String,
}

impl Custodian {
    /// Names a person, and the host that they work on.
    pub fn new(name: impl Into<String>, host: impl Into<String>) -> Self {
        Self { name: name.into(), host: host.into() }
    }

    /// Names a person who works on this host.
    pub fn here(name: impl Into<String>) -> Self {
        Self::new(name, whoami::hostname().unwrap_or_else(|_| "unknown".to_owned()))
    }
}

/// What was done with a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CustodyAction {
    /// It was collected.
    Collected,
    /// It was checked, and found whole.
    Verified,
    /// It was checked, and is not what it was.
    FoundAltered,
    /// It was handed out as plain files.
    Exported,
    /// Somebody has something to say of it.
    Noted,
}

/// An entry of a chain of custody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CustodyEntry {
    /// Its number, counted from 0.
    pub number: u32,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: Custodian,
    /// What.
    pub action: CustodyAction,
    /// More of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The BLAKE3 hash of the bytes of the entry before it; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ContentHash>,
}

/// Writes into the chain of custody of a bundle what people have to say: that a copy was handed to somebody.
///
/// # Errors
/// [`RepositoryError::NoSuchEvidence`]; [`RepositoryError::Damaged`] where the chain was altered; of the repository.
pub async fn note_evidence(
    repository: &Repository,
    id: &EvidenceId,
    by: &Custodian,
    note: &str,
) -> Result<CustodyEntry> {
    stored(repository, id).await?;
    append(repository, id, by, CustodyAction::Noted, Some(note.to_owned())).await
}

pub(super) async fn append(
    repository: &Repository,
    id: &EvidenceId,
    by: &Custodian,
    action: CustodyAction,
    note: Option<String>,
) -> Result<CustodyEntry> {
    let mut attempts = 0;
    loop {
        let (entries, previous) = chain(repository, id).await?;
        let (number, at) = (entries.len() as u32, repository.environment().clock.now());
        let entry = CustodyEntry { number, at, by: by.clone(), action, note: note.clone(), previous };
        let bytes = serde_json::to_vec(&entry).expect("an entry is plain JSON");
        match repository.append_custody(id, number, &bytes).await {
            Ok(()) => return Ok(entry),
            Err(RepositoryError::Storage(StorageError::AlreadyExists { .. })) if attempts < ATTEMPTS => attempts += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads a chain of custody, and the hash of its last entry.
pub(super) async fn chain(
    repository: &Repository,
    id: &EvidenceId,
) -> Result<(Vec<CustodyEntry>, Option<ContentHash>)> {
    let damaged = |number: usize, reason: &str| RepositoryError::Damaged {
        record: format!("entry {number} of the chain of custody of {id}"),
        reason: reason.to_owned(),
    };
    let (mut entries, mut previous) = (Vec::new(), None);
    for (number, bytes) in repository.custody(id).await?.into_iter().enumerate() {
        let entry: CustodyEntry =
            serde_json::from_slice(&bytes).map_err(|error| damaged(number, &error.to_string()))?;
        if entry.number as usize != number || entry.previous != previous {
            return Err(damaged(number, "it does not follow from the one before it").into());
        }
        previous = Some(ContentHash::of(&bytes));
        entries.push(entry);
    }
    Ok((entries, previous))
}
