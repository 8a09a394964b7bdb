//! Folders that are known to survive the loss of power.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::files::sync_folder;
use super::root::{self, Root};

/// Beyond so many remembered folders all are forgotten, which costs a few syncs.
const REMEMBERED: usize = 4096;

/// Makes folders and remembers which are durable, since another writer may have made one without having synced it yet.
#[derive(Debug, Default)]
pub(super) struct Folders {
    durable: Mutex<HashSet<PathBuf>>,
}

impl Folders {
    /// Makes `folder`, which lies in `root`, and all between them, and returns when they are durable. The root itself is
    /// never made: where it is missing, so are the objects.
    pub(super) fn ensure(&self, root: &Root, folder: &Path) -> io::Result<()> {
        root.check()?;
        self.ensure_below(root.path(), folder)
    }

    fn ensure_below(&self, root: &Path, folder: &Path) -> io::Result<()> {
        if folder == root || self.durable().contains(folder) {
            return Ok(());
        }
        let parent = folder.parent().unwrap_or(root);
        self.ensure_below(root, parent)?;
        root::make(folder)?;
        sync_folder(parent)?;
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
