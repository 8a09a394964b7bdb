//! Reads the files of a running server, which change, grow, shrink and vanish meanwhile: the WAL makes up for that.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::super::PostgresError;
use super::super::wal::SegmentHeader;
use super::checksum::PAGE;
use super::control::{ControlFile, ControlFileImage};
use super::listing::{CONTROL_FILE, ClusterEntry, ClusterEntryKind, failed};
use super::page_hash::{PageHasher, ReadPlan};
use super::relation_file::RelationFile;
use super::session::ClusterFacts;
use super::session::{check_owner, foreign};
use super::sieve::Sieve;
use crate::types::{Lsn, WalSegmentName};

/// Reads one cluster. Blocking calls, from any thread.
#[derive(Debug, Clone)]
pub struct ClusterReader {
    root: PathBuf,
    start: Lsn,
    checks_pages: bool,
    pages_per_file: u32,
    system_identifier: u64,
    hasher: PageHasher,
}

/// The next bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These.
    Read(Bytes),
    /// So many that are as the earlier backup has them.
    Known(u64),
}

/// What became of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileOutcome {
    /// Whether it was gone: the WAL says so too, and nothing of it is needed.
    pub vanished: bool,
    /// Pages whose checksum was wrong, and stayed the same and wrong when they were read again.
    pub damaged: Vec<DamagedBlock>,
    /// The hash of each of its pages.
    pub hashes: Bytes,
    /// Bytes that were read.
    pub read: u64,
    /// Bytes of these that were handed on, because no earlier backup has them.
    pub changed: u64,
    /// Pages that have changed although what told of changes did not name them.
    pub unannounced: Vec<DamagedBlock>,
}

/// A page that is damaged on the server's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedBlock {
    /// The number of the page in its relation.
    pub block: u32,
}

impl ClusterReader {
    /// Reads the data directory `root` of the server that `facts` tell of, for a backup whose replay begins at `start`, and
    /// hashes its pages.
    ///
    /// # Errors
    /// [`PhysicalError::ForeignDirectory`](super::PhysicalError::ForeignDirectory) when that directory is not this server's, but
    /// that of another cluster or of a standby or clone of the same; [`PostgresError::File`] and
    /// [`PhysicalError::ControlFile`](super::PhysicalError::ControlFile) for the control file.
    pub fn new(root: &Path, facts: &ClusterFacts, start: Lsn, hasher: PageHasher) -> Result<Self, PostgresError> {
        check_owner(root, facts)?;
        // The checkpoint that the backup began with is in the server's own control file before the server says that it has begun.
        if ControlFile::read(root)?.control.redo < start {
            return foreign(root, facts, "its last checkpoint is older than the one that the backup begins with");
        }
        let checks_pages = facts.data_checksums && facts.block_size == PAGE as u32;
        Ok(Self {
            root: root.to_owned(),
            start,
            checks_pages,
            pages_per_file: facts.blocks_per_segment,
            system_identifier: facts.system_identifier,
            hasher,
        })
    }

    /// Reads a file to the length that it was listed with, as far as `plan` asks for, and gives pieces of at most 256 KiB to
    /// `forward` until that returns `false`.
    ///
    /// # Errors
    /// [`PostgresError::File`].
    pub fn read(
        &self,
        entry: &ClusterEntry,
        plan: &ReadPlan,
        forward: &mut dyn FnMut(Piece) -> bool,
    ) -> Result<FileOutcome, PostgresError> {
        let ClusterEntryKind::File { size, .. } = entry.kind else { return Ok(FileOutcome::default()) };
        let path = self.root.join(&*entry.path);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(FileOutcome { vanished: true, ..FileOutcome::default() });
            }
            Err(error) => return Err(failed(&path, "open")(error)),
        };
        let relation = RelationFile::parse(&entry.path);
        let first_block = relation.map_or(0, |relation| relation.first_block(self.pages_per_file));
        let checks = (self.start, self.checks_pages && relation.is_some());
        let sieve = Sieve::new(&file, size, plan, &self.hasher, first_block, checks);
        sieve.run(forward).map_err(failed(&path, "read"))
    }

    /// Reads the control file, and its permissions. It is to be read after all other files and before the session stops: a
    /// standby's names the position that the copy must be replayed to.
    ///
    /// # Errors
    /// [`PostgresError::File`], [`PhysicalError::ControlFile`](super::PhysicalError::ControlFile).
    pub fn control_file(&self) -> Result<(ClusterEntry, Bytes), PostgresError> {
        let ControlFileImage { contents, mode, modified, .. } = ControlFile::read(&self.root)?;
        let kind = ClusterEntryKind::File { size: contents.len() as u64, modified };
        Ok((ClusterEntry { path: CONTROL_FILE.into(), kind, mode }, contents))
    }

    /// Reads a whole segment of WAL from the server's own folder.
    ///
    /// # Errors
    /// [`PostgresError::MissingWal`] when the server has removed it, or uses the file for another one now;
    /// [`PostgresError::MalformedCluster`] when the file is not what its name says.
    pub fn wal_segment(&self, name: WalSegmentName) -> Result<Bytes, PostgresError> {
        let path = self.root.join("pg_wal").join(name.to_string());
        let contents = match std::fs::read(&path) {
            // A file that is used again has another name first, and then other contents.
            Ok(contents) if path.exists() => contents,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&path, "read")(error)),
            _ => return Err(PostgresError::MissingWal { name }),
        };
        let header = SegmentHeader::parse(&name.to_string(), &contents);
        let checked = header.and_then(|header| {
            header.check(name, Some(self.system_identifier))?;
            header.check_length(name, contents.len() as u64)
        });
        checked.map_err(|error| PostgresError::MalformedCluster(format!("{}: {error}", path.display())))?;
        Ok(contents.into())
    }
}
