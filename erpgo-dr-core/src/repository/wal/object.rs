//! An archived file, as a list shows it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::storage::ObjectMeta;
use crate::types::WalFileName;

/// A file of the write-ahead log that is archived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WalObject {
    /// The cluster that it is of.
    pub system_identifier: u64,
    /// The file.
    pub name: WalFileName,
    /// Bytes that are stored.
    pub stored_bytes: u64,
    /// When it was archived, by the clock of the storage place.
    pub archived: DateTime<Utc>,
}

impl WalObject {
    pub(super) fn new(system_identifier: u64, name: WalFileName, meta: &ObjectMeta) -> Self {
        Self { system_identifier, name, stored_bytes: meta.size, archived: meta.last_modified }
    }
}
