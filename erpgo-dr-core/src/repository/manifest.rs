//! The map of a backup: what it contains and which objects hold it. Sealed; the catalogue entry names its hash.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::physical::PhysicalContents;
use crate::container::ContainerReport;
use crate::postgres::{BackupContents, StreamInfo};
use crate::types::{BackupId, ContentHash, ObjectKey};

/// The version of the manifest format that this build writes.
pub const MANIFEST_FORMAT: u32 = 1;

/// Everything that a restore needs to know of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The format version.
    pub format: u32,
    /// The backup.
    pub id: BackupId,
    /// How it was made: `logical`, `physical`, or `import` for a file of other tools.
    pub kind: String,
    /// When it began.
    pub created: DateTime<Utc>,
    /// The version of the software that made it.
    pub tool_version: String,
    /// What the driver recorded of the databases in it.
    pub contents: BackupContents,
    /// Its streams, by number.
    pub streams: Vec<StoredStream>,
    /// The files of a physical backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub physical: Option<PhysicalContents>,
    /// Where an imported file came from, and what its layers were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<ImportOrigin>,
}

impl Manifest {
    /// Returns the names of the databases in it.
    pub fn databases(&self) -> Vec<String> {
        match &self.physical {
            Some(physical) => physical.databases.clone(),
            None => self.contents.databases.iter().map(|found| found.database.clone()).collect(),
        }
    }

    /// Returns the objects that the backup needs beside the manifest, as its catalogue entry lists them.
    pub fn objects(&self) -> impl Iterator<Item = &StoredObject> {
        let parts = self.streams.iter().flat_map(|stream| &stream.parts);
        parts.chain(self.physical.iter().flat_map(PhysicalContents::objects))
    }
}

/// Where an adopted file came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportOrigin {
    /// Its name.
    pub file: String,
    /// Its layers from the outside in: `openssl`, `gzip`, `pg_dump`.
    pub layers: Vec<String>,
    /// Whether rows were counted and fingerprinted. They are not in an archive that pg_dump itself compressed.
    pub fingerprinted: bool,
    /// Hash of the dump without its layers, by which a second import of it is known. Absent in backups of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump: Option<ContentHash>,
}

/// A stream and the objects that hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredStream {
    /// The stream.
    pub info: StreamInfo,
    /// Its parts, in order.
    pub parts: Vec<StoredObject>,
}

impl StoredObject {
    /// Describes a container that has been written.
    pub(crate) fn new(key: ObjectKey, report: &ContainerReport) -> Self {
        Self {
            key,
            plaintext_bytes: report.plaintext_bytes,
            stored_bytes: report.stored_bytes,
            hash: report.content_hash,
        }
    }
}

/// An object of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// Its key.
    pub key: ObjectKey,
    /// Bytes of plaintext in it.
    pub plaintext_bytes: u64,
    /// Bytes that are stored.
    pub stored_bytes: u64,
    /// Hash of the stored bytes.
    pub hash: ContentHash,
}
