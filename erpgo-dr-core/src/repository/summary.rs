//! The catalogue entry of a backup. Its creation is the commit point.
//!
//! The public part lets a host without keys list backups and scrub their objects; what would tell about
//! the databases is in the sealed part. Each entry names the one before it and its hash.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::manifest::StoredObject;
use super::{RepositoryError, layout};
use crate::container::{ContainerOptions, KeySource, ObjectIdentity, ObjectKind, SealingKey, open_bytes, seal_bytes};
use crate::postgres::Scope;
use crate::types::{BackupId, ContentHash};

/// The kind of backups that are made of a cluster's files.
pub(crate) const PHYSICAL: &str = "physical";
pub(super) const DOMAIN: &str = "summary";
const DETAILS_LIMIT: usize = 16 << 20;

/// What anyone may know of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// The backup.
    pub id: BackupId,
    /// How it was made: `logical`, `import`...
    pub kind: String,
    /// When it began.
    pub created: DateTime<Utc>,
    /// When its last object was durable.
    pub finished: DateTime<Utc>,
    /// Bytes of its streams, uncompressed.
    pub plaintext_bytes: u64,
    /// Bytes that it takes up.
    pub stored_bytes: u64,
    /// The entry before this one.
    pub previous: Option<PreviousEntry>,
    /// Its manifest.
    pub manifest: StoredObject,
    /// Its other objects, for the keyless scrub.
    pub objects: Vec<StoredObject>,
    /// The sealed part, in hexadecimal digits.
    pub(super) details: String,
}

/// A link of the chain that shows when an entry was removed or put back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PreviousEntry {
    /// The newest backup that was committed when this one was.
    pub id: BackupId,
    /// Hash of its catalogue entry.
    pub hash: ContentHash,
}

/// What only the holder of a key may know of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SummaryDetails {
    /// How much of each database was taken.
    pub scope: Scope,
    /// The databases in it.
    pub databases: Vec<String>,
    /// The server's version, for people.
    pub server_version: String,
    /// The server's major version.
    pub server_major: u32,
    /// The cluster's system identifier.
    pub system_identifier: Option<u64>,
    /// A name that its maker gave it.
    pub label: Option<String>,
}

/// What the object `backups/<id>/summary` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub(super) enum Entry {
    /// A backup.
    Committed(Box<Summary>),
    /// A run that prune took for dead. It lies where the run would have committed, so that it no longer can.
    Revoked {
        /// When.
        at: DateTime<Utc>,
    },
}

pub(super) fn seal_details(
    id: &BackupId,
    key: &SealingKey,
    details: &SummaryDetails,
) -> Result<String, RepositoryError> {
    let plain = serde_json::to_vec(details).expect("details hold nothing that JSON cannot");
    let sealed = seal_bytes(&details_identity(id), key, &ContainerOptions::default(), &plain)?;
    Ok(hex::encode(sealed))
}

impl Summary {
    /// Returns whether the backup is the files of a cluster, which are restored into a folder and not into a database.
    pub fn is_physical(&self) -> bool {
        self.kind == PHYSICAL
    }

    /// Opens the sealed part; `None` while the epoch that it names is locked.
    ///
    /// # Errors
    /// [`RepositoryError::Container`] when it is not authentic.
    pub(super) fn details(&self, keys: &dyn KeySource) -> Result<Option<SummaryDetails>, RepositoryError> {
        let damaged =
            |reason: String| RepositoryError::Damaged { record: layout::summary(&self.id).to_string(), reason };
        let sealed = hex::decode(&self.details).map_err(|error| damaged(error.to_string()))?;
        let plain = match open_bytes(&sealed, &details_identity(&self.id), keys, DETAILS_LIMIT) {
            Ok(plain) => plain,
            Err(crate::container::ContainerError::NoKey { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        serde_json::from_slice(&plain).map(Some).map_err(|error| damaged(error.to_string()))
    }
}

fn details_identity(id: &BackupId) -> ObjectIdentity {
    ObjectIdentity::new(ObjectKind::Summary, layout::summary(id).to_string())
}
