//! The folder in which the log waits to be archived: `SYSTEM/FILE` under the names that the archive knows, and a lock.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::part;
use super::super::spool::make;
use super::WalStreamError;
use crate::ops::Result;
use crate::postgres::wal::SegmentHeader;
use crate::types::{Lsn, WalFileName, WalSegmentName};

pub(super) use super::super::spool::failed;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The beginning of a segment that is not whole yet, and durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) system_identifier: u64,
    pub(super) segment: WalSegmentName,
    pub(super) start: Lsn,
    pub(super) bytes: u64,
}

impl Tail {
    /// Where it breaks off.
    pub(super) fn end(&self) -> Lsn {
        Lsn(self.start.0 + self.bytes)
    }
}

/// The part of the folder that belongs to one cluster.
#[derive(Debug, Clone)]
pub(super) struct StreamFolder {
    path: PathBuf,
    pub(super) system_identifier: u64,
}

impl StreamFolder {
    /// Takes the folder for this process alone, until what is returned is dropped.
    pub(super) fn lock_root(root: &Path) -> Result<File> {
        make(root)?;
        let path = root.join("lock");
        let lock = || -> io::Result<_> {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            Ok(part::lock(&file)?.then_some(file))
        };
        let locked = lock().map_err(|source| failed("lock", &path, source))?;
        Ok(locked.ok_or_else(|| WalStreamError::FolderBusy { folder: root.to_owned() })?)
    }

    /// Opens the part of a cluster, and makes it if need be.
    pub(super) fn open(root: &Path, system_identifier: u64) -> Result<Self> {
        let path = root.join(system_identifier.to_string());
        make(&path)?;
        part::sync_folder_of(&path).map_err(|source| failed("sync", root, source))?;
        Ok(Self { path, system_identifier })
    }

    /// Opens the part of the only cluster that has one.
    pub(super) fn find(root: &Path) -> Result<Option<Self>> {
        let read = || -> io::Result<Vec<u64>> {
            let names = std::fs::read_dir(root)?.map(|entry| Ok(entry?.file_name().to_string_lossy().parse().ok()));
            names.filter_map(io::Result::transpose).collect()
        };
        match read().map_err(|source| failed("list", root, source))?.as_slice() {
            [] => Ok(None),
            [system] => Self::open(root, *system).map(Some),
            _ => Err(WalStreamError::SeveralClusters { folder: root.to_owned() }.into()),
        }
    }

    pub(super) fn file(&self, name: WalFileName) -> PathBuf {
        self.path.join(name.to_string())
    }

    /// Lists the files that wait: histories, then segments and partial ones by their names.
    pub(super) fn waiting(&self) -> Result<Vec<WalFileName>> {
        let read = || -> io::Result<Vec<WalFileName>> {
            let names =
                std::fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().parse().ok()));
            names.filter_map(io::Result::transpose).collect()
        };
        let mut names = read().map_err(|source| failed("list", &self.path, source))?;
        names.sort_by_key(|name| (!matches!(name, WalFileName::History(_)), name.to_string()));
        Ok(names)
    }

    /// Returns the last segment that lies here, whole or in part.
    pub(super) fn newest(&self) -> Result<Option<WalFileName>> {
        let segment = |name: &WalFileName| match name {
            WalFileName::Segment(name) | WalFileName::Partial(name) => Some((*name, *name)),
            _ => None,
        };
        let newest = self.waiting()?.into_iter().filter_map(|name| Some((segment(&name)?.0, name)));
        // Of one segment both may lie here: then the whole one counts.
        Ok(newest
            .max_by_key(|(segment, name)| (*segment, matches!(name, WalFileName::Segment(_))))
            .map(|(_, name)| name))
    }

    /// Opens a segment in the making, and leaves what is in it.
    pub(super) fn open_partial(&self, name: WalSegmentName) -> Result<File> {
        let path = self.file(WalFileName::Partial(name));
        let open = || -> io::Result<File> {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            part::sync_folder_of(&path)?;
            Ok(file)
        };
        open().map_err(|source| failed("write", &path, source))
    }

    /// Looks at a segment that was begun, and makes what there is of it durable. One that does not say what it is holds no record either,
    /// as after a loss of power, and is `None`.
    pub(super) fn measure(&self, segment: WalSegmentName) -> Result<Option<Tail>> {
        let name = WalFileName::Partial(segment);
        let path = self.file(name);
        let mut begin = [0; SegmentHeader::LEN];
        let mut read = || -> io::Result<u64> {
            let file = File::open(&path)?;
            file.sync_data()?;
            file.read_exact_at(&mut begin, 0)?;
            Ok(file.metadata()?.len())
        };
        let bytes = match read() {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                return Ok(None);
            }
            read => read.map_err(|source| failed("read", &path, source))?,
        };
        let system_identifier = self.system_identifier;
        let header = SegmentHeader::parse(&name.to_string(), &begin)
            .and_then(|header| header.check(segment, Some(system_identifier)).map(|()| header));
        match header {
            Ok(header) => Ok(Some(Tail { system_identifier, segment, start: header.start, bytes })),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "this is not the beginning of a segment, and not archived");
                Ok(None)
            }
        }
    }

    /// Compares the log that comes now, of `position` and `offset` in its segment, with what was there of it before.
    ///
    /// # Errors
    /// [`WalStreamError::Rewritten`] where it differs. Sectors of zeros do not count: so a loss of power leaves what had not been made durable.
    pub(super) fn compare(&self, before: &Tail, offset: u64, now: &[u8], position: Lsn) -> Result<()> {
        let there = before.bytes.saturating_sub(offset).min(now.len() as u64) as usize;
        if there == 0 {
            return Ok(());
        }
        let path = self.file(WalFileName::Partial(before.segment));
        let mut then = vec![0; there];
        let read = File::open(&path).and_then(|file| file.read_exact_at(&mut then, offset));
        read.map_err(|source| failed("read", &path, source))?;
        let differs = |(then, now): (&[u8], &[u8])| then != now && then.iter().any(|byte| *byte != 0);
        if then.chunks(SECTOR).zip(now[..there].chunks(SECTOR)).any(differs) {
            let (timeline, folder) = (before.segment.timeline(), self.path.clone());
            return Err(WalStreamError::Rewritten { timeline, position, folder }.into());
        }
        Ok(())
    }

    /// Gives a segment that is whole and durable its name.
    pub(super) fn complete(&self, name: WalSegmentName) -> Result<()> {
        let (partial, whole) = (self.file(WalFileName::Partial(name)), self.file(WalFileName::Segment(name)));
        part::move_to(&partial, &whole).map_err(|source| failed("rename", &partial, source))
    }

    /// Writes a small file whole, unless it is there.
    pub(super) fn write(&self, name: WalFileName, bytes: &[u8]) -> Result<()> {
        let path = self.file(name);
        let write = || -> io::Result<()> {
            let Some(mut part) = part::PartFile::begin(&path)? else { return Ok(()) };
            part.write(bytes)?;
            part.publish()
        };
        write().map_err(|source| failed("write", &path, source))
    }

    /// Removes a file that has been archived.
    pub(super) fn remove(&self, name: WalFileName) -> Result<()> {
        let path = self.file(name);
        super::super::spool::remove(&path).map_err(|source| failed("remove", &path, source))
    }
}
