//! Folders that are known to survive the loss of power.

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::files::sync_folder;

/// Beyond so many remembered folders all are forgotten, which costs a few syncs.
const REMEMBERED: usize = 4096;

/// Makes folders and remembers which are durable, since another writer may have made one without having synced it yet.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    durable: Mutex<HashSet<PathBuf>>,
}

impl Folders {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, durable: Mutex::default() }
    }

    /// Makes `folder`, which lies in the root, and all above it, and returns when they are durable.
    pub(super) fn ensure(&self, folder: &Path) -> io::Result<()> {
        if self.durable().contains(folder) {
            return Ok(());
        }
        if folder == self.root {
            make_root(folder)?;
        } else {
            let parent = folder.parent().unwrap_or(&self.root);
            self.ensure(parent)?;
            make(folder)?;
            sync_folder(parent)?;
        }
        let mut durable = self.durable();
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        durable.insert(folder.to_owned());
        Ok(())
    }

    /// Forgets what is known: someone removes folders.
    pub(super) fn forget(&self) {
        self.durable().clear();
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the root and what is missing above it. What was there before is not ours to sync.
fn make_root(folder: &Path) -> io::Result<()> {
    if fs::metadata(folder).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return make(folder) };
    make_root(parent)?;
    make(folder)?;
    sync_folder(parent)
}

fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(io::ErrorKind::NotADirectory.into()),
        result => result,
    }
}
