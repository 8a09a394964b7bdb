//! Removing what crashed writers left.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};
use rustix::fs::FlockOperation;

use super::Place;
use super::files::{self, TEMPORARY_FOLDER, map_io_subject};
use crate::storage::StorageError;
use crate::types::ObjectKey;

/// Removes unfinished files and empty folders last touched before `older_than`; returns how many files.
pub(super) fn sweep(place: &Place, older_than: DateTime<Utc>) -> Result<u64, StorageError> {
    let error = |error| map_io_subject(place.location(), "sweep", "the folder".to_owned(), error);
    place.root.check().map_err(error)?;
    let removed = unfinished(&place.root.path().join(TEMPORARY_FOLDER), older_than).map_err(error)?;
    empty_folders(place.root.path(), older_than).map_err(error)?;
    Ok(removed)
}

fn unfinished(folder: &Path, older_than: DateTime<Utc>) -> io::Result<u64> {
    let mut removed = 0;
    for entry in entries(folder)? {
        let entry = entry?;
        let Some(metadata) = present(entry.metadata())? else { continue };
        if !metadata.is_file() || files::modified(&metadata) >= older_than {
            continue;
        }
        let Some(file) = present(File::open(entry.path()))? else { continue };
        // Its writer holds the lock for as long as it lives.
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(rustix::io::Errno::WOULDBLOCK) {
            continue;
        }
        if present(fs::remove_file(entry.path()))?.is_some() {
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes empty folders below `folder`, the deepest first. A writer whose folder goes makes it again.
fn empty_folders(folder: &Path, older_than: DateTime<Utc>) -> io::Result<()> {
    for entry in entries(folder)? {
        let entry = entry?;
        let ours = entry.file_name().to_str().is_some_and(|name| ObjectKey::new(name).is_ok());
        if !ours || !entry.file_type()?.is_dir() {
            continue;
        }
        let Some(metadata) = present(entry.metadata())? else { continue };
        empty_folders(&entry.path(), older_than)?;
        if files::modified(&metadata) < older_than {
            // That it is not empty is what keeps it.
            match fs::remove_dir(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty && !files::is_absent(&error) => {
                    return Err(error);
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    Ok(present(fs::read_dir(folder))?.into_iter().flatten())
}

/// Takes what another process removed meanwhile for nothing.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if files::is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
