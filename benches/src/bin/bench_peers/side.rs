//! What both sides do: the operations whose times are compared.

use std::io;
use std::path::{Path, PathBuf};

use erpgo_dr_benches::children::Usage;

use crate::folders::Stored;

/// A tool that backs a cluster up into a repository, which it keeps in a folder.
pub(crate) trait Side {
    /// Returns the name for tables.
    fn name(&self) -> &str;

    /// Returns the folder of the repository.
    fn repository(&self) -> PathBuf;

    /// Makes an empty repository in place of the one that was there.
    fn begin(&self) -> io::Result<()>;

    /// Stores everything.
    fn full(&self) -> io::Result<Usage>;

    /// Stores what has changed since the last backup, and fails if the tool stored everything.
    fn incremental(&self) -> io::Result<Usage>;

    /// Restores the newest backup into a folder, by `delta` over what is there.
    fn restore(&self, target: &Path, delta: bool) -> io::Result<Usage>;

    /// Returns how much lies in the repository.
    fn stored(&self) -> io::Result<Stored> {
        Stored::of(&self.repository())
    }
}
