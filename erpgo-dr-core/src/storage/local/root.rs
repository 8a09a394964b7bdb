//! The folder that everything lies in: that it is there, and that it is still the same one.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use super::files::sync_folder;

/// The folder of a place, known again by what was first seen of it.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    known: OnceLock<Identity>,
}

/// What tells a folder from another one in its place: the empty one below a mount, for instance.
#[derive(Debug, Clone)]
struct Identity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

/// Why a folder cannot be used any more. Travels inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RootLost {
    #[error("the folder is not there")]
    Missing,
    #[error("the folder is another one than before")]
    Replaced,
}

impl Root {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, known: OnceLock::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails with [`RootLost`] unless the folder is there, and the one that was there at first.
    pub(super) fn check(&self) -> io::Result<()> {
        let found = match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => Identity::of(&found),
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(RootLost::Missing.into()),
            Err(error) => return Err(error),
        };
        if self.known.get_or_init(|| found.clone()).is_same(&found) { Ok(()) } else { Err(RootLost::Replaced.into()) }
    }

    /// Makes the folder and what is missing above it, unless it was ever seen: then its objects are elsewhere.
    pub(super) fn make(&self) -> io::Result<()> {
        match self.check() {
            Err(error) if self.known.get().is_none() && RootLost::of(&error) == Some(RootLost::Missing) => {
                make_all(&self.path)?;
                self.check()
            }
            result => result,
        }
    }
}

impl Identity {
    fn of(folder: &Metadata) -> Self {
        Self { device: folder.dev(), inode: folder.ino(), born: folder.created().ok() }
    }

    /// A disk that is mounted again may get another device number; the time of birth lies on it.
    fn is_same(&self, other: &Self) -> bool {
        let same_birth = self.born.is_some() && self.born == other.born;
        self.inode == other.inode && (self.device == other.device || same_birth)
    }
}

impl RootLost {
    /// Finds it in an error that [`Root::check`] returned.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<RootLost> for io::Error {
    fn from(lost: RootLost) -> Self {
        Self::other(lost)
    }
}

/// Makes a folder and what is missing above it, durably. What was there before is not ours to sync.
fn make_all(folder: &Path) -> io::Result<()> {
    if fs::metadata(folder).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return make(folder) };
    make_all(parent)?;
    make(folder)?;
    sync_folder(parent)
}

/// Makes one folder, unless it is there.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(io::ErrorKind::NotADirectory.into()),
        result => result,
    }
}
