//! Talks to PostgreSQL: probes servers, streams backups out of them and back in. Never sees a key.

pub mod archive;
mod connection;
mod contents;
mod error;
mod figures;
mod inspect;
mod integrity;
pub(crate) mod launch;
mod logical;
pub mod physical;
mod programs;
pub(crate) mod quoting;
mod refusal;
pub mod replication;
pub mod throwaway;
pub mod wal;

pub use connection::{Client, ConnectionSettings, SslMode};
pub use contents::{DatabaseGrant, DatabaseProperties, DatabaseSetting, Extension, compare_tables};
pub use error::PostgresError;
pub(crate) use figures::number;
pub use figures::{Figure, FigureValue};
pub use inspect::{CheckOutcome, ServerInspector};
pub(crate) use integrity::{InspectionLimits, check_relations, cluster_checksums, inspect_database};
pub use integrity::{IntegrityCounts, IntegrityFinding, IntegrityKind, NotChecked};
pub use logical::{DatabaseSelection, DumpOptions, LogicalDriver, RestoreOptions, TableName};
#[cfg(feature = "evidence")]
pub(crate) use programs::Invocation;
pub use programs::{ClientProgram, ClientPrograms};
pub use refusal::Refusal;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::progress::Progress;

/// A boxed error of the other side of a sink or source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerInfo {
    /// `server_version_num`: 170010 is 17.10.
    pub version_num: u32,
    /// `server_version`, for people.
    pub version: String,
    /// The cluster's system identifier, where the role may read it.
    pub system_identifier: Option<u64>,
    /// Whether the server is a standby.
    pub in_recovery: bool,
}

impl ServerInfo {
    /// Describes a server.
    pub fn new(
        version_num: u32,
        version: impl Into<String>,
        system_identifier: Option<u64>,
        in_recovery: bool,
    ) -> Self {
        Self { version_num, version: version.into(), system_identifier, in_recovery }
    }

    /// Returns the major version: 15, 17...
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }
}

/// What a stream of a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StreamKind {
    /// Roles and tablespaces, as SQL text of `pg_dumpall --globals-only`.
    Globals,
    /// One database, in pg_dump's custom format without compression.
    Database {
        /// Its name.
        database: String,
    },
}

/// A stream of a stored backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamInfo {
    /// Its number in the backup, counted from 0, in the order in which it was written.
    pub number: u32,
    /// What it holds.
    pub kind: StreamKind,
    /// Its bytes, uncompressed.
    pub bytes: u64,
}

/// Takes the streams of a backup, one after the other.
///
/// What one connection gives is written to the stream itself. What others give at the same time is written to segments, and
/// the stream is one with the other, in the order in which the segments were made.
#[async_trait]
pub trait BackupSink: Send {
    /// Begins the next stream.
    async fn begin(&mut self, kind: &StreamKind) -> Result<(), BoxError>;

    /// Takes the next bytes of the stream; waits while the repository is slower than the database.
    async fn write(&mut self, data: Bytes) -> Result<(), BoxError>;

    /// Makes a segment of the stream, which comes behind what is written to the stream itself and behind the segments made before.
    ///
    /// Nothing is stored, and nothing held, for one to which nothing has been written yet.
    async fn segment(&mut self) -> Result<Box<dyn SegmentSink>, BoxError>;

    /// Ends the stream: all of it has been written, its segments have been ended, and it is complete.
    ///
    /// A segment that was made and not ended is an error.
    async fn end(&mut self) -> Result<(), BoxError>;
}

/// Takes a segment of a stream, while others take other segments.
#[async_trait]
pub trait SegmentSink: Send {
    /// Takes the next bytes; waits while the repository is slower than the database.
    async fn write(&mut self, data: Bytes) -> Result<(), BoxError>;

    /// Ends the segment: all of it has been written.
    async fn end(self: Box<Self>) -> Result<(), BoxError>;
}

/// Gives the streams of a stored backup back. Every byte it yields is authentic.
#[async_trait]
pub trait BackupSource: Send + Sync {
    /// Lists the streams.
    fn streams(&self) -> &[StreamInfo];

    /// Reads a stream, or the part of it in `range` (bytes of the uncompressed stream).
    ///
    /// A stream that ends without an error was complete.
    async fn open(
        &self,
        stream: u32,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, BoxError>>, BoxError>;
}

/// One way of backing up a PostgreSQL server. Object-safe.
#[async_trait]
pub trait DatabaseDriver: Send + Sync + fmt::Debug {
    /// Names the kind of backup it makes, as manifests do: `logical`, `physical`.
    fn kind(&self) -> &'static str;

    /// Asks the server who it is.
    ///
    /// # Errors
    /// [`PostgresError::Connect`] and its kin.
    async fn probe(&self) -> Result<ServerInfo, PostgresError>;

    /// Streams a consistent backup into `sink`, and returns what it contains, as the driver's own record.
    ///
    /// On an error the caller throws away what `sink` has received.
    ///
    /// # Errors
    /// Any [`PostgresError`]; [`PostgresError::Sink`] carries an error of `sink`.
    async fn back_up(
        &self,
        sink: &mut dyn BackupSink,
        progress: &dyn Progress,
    ) -> Result<BackupContents, PostgresError>;

    /// Restores from `source` into the driver's server.
    ///
    /// # Errors
    /// Any [`PostgresError`]; what had been restored by then is rolled back only in single-transaction mode.
    async fn restore(
        &self,
        source: &dyn BackupSource,
        contents: &BackupContents,
        progress: &dyn Progress,
    ) -> Result<RestoreOutcome, PostgresError>;

    /// Returns whether a restore of `contents` would drop something that is there now: then all of the backup is read first.
    ///
    /// # Errors
    /// Any [`PostgresError`].
    async fn replaces(&self, _contents: &BackupContents) -> Result<bool, PostgresError> {
        Ok(false)
    }

    /// Reads a stored backup as the restore tools would, and compares what they see with `contents`.
    ///
    /// # Errors
    /// [`PostgresError::ContentsDiffer`] when they do not agree.
    async fn check(
        &self,
        source: &dyn BackupSource,
        contents: &BackupContents,
        depth: CheckDepth,
    ) -> Result<(), PostgresError>;
}

/// How far a check of a stored backup reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckDepth {
    /// The table of contents, as `pg_restore --list` sees it: the beginning of each stream.
    List,
    /// Every row: counts, bytes and checksums of each table as well.
    Contents,
}

/// What a backup contains, as recorded in its manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BackupContents {
    /// The server it came from.
    pub server: ServerInfo,
    /// `full`, `schema` or `data`.
    pub scope: Scope,
    /// The major version of the pg_dump that made it: an older pg_restore may not be able to read it.
    #[serde(default)]
    pub dumped_with: u32,
    /// The databases in it.
    pub databases: Vec<DatabaseContents>,
    /// What is not as complete as it could be, such as roles without their passwords.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How much of a database a logical backup takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Definitions and data.
    #[default]
    Full,
    /// Definitions only.
    Schema,
    /// Data only.
    Data,
}

/// What is in the stream of one database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DatabaseContents {
    /// The database.
    pub database: String,
    /// Number of its stream.
    pub stream: u32,
    /// Entries in the archive's table of contents.
    pub toc_entries: u64,
    /// Where the data of tables and large objects lies, and its fingerprint.
    pub tables: Vec<TableContents>,
    /// The snapshot that it was made in, where one could be exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// What the database itself is like.
    #[serde(default)]
    pub properties: DatabaseProperties,
    /// Figures of the business, in the snapshot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<FigureValue>,
}

/// The data of one table (or of the large objects) in a dump, fingerprinted in the dump's own snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TableContents {
    /// Its schema; empty for large objects.
    pub schema: String,
    /// Its name; `BLOBS` for large objects.
    pub name: String,
    /// pg_dump's dump id of the data.
    pub dump_id: i32,
    /// Rows (or large objects).
    pub rows: u64,
    /// Bytes of its COPY text.
    pub bytes: u64,
    /// Sum over all rows of the 64-bit XXH3 of their COPY text, modulo 2^64: the order of rows does not matter.
    pub checksum: u64,
    /// Where its block begins in the stream.
    pub offset: u64,
    /// Bytes of its block in the stream.
    pub length: u64,
    /// Offsets in the stream between two rows at which the block may be parted, so that several can load it at the same time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<u64>,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RestoreOutcome {
    /// The databases that were restored, under the names that they have now.
    pub databases: Vec<String>,
    /// Bytes of the streams that were read.
    pub bytes: u64,
    /// What the restore tools warned of.
    pub warnings: Vec<String>,
}
