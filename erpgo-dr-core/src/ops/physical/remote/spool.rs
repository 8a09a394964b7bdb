//! What is known of many files, kept on a disk until it can be put in order: places and keyed hashes, and nothing of the contents.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::ops::physical::target::failed;
use crate::ops::{Error, Result};

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;

/// Parts that are kept of each file.
const PARTS: usize = 2;

/// A file without a name, which is gone when this is, and an index of it in memory.
#[derive(Debug)]
pub(super) struct FileSpool {
    scratch: PathBuf,
    file: File,
    written: u64,
    buffer: Vec<u8>,
    index: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    path: Box<str>,
    at: u64,
    lengths: [u32; PARTS],
}

impl FileSpool {
    /// Begins in the folder `scratch`.
    pub(super) fn begin(scratch: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(scratch).map_err(failed("make a temporary file in", scratch))?;
        Ok(Self { scratch: scratch.to_owned(), file, written: 0, buffer: Vec::new(), index: Vec::new() })
    }

    /// Keeps the parts of what is known of the file at `path`.
    pub(super) fn push(&mut self, path: &str, parts: [&[u8]; PARTS]) -> Result<()> {
        let at = self.written + self.buffer.len() as u64;
        self.index.push(Slot { path: path.into(), at, lengths: parts.map(|part| part.len() as u32) });
        parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all_at(&self.buffer, self.written).map_err(self.failed("write"))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends what is pushed, and begins what is read: of a file that was pushed twice, what came last.
    pub(super) fn sorted(mut self) -> Result<SortedSpool> {
        self.flush()?;
        self.buffer = Vec::new();
        self.index.reverse();
        self.index.sort_by(|one, other| one.path.cmp(&other.path));
        self.index.dedup_by(|earlier, last| earlier.path == last.path);
        Ok(SortedSpool(self))
    }

    fn failed(&self, action: &str) -> impl FnOnce(io::Error) -> Error + use<> {
        let action = format!("{action} a temporary file in {}", self.scratch.display());
        move |source| Error::Io { action, source }
    }
}

/// What is known of many files, in order of their paths.
#[derive(Debug)]
pub(super) struct SortedSpool(FileSpool);

impl SortedSpool {
    /// Returns how many files there are.
    pub(super) fn len(&self) -> usize {
        self.0.index.len()
    }

    /// Reads the parts of the file of this number.
    pub(super) fn read(&self, number: usize) -> Result<[Bytes; PARTS]> {
        let slot = &self.0.index[number];
        let length: usize = slot.lengths.iter().map(|length| *length as usize).sum();
        let mut whole = vec![0; length];
        self.0.file.read_exact_at(&mut whole, slot.at).map_err(self.0.failed("read"))?;
        let mut whole = Bytes::from(whole);
        Ok(slot.lengths.map(|length| whole.split_to(length as usize)))
    }

    /// Reads the parts of the file at `path`, if there is one.
    pub(super) fn find(&self, path: &str) -> Result<Option<[Bytes; PARTS]>> {
        match self.0.index.binary_search_by(|slot| (*slot.path).cmp(path)) {
            Ok(number) => self.read(number).map(Some),
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_in_any_order_comes_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = FileSpool::begin(folder.path()).unwrap();
        let large = vec![7; BUFFER + 1];
        for (path, parts) in [("b", [&b"one"[..], b""]), ("c", [&large, b"x"]), ("a", [b"", b"one"])] {
            spool.push(path, parts).unwrap();
        }
        spool.push("a", [b"", b""]).unwrap();
        spool.push("a", [b"", b"two"]).unwrap();
        let sorted = spool.sorted().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it has no name");
        let first: Vec<_> = (0..sorted.len()).map(|number| sorted.read(number).unwrap()[1].clone()).collect();
        assert_eq!(first, [&b"two"[..], b"", b"x"]);
        assert_eq!(sorted.find("b").unwrap().unwrap(), [&b"one"[..], b""]);
        assert_eq!(sorted.find("c").unwrap().unwrap()[0], large);
        assert!(sorted.find("d").unwrap().is_none());
    }
}
