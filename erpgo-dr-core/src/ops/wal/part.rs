//! A file that appears under its name when it is whole, verified and on disk.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// What is added to the name of a file while it is written. No file of the log, and nothing that PostgreSQL reads, is named so.
const SUFFIX: &str = ".erpgo-dr-part";

/// A file in the making. Its writer holds a lock on it, so that what a killed one left can be told from one at work.
#[derive(Debug)]
pub(super) struct PartFile {
    file: File,
    path: PathBuf,
    target: PathBuf,
    published: bool,
}

impl PartFile {
    /// Begins `target` beside it, over what a killed writer left; `None` while another writer is at it.
    pub(super) fn begin(target: &Path) -> io::Result<Option<Self>> {
        let path = part_of(target);
        loop {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            if !lock(&file)? {
                return Ok(None);
            }
            // Between open and lock the file may have been published, and be the target by now.
            if is_still(&file, &path)? {
                file.set_len(0)?;
                file.set_permissions(Permissions::from_mode(0o600))?;
                return Ok(Some(Self { file, path, target: target.to_owned(), published: false }));
            }
        }
    }

    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all(data)
    }

    /// Makes the file durable under its name.
    pub(super) fn publish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, &self.target)?;
        self.published = true;
        sync_folder_of(&self.target)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.published {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Returns whether somebody is writing `target` now.
pub(super) fn is_being_written(target: &Path) -> bool {
    let path = part_of(target);
    let Ok(file) = File::open(&path) else { return false };
    matches!(lock_shared(&file), Ok(false))
}

/// Returns whether a file of this name is one in the making.
pub(super) fn is_part(name: &str) -> bool {
    name.ends_with(SUFFIX)
}

/// Removes a file in the making unless its writer is at it.
pub(super) fn remove_dead(path: &Path) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if lock(&file)? && is_still(&file, path)? { std::fs::remove_file(path) } else { Ok(()) }
}

/// Moves a finished file to `target`, across file systems too.
pub(super) fn move_to(from: &Path, target: &Path) -> io::Result<()> {
    match std::fs::rename(from, target) {
        Ok(()) => sync_folder_of(target),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_over(from, target),
        Err(error) => Err(error),
    }
}

fn copy_over(from: &Path, target: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let Some(mut part) = PartFile::begin(target)? else {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process is writing it"));
    };
    io::copy(&mut source, &mut part.file)?;
    part.publish()?;
    std::fs::remove_file(from)
}

/// Makes the entries of the folder that a path lies in durable.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

/// Returns whether the lock was free.
pub(super) fn lock(file: &File) -> io::Result<bool> {
    flock(file, FlockOperation::NonBlockingLockExclusive)
}

fn lock_shared(file: &File) -> io::Result<bool> {
    flock(file, FlockOperation::NonBlockingLockShared)
}

fn flock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        // Some network file systems have no locks.
        Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOLCK | rustix::io::Errno::NOSYS) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Returns whether a path still leads to an open file.
fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("RECOVERYXLOG");
        std::fs::write(part_of(&target), b"what a killed writer left, and longer").unwrap();
        let mut part = PartFile::begin(&target).unwrap().unwrap();
        assert!(PartFile::begin(&target).unwrap().is_none(), "one writer at a time");
        assert!(is_being_written(&target));
        part.write(b"whole").unwrap();
        assert!(!target.exists());
        part.publish().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"whole");
        assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!is_being_written(&target));

        let mut part = PartFile::begin(&target).unwrap().unwrap();
        part.write(b"half").unwrap();
        drop(part);
        assert_eq!(std::fs::read(&target).unwrap(), b"whole");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a given up file is gone");
    }
}
