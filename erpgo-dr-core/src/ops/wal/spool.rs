//! A folder on the database's own disk: segments fetched ahead of the replay, and notes on files that were pushed ahead.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::part;
use super::prefetch::WalPrefetchOptions;
use crate::ops::{Error, Result};
use crate::postgres::wal::SegmentHeader;
use crate::types::{WalSegmentName, WalSegmentSize};

/// How long a fetch waits for a segment that somebody else is fetching into the spool, before it fetches it itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// The spool. What is in it can be lost at any moment: it is fetched, or pushed, again.
///
/// Segments lie in it in the clear, as they do in the data directory: it must be on a disk of the database. Its folders are for their
/// owner only.
#[derive(Debug, Clone)]
pub struct WalSpool {
    folder: PathBuf,
}

impl WalSpool {
    /// Takes a folder, which is made when it is needed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Moves a segment that was fetched ahead to `destination`. Waits while another process is fetching it.
    ///
    /// Returns its bytes; `None` when it is not here.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn take(&self, system_identifier: u64, name: WalSegmentName, destination: &Path) -> Result<Option<u64>> {
        let (path, destination) = (self.segment(system_identifier, name), destination.to_owned());
        let deadline = Instant::now() + PATIENCE;
        while !path.exists() && part::is_being_written(&path) && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { return Ok(None) };
        match part::move_to(&path, &destination) {
            Ok(()) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => Ok(None),
            Err(source) => Err(failed("move", &path, source)),
        }
    }

    /// Notes that `name` has been delivered, and lies at `destination` now. Returns the size of its segments when it is time to fetch
    /// ahead of it: when fewer than half of those that should be here are, and nobody is at it.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Wal`] for what is no segment.
    pub fn delivered(
        &self,
        system_identifier: u64,
        name: WalSegmentName,
        destination: &Path,
        options: &WalPrefetchOptions,
    ) -> Result<Option<WalSegmentSize>> {
        let mut begin = [0; SegmentHeader::LEN];
        let read = File::open(destination).and_then(|mut file| io::Read::read_exact(&mut file, &mut begin));
        read.map_err(|source| failed("read", destination, source))?;
        let size = SegmentHeader::parse(&name.to_string(), &begin)?.segment_size;
        self.note_reached(system_identifier, name)?;
        let window = options.window(name, size);
        let here = window.iter().filter(|name| self.segment(system_identifier, **name).exists()).count();
        let wanted = here * 2 < window.len() && self.lock_fetching(system_identifier)?.is_some();
        Ok(wanted.then_some(size))
    }

    pub(super) fn segment(&self, system_identifier: u64, name: WalSegmentName) -> PathBuf {
        self.fetched(system_identifier).join(name.to_string())
    }

    /// Takes the lock under which one process at a time fetches ahead; `None` while another has it.
    pub(super) fn lock_fetching(&self, system_identifier: u64) -> Result<Option<File>> {
        let folder = self.fetched(system_identifier);
        make(&folder)?;
        let path = folder.join("lock");
        let lock = || -> io::Result<_> {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            Ok(part::lock(&file)?.then_some(file))
        };
        lock().map_err(|source| failed("lock", &path, source))
    }

    /// Notes how far the replay has come, for a process that is fetching ahead of it.
    fn note_reached(&self, system_identifier: u64, name: WalSegmentName) -> Result<()> {
        let folder = self.fetched(system_identifier);
        make(&folder)?;
        let path = folder.join("reached");
        std::fs::write(&path, name.to_string()).map_err(|source| failed("write", &path, source))
    }

    /// Returns how far the replay has come. What cannot be read is not known.
    pub(super) fn reached(&self, system_identifier: u64) -> Option<WalSegmentName> {
        std::fs::read_to_string(self.fetched(system_identifier).join("reached")).ok()?.parse().ok()
    }

    /// Removes what the replay has gone past, or left for another timeline.
    pub(super) fn keep_only(&self, system_identifier: u64, window: &[WalSegmentName]) -> Result<()> {
        let folder = self.fetched(system_identifier);
        let wanted: BTreeSet<String> = window.iter().map(ToString::to_string).collect();
        let clear = || -> io::Result<()> {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if part::is_part(&name) {
                    part::remove_dead(&entry.path())?;
                } else if name.parse::<WalSegmentName>().is_ok() && !wanted.contains(&name) {
                    remove(&entry.path())?;
                }
            }
            Ok(())
        };
        clear().map_err(|source| failed("clear", &folder, source))
    }

    fn fetched(&self, system_identifier: u64) -> PathBuf {
        self.folder.join("fetched").join(system_identifier.to_string())
    }

    /// The folder of notes on files of a cluster that were pushed ahead.
    pub(super) fn pushed(&self, system_identifier: u64) -> PathBuf {
        self.folder.join("pushed").join(system_identifier.to_string())
    }
}

/// Makes a folder and those above it, for their owner only.
pub(super) fn make(folder: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| failed("make", folder, source))
}

/// Removes a file that may have gone meanwhile.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

pub(super) fn failed(action: &str, path: &Path, source: io::Error) -> Error {
    Error::Io { action: format!("{action} {}", path.display()), source }
}
