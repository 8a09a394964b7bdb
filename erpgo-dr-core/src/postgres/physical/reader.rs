//! Reads the files of a running server, which change, grow, shrink and vanish meanwhile: the WAL makes up for that.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::super::PostgresError;
use super::checksum::{PAGE, PageVerdict, check_page};
use super::control::{ControlFile, ControlFileImage};
use super::listing::{CONTROL_FILE, ClusterEntry, ClusterEntryKind, failed};
use super::relation_file::RelationFile;
use super::session::ClusterFacts;
use super::session::{check_owner, foreign};
use crate::types::{Lsn, WalSegmentName};

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;
/// Damaged pages of one file after which a page is taken for damaged without a pause: a file of rubbish is no write in progress.
const PATIENCE: usize = 64;
/// How often a page is read again whose checksum is wrong. A write of one page takes microseconds.
const REREADS: usize = 5;
const PAUSE: Duration = Duration::from_millis(2);

/// Reads one cluster. Blocking calls, from any thread.
#[derive(Debug, Clone)]
pub struct ClusterReader {
    root: PathBuf,
    start: Lsn,
    checks_pages: bool,
    pages_per_file: u32,
}

/// What became of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileOutcome {
    /// Whether it was gone: the WAL says so too, and nothing of it is needed.
    pub vanished: bool,
    /// Pages whose checksum was wrong, and stayed the same and wrong when they were read again.
    pub damaged: Vec<DamagedBlock>,
}

/// A page that is damaged on the server's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedBlock {
    /// The number of the page in its relation.
    pub block: u32,
}

impl ClusterReader {
    /// Reads the data directory `root` of the server that `facts` tell of, for a backup whose replay begins at `start`.
    ///
    /// # Errors
    /// [`PhysicalError::ForeignDirectory`](super::PhysicalError::ForeignDirectory) when that directory is not this server's, but
    /// that of another cluster or of a standby or clone of the same; [`PostgresError::File`] and
    /// [`PhysicalError::ControlFile`](super::PhysicalError::ControlFile) for the control file.
    pub fn new(root: &Path, facts: &ClusterFacts, start: Lsn) -> Result<Self, PostgresError> {
        check_owner(root, facts)?;
        // The checkpoint that the backup began with is in the server's own control file before the server says that it has begun.
        if ControlFile::read(root)?.control.redo < start {
            return foreign(root, facts, "its last checkpoint is older than the one that the backup begins with");
        }
        let checks_pages = facts.data_checksums && facts.block_size == PAGE as u32;
        Ok(Self { root: root.to_owned(), start, checks_pages, pages_per_file: facts.blocks_per_segment })
    }

    /// Reads a file to the length that it was listed with, and gives chunks of at most 256 KiB to `forward` until that
    /// returns `false`.
    ///
    /// # Errors
    /// [`PostgresError::File`].
    pub fn read(
        &self,
        entry: &ClusterEntry,
        forward: &mut dyn FnMut(Bytes) -> bool,
    ) -> Result<FileOutcome, PostgresError> {
        let ClusterEntryKind::File { size, .. } = entry.kind else { return Ok(FileOutcome::default()) };
        let path = self.root.join(&*entry.path);
        let mut outcome = FileOutcome::default();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                outcome.vanished = true;
                return Ok(outcome);
            }
            Err(error) => return Err(failed(&path, "open")(error)),
        };
        let relation = RelationFile::parse(&entry.path).filter(|_| self.checks_pages);
        let mut at = 0;
        while at < size {
            let wanted = CHUNK.min((size - at) as usize);
            let mut chunk = BytesMut::zeroed(wanted);
            let found = read_up_to(&file, &mut chunk, at).map_err(failed(&path, "read"))?;
            chunk.truncate(found);
            if let Some(relation) = &relation {
                let first = relation.first_block(self.pages_per_file).wrapping_add((at / PAGE as u64) as u32);
                let patient = outcome.damaged.len() < PATIENCE;
                let damaged = self.check(&file, &mut chunk, at, first, patient).map_err(failed(&path, "read"))?;
                outcome.damaged.extend(damaged);
            }
            at += found as u64;
            if found > 0 && !forward(chunk.freeze()) {
                break;
            }
            if found < wanted {
                break;
            }
        }
        Ok(outcome)
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
    /// [`PostgresError::MissingWal`] when the server has removed it.
    pub fn wal_segment(&self, name: WalSegmentName) -> Result<Bytes, PostgresError> {
        let path = self.root.join("pg_wal").join(name.to_string());
        match std::fs::read(&path) {
            Ok(contents) => Ok(contents.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(PostgresError::MissingWal { name }),
            Err(error) => Err(failed(&path, "read")(error)),
        }
    }

    /// Checks the pages of a chunk; one that was read while it was written is read again, into the chunk.
    fn check(
        &self,
        file: &File,
        chunk: &mut [u8],
        at: u64,
        first: u32,
        patient: bool,
    ) -> io::Result<Vec<DamagedBlock>> {
        let mut damaged = Vec::new();
        let (pages, _) = chunk.as_chunks_mut::<PAGE>();
        for (number, page) in pages.iter_mut().enumerate() {
            let block = first.wrapping_add(number as u32);
            if check_page(page, block, self.start.0) == PageVerdict::Bad
                && self.is_damaged(file, page, at + (number * PAGE) as u64, block, patient)?
            {
                damaged.push(DamagedBlock { block });
            }
        }
        Ok(damaged)
    }

    /// Reads a page again until it is good, or has stayed the same: then it is what lies on the disk.
    fn is_damaged(&self, file: &File, page: &mut [u8; PAGE], at: u64, block: u32, patient: bool) -> io::Result<bool> {
        for _ in 0..REREADS {
            if patient {
                std::thread::sleep(PAUSE);
            }
            let mut again = [0; PAGE];
            if read_up_to(file, &mut again, at)? < PAGE {
                // Cut off meanwhile: replay does the same.
                return Ok(false);
            }
            let same = again == *page;
            *page = again;
            if check_page(page, block, self.start.0) != PageVerdict::Bad {
                return Ok(false);
            }
            if same {
                return Ok(true);
            }
        }
        // Written over and over: every change is in the WAL, with a whole image of the page.
        Ok(false)
    }
}

/// Fills `buffer` from `at` on as far as the file goes; returns how far that was.
fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
