//! The map of a physical backup: a line for each file, written and read as a stream, however many there are.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::super::manifest::StoredObject;
use super::super::{RepositoryError, layout};
use super::Extent;
use crate::compute::ComputePool;
use crate::container::{
    ContainerOptions, ContainerReader, ContainerWriter, KeySource, ObjectIdentity, ObjectKind, SealingKey,
};
use crate::storage::{PutOptions, Storage};
use crate::types::BackupId;

/// Bytes of lines that are gathered before they are written.
const CHUNK: usize = 256 << 10;
/// The longest line that is read: a file of 1 GiB whose every second page lies elsewhere takes a fifth of it.
const LINE_LIMIT: usize = 64 << 20;

/// A file, directory or link of a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileRecord {
    /// Path from the data directory, with `/` between its parts. Files of a tablespace begin with `pg_tblspc/<oid>`.
    pub path: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: FileKind,
    /// Permissions, as `chmod` takes them.
    pub mode: u32,
}

/// What a record describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FileKind {
    /// A file, and where its bytes lie.
    File {
        /// When it was last modified, in seconds since 1970 UTC.
        modified: i64,
        /// Its contents.
        extents: Vec<Extent>,
    },
    /// A directory.
    Directory,
    /// The link of a tablespace in `pg_tblspc`.
    Tablespace {
        /// Where it points.
        target: String,
    },
}

impl FileRecord {
    /// Describes a file, directory or link.
    pub fn new(path: impl Into<String>, kind: FileKind, mode: u32) -> Self {
        Self { path: path.into(), kind, mode }
    }

    /// Returns how many bytes the file has; 0 for what is no file.
    pub fn size(&self) -> u64 {
        match &self.kind {
            // What a hostile map says is no length of a file, but a number.
            FileKind::File { extents, .. } => {
                extents.iter().fold(0, |size: u64, extent| size.saturating_add(extent.length()))
            }
            _ => 0,
        }
    }
}

fn identity(id: &BackupId) -> ObjectIdentity {
    ObjectIdentity::new(ObjectKind::Manifest, layout::file_map(id).as_str())
}

/// Writes a map.
#[derive(Debug)]
pub(crate) struct FileMapWriter {
    id: BackupId,
    writer: ContainerWriter,
    lines: BytesMut,
}

impl FileMapWriter {
    pub(crate) async fn begin(
        storage: &dyn Storage,
        pool: ComputePool,
        key: &SealingKey,
        options: &ContainerOptions,
        id: &BackupId,
    ) -> Result<Self, RepositoryError> {
        let target = storage.put(&layout::file_map(id), &PutOptions::default()).await?;
        let writer = ContainerWriter::new(identity(id), key, options, pool, target)?;
        Ok(Self { id: id.clone(), writer, lines: BytesMut::new() })
    }

    pub(crate) async fn push(&mut self, record: &FileRecord) -> Result<(), RepositoryError> {
        let line = serde_json::to_vec(record).expect("a record is plain JSON");
        self.lines.extend_from_slice(&line);
        self.lines.extend_from_slice(b"\n");
        if self.lines.len() >= CHUNK {
            self.writer.write(self.lines.split().freeze()).await?;
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<StoredObject, RepositoryError> {
        self.writer.write(self.lines.split().freeze()).await?;
        let report = self.writer.finish().await?;
        Ok(StoredObject::new(layout::file_map(&self.id), &report))
    }
}

/// Reads a map. After its end has been seen, the map is known to be whole.
#[derive(Debug)]
pub(crate) struct FileMapReader {
    id: BackupId,
    reader: ContainerReader,
    buffer: BytesMut,
}

impl FileMapReader {
    pub(crate) async fn open(
        storage: &dyn Storage,
        pool: ComputePool,
        keys: &dyn KeySource,
        id: &BackupId,
    ) -> Result<Self, RepositoryError> {
        let stored = storage.get(&layout::file_map(id), None).await?;
        let reader = ContainerReader::open(stored, &identity(id), keys, pool).await?;
        Ok(Self { id: id.clone(), reader, buffer: BytesMut::new() })
    }

    /// Returns the next record.
    pub(crate) async fn next(&mut self) -> Result<Option<FileRecord>, RepositoryError> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let line = self.buffer.split_to(searched + at + 1);
                return serde_json::from_slice(&line).map(Some).map_err(|error| self.damaged(&error));
            }
            searched = self.buffer.len();
            match self.reader.next().await? {
                Some(chunk) if searched + chunk.len() > LINE_LIMIT => return Err(self.damaged(&"a line without end")),
                Some(chunk) => self.append(chunk),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(self.damaged(&"its last line is cut short")),
            }
        }
    }

    fn append(&mut self, chunk: Bytes) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::from(chunk);
        } else {
            self.buffer.extend_from_slice(&chunk);
        }
    }

    fn damaged(&self, reason: &dyn std::fmt::Display) -> RepositoryError {
        RepositoryError::Damaged { record: layout::file_map(&self.id).to_string(), reason: reason.to_string() }
    }
}
