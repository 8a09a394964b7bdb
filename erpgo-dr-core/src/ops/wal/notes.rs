//! Notes on files that were pushed before PostgreSQL asked for it.
//!
//! A note says which file was pushed and where it is durable. It counts only for the same places and for a file that nothing has
//! touched since, so that a data directory that was restored, or a repository that was moved, never gets a yes that is not its own.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::local;
use super::part::PartFile;
use super::push::{WalPushOutcome, WalPushReport};
use super::spool::{self, WalSpool, failed};
use crate::ops::Result;
use crate::postgres::wal::SegmentHeader;
use crate::types::WalFileName;

/// Notes are small.
const LIMIT: u64 = 64 << 10;

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    location: String,
    stamp: FileStamp,
    stored_bytes: u64,
}

/// What changes when a file is written, replaced, copied or restored. The kernel sets the time of the change, and nobody else can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileStamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl WalSpool {
    /// Answers the push of a segment from the note on an earlier one, which is used up by that. Needs no repository.
    ///
    /// `location` is where the repository lies, as its storage says. Returns `None` when there is no note, or one about another file or
    /// another place: then push.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); [`Error::Wal`](crate::Error::Wal) for what is no segment.
    pub fn take_pushed(&self, path: &Path, location: &str) -> Result<Option<WalPushReport>> {
        let WalFileName::Segment(name) = local::name_of(path)? else { return Ok(None) };
        let mut begin = [0; SegmentHeader::LEN];
        let mut read_begin = || -> std::io::Result<FileStamp> {
            let mut file = File::open(path)?;
            std::io::Read::read_exact(&mut file, &mut begin)?;
            Ok(FileStamp::of(&file.metadata()?))
        };
        let stamp = read_begin().map_err(|source| failed("read", path, source))?;
        let system = SegmentHeader::parse(&name.to_string(), &begin)?.system_identifier;
        let name = WalFileName::Segment(name);
        let note_path = self.note(system, name);
        let Some(note) = read(&note_path) else { return Ok(None) };
        spool::remove(&note_path).map_err(|source| failed("remove", &note_path, source))?;
        let same = note.location == location && note.stamp == stamp;
        let outcome = WalPushOutcome::PushedAhead;
        Ok(same.then(|| WalPushReport::new(system, name, outcome, stamp.bytes, note.stored_bytes)))
    }

    /// Notes that a file is durable everywhere.
    pub(super) fn note_pushed(&self, report: &WalPushReport, location: &str, stamp: FileStamp) -> Result<()> {
        let path = self.note(report.system_identifier, report.name);
        spool::make(&self.pushed(report.system_identifier))?;
        let note = Note { location: location.to_owned(), stamp, stored_bytes: report.stored_bytes };
        let write = || -> std::io::Result<()> {
            let Some(mut part) = PartFile::begin(&path)? else { return Ok(()) };
            part.write(&serde_json::to_vec(&note)?)?;
            part.publish()
        };
        write().map_err(|source| failed("write", &path, source))
    }

    /// Returns whether there is a note on a file.
    pub(super) fn is_noted(&self, system_identifier: u64, name: WalFileName) -> bool {
        self.note(system_identifier, name).exists()
    }

    /// Removes notes that PostgreSQL will not ask for any more: `is_waiting` says for which files it still will.
    pub(super) fn forget_pushed(&self, system_identifier: u64, is_waiting: impl Fn(&str) -> bool) -> Result<()> {
        let folder = self.pushed(system_identifier);
        let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !is_waiting(&name) {
                spool::remove(&entry.path()).map_err(|source| failed("remove", &entry.path(), source))?;
            }
        }
        Ok(())
    }

    fn note(&self, system_identifier: u64, name: WalFileName) -> PathBuf {
        self.pushed(system_identifier).join(name.to_string())
    }
}

/// Reads a note. One that cannot be read is none: the file is pushed again.
fn read(path: &Path) -> Option<Note> {
    let is_small = std::fs::metadata(path).ok()?.len() <= LIMIT;
    let text = is_small.then(|| std::fs::read(path).ok())??;
    serde_json::from_slice(&text).ok()
}
