//! Physical backups as objects: packs of file contents, and the map that says where each file's bytes lie.
//!
//! The map of every backup is complete. It may point into packs that earlier backups wrote, so that a backup stores only
//! what changed and a restore still reads one map, and no chain.

mod extent;
mod file_map;
mod journal;
mod pack_reader;
mod pack_writer;
mod page_hashes;

pub use extent::Extent;
pub(crate) use extent::{ExtentCursor, push_extent};
pub use file_map::{FileKind, FileRecord};

pub(crate) use file_map::{FileMapReader, FileMapWriter};
pub(crate) use journal::{JournalReader, JournalSubject, JournalWriter};
pub(crate) use pack_reader::{OpenPackReader, PackReader};
pub(crate) use pack_writer::{PackOptions, PackWriter};
pub(crate) use page_hashes::{PageHashReader, PageHashWriter};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::manifest::StoredObject;
use crate::types::{BackupId, ContentHash, Lsn, TimelineId};

/// What a physical backup contains, beside what every manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhysicalContents {
    /// The file `backup_label`, byte for byte.
    pub backup_label: String,
    /// The file `tablespace_map`, byte for byte, if the cluster has tablespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tablespace_map: Option<String>,
    /// Where replay begins.
    pub start_lsn: Lsn,
    /// Where the cluster is consistent.
    pub stop_lsn: Lsn,
    /// The timeline that it was taken on.
    pub timeline: TimelineId,
    /// Bytes of a WAL segment.
    pub wal_segment_bytes: u64,
    /// The hash of the WAL from where replay begins to where the cluster is consistent: its bytes as they lie in segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_hash: Option<ContentHash>,
    /// When the server was started that it was taken from, by the server's clock; backups of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_started: Option<DateTime<Utc>>,
    /// Whether it was taken from a standby.
    pub from_standby: bool,
    /// Where its data directory was.
    #[serde(default)]
    pub data_directory: String,
    /// Whether pages carry checksums, and these were verified on the way.
    pub data_checksums: bool,
    /// Tablespaces beside `pg_default` and `pg_global`.
    pub tablespaces: Vec<Tablespace>,
    /// The bootstrap superuser's name, which every cluster has.
    pub superuser: String,
    /// Names of the databases that could be connected to.
    pub databases: Vec<String>,
    /// All databases, templates too; backups of earlier versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub database_oids: Vec<ClusterDatabase>,
    /// Pages that failed their checksum twice, alike: the cluster was damaged when it was backed up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged_pages: Vec<DamagedPage>,
    /// Files in the map.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// The object that holds the map: a [`FileRecord`] in JSON on each line, in order of their paths.
    pub map: StoredObject,
    /// Packs that the map points into, by number. Those of earlier backups come first.
    pub packs: Vec<StoredObject>,
    /// Bytes of each pack that the map points to; the others are of no use to this backup any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live_bytes: Vec<u64>,
    /// What the next backup compares with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<PageHashes>,
    /// The backup that this one took unchanged pages over from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BackupId>,
}

/// Hashes of all pages of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageHashes {
    /// The key of the hashes, as 64 hexadecimal digits.
    #[serde(with = "hex::serde")]
    pub key: [u8; 32],
    /// The object that holds them: 8 bytes for each 8,192 bytes of each file, in the order of the map.
    pub object: StoredObject,
}

impl PhysicalContents {
    /// Returns the objects that the backup needs beside its manifest.
    pub fn objects(&self) -> impl Iterator<Item = &StoredObject> {
        let pages = self.pages.as_ref().map(|pages| &pages.object);
        std::iter::once(&self.map).chain(pages).chain(&self.packs)
    }
}

/// A tablespace of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablespace {
    /// Its object identifier, which names the link in `pg_tblspc`.
    pub oid: u32,
    /// Where it lay.
    pub location: String,
}

/// A database of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterDatabase {
    /// Its object identifier, which names its folders.
    pub oid: u32,
    /// Its name.
    pub name: String,
}

/// A page whose checksum was wrong when it was read, and when it was read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedPage {
    /// The file, relative to the data directory.
    pub path: String,
    /// Number of the page in its relation, counted from 0.
    pub block: u32,
}
