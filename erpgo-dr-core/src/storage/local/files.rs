//! Files that appear whole or not at all, and stay.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, RenameFlags};

use super::Place;
use super::cancel::Called;
use super::root::RootLost;
use crate::storage::StorageError;
use crate::types::ObjectKey;

/// The folder of unfinished writes. No object key has a `~`, so it can never be one, and no list shows it.
pub(super) const TEMPORARY_FOLDER: &str = "~tmp";

/// How often a write makes its folder again when someone removes it, empty as it is, before the object gets there.
const FOLDER_ATTEMPTS: usize = 5;

/// A file in the folder of unfinished writes; dropping it removes it.
///
/// Its writer holds a lock on it, so that a sweep can tell a slow writer from a dead one.
#[derive(Debug)]
pub(super) struct TemporaryFile {
    path: PathBuf,
    file: File,
    published: bool,
}

impl TemporaryFile {
    pub(super) fn create(place: &Place) -> io::Result<Self> {
        let folder = place.root.path().join(TEMPORARY_FOLDER);
        let path = folder.join(hex::encode(rand::random::<[u8; 16]>()));
        let file =
            with_folder(place, &folder, || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Some network file systems have no locks: there, age alone protects the file from a sweep.
            Ok(()) | Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOLCK | rustix::io::Errno::NOSYS) => {}
            Err(error) => {
                let _ = fs::remove_file(&path);
                return Err(error.into());
            }
        }
        Ok(Self { path, file, published: false })
    }

    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)
    }

    /// Makes the file durable and puts it in the place of `key`, over whatever is there, if the caller still waits for that.
    pub(super) fn publish(self, place: &Place, key: &ObjectKey, called: &Called) -> io::Result<DateTime<Utc>> {
        self.publish_by(place, key, called, |from, to| fs::rename(from, to))
    }

    /// As [`TemporaryFile::publish`], but only if nothing is there.
    pub(super) fn publish_new(self, place: &Place, key: &ObjectKey, called: &Called) -> io::Result<DateTime<Utc>> {
        self.publish_by(place, key, called, rename_new)
    }

    fn publish_by(
        mut self,
        place: &Place,
        key: &ObjectKey,
        called: &Called,
        rename: impl Fn(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<DateTime<Utc>> {
        self.file.sync_all()?;
        let target = place.path(key);
        let folder = target.parent().unwrap_or(place.root.path()).to_owned();
        with_folder(place, &folder, || place.last_steps.take(called, || rename(&self.path, &target)))?;
        self.published = true;
        sync_folder(&folder)?;
        Ok(modified(&self.file.metadata()?))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Runs `action` in `folder`, which is made if it is missing: a sweep may remove an empty one at any moment.
fn with_folder<T>(place: &Place, folder: &Path, action: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..FOLDER_ATTEMPTS {
        place.folders.ensure(&place.root, folder)?;
        match action() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => place.folders.forget(),
            result => return result,
        }
    }
    place.folders.ensure(&place.root, folder)?;
    action()
}

/// Renames unless the target exists. A hard link does the same where the file system lacks `RENAME_NOREPLACE`.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    match rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        result => Ok(result?),
    }
}

/// Removes a file durably. One that is not there is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::IsADirectory => {}
        Err(error) => return Err(error),
    }
    // Also when it was gone already: whoever removed it may have died before this.
    match path.parent().map(sync_folder) {
        Some(Err(error)) if !is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Returns whether an error says that there is nothing by that name; `a/b` below the file `a` is nothing too.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Takes what is said of a file, and anything else for nothing.
pub(super) fn regular(metadata: Metadata) -> io::Result<Metadata> {
    if metadata.is_file() { Ok(metadata) } else { Err(io::ErrorKind::NotFound.into()) }
}

pub(super) fn modified(metadata: &Metadata) -> DateTime<Utc> {
    metadata.modified().map_or(DateTime::UNIX_EPOCH, DateTime::from)
}

/// Says what a failed file operation means to a caller.
pub(super) fn map_io(location: String, action: &'static str, key: &ObjectKey, error: io::Error) -> StorageError {
    use io::ErrorKind as Kind;
    let writes = !matches!(action, "read" | "look at");
    match error.kind() {
        Kind::NotFound | Kind::NotADirectory if !writes => StorageError::NotFound { location, key: key.clone() },
        _ => map_io_subject(location, action, key.to_string(), error),
    }
}

/// As [`map_io`], of something that is no object.
pub(super) fn map_io_subject(
    location: String,
    action: &'static str,
    subject: String,
    error: io::Error,
) -> StorageError {
    use io::ErrorKind as Kind;
    match RootLost::of(&error) {
        Some(RootLost::Missing) => return StorageError::FolderMissing { location },
        Some(RootLost::Replaced) => return StorageError::FolderReplaced { location },
        None => {}
    }
    match error.kind() {
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
            StorageError::PermissionDenied { location, subject, source: error.into() }
        }
        Kind::StorageFull | Kind::QuotaExceeded => StorageError::NoSpace { location, source: error.into() },
        Kind::StaleNetworkFileHandle
        | Kind::TimedOut
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::Interrupted
        | Kind::ResourceBusy => StorageError::Unavailable { location, action, subject, source: error.into() },
        _ => StorageError::Failed { location, action, subject, source: error.into() },
    }
}
