//! Notes on files that were pushed before PostgreSQL asked for it.
//!
//! A note says what the file held and where it is durable. It counts only for the same bytes and the same places, so that a data
//! directory that was restored, or a repository that was moved, never gets a yes that is not its own.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::local::LocalFile;
use super::part::PartFile;
use super::push::{WalPushOutcome, WalPushReport};
use super::spool::{self, WalSpool, failed};
use crate::ops::Result;
use crate::types::{ContentHash, WalFileName};

/// Notes are small.
const LIMIT: u64 = 64 << 10;

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    location: String,
    bytes: u64,
    hash: ContentHash,
    stored_bytes: u64,
}

impl WalSpool {
    /// Answers a push from the note on an earlier one, which is used up by that. Needs no repository.
    ///
    /// `location` is where the repository lies, as its storage says. Returns `None` when there is no note, or one about other bytes or
    /// another place: then push.
    ///
    /// # Errors
    /// As [`wal_push`](super::wal_push()) for a file that is not what its name says; [`Error::Io`](crate::Error::Io).
    pub async fn take_pushed(
        &self,
        path: &Path,
        location: &str,
        system_identifier: Option<u64>,
    ) -> Result<Option<WalPushReport>> {
        let file = LocalFile::read(path).await?;
        let Some(system) = file.cluster(system_identifier)? else { return Ok(None) };
        let Some(plain) = file.whole() else { return Ok(None) };
        let note_path = self.note(system, file.name);
        let Some(note) = read(&note_path) else { return Ok(None) };
        let removed = spool::remove(&note_path);
        removed.map_err(|source| failed("remove", &note_path, source))?;
        let same = note.location == location && note.bytes == plain.len() as u64 && note.hash == ContentHash::of(plain);
        let outcome = WalPushOutcome::PushedAhead;
        Ok(same.then(|| WalPushReport::new(system, file.name, outcome, note.bytes, note.stored_bytes)))
    }

    /// Notes that a file is durable everywhere.
    pub(super) fn note_pushed(&self, report: &WalPushReport, location: &str, hash: ContentHash) -> Result<()> {
        let path = self.note(report.system_identifier, report.name);
        spool::make(&self.pushed(report.system_identifier))?;
        let note = Note { location: location.to_owned(), bytes: report.bytes, hash, stored_bytes: report.stored_bytes };
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
