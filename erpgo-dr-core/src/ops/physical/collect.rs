//! Turns what is read of files into packs and a map, in the order of the listing.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::ops::Result;
use crate::progress::PhaseGuard;
use crate::repository::{Extent, FileKind, FileMapWriter, FileRecord, PackWriter, StoredObject, push_extent};

/// Receives the contents of files in any order, and writes their records in order of their numbers.
pub(super) struct Collector<'a> {
    packs: &'a mut PackWriter,
    map: FileMapWriter,
    phase: &'a PhaseGuard<'a>,
    /// Files that have begun and not ended.
    open: BTreeMap<usize, Vec<Extent>>,
    /// Records that wait for those before them; `None` for files that vanished.
    waiting: BTreeMap<usize, Option<FileRecord>>,
    next: usize,
    files: u64,
    bytes: u64,
}

/// What was collected.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) map: StoredObject,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl<'a> Collector<'a> {
    pub(super) fn new(packs: &'a mut PackWriter, map: FileMapWriter, phase: &'a PhaseGuard<'a>) -> Self {
        let (open, waiting) = (BTreeMap::new(), BTreeMap::new());
        Self { packs, map, phase, open, waiting, next: 0, files: 0, bytes: 0 }
    }

    /// Takes the next bytes of the file of this number.
    pub(super) async fn chunk(&mut self, number: usize, chunk: Bytes) -> Result<()> {
        self.phase.advance(chunk.len() as u64);
        let extent = match chunk.iter().all(|byte| *byte == 0) {
            true => Extent::Zeros { length: chunk.len() as u64 },
            false => self.packs.append(chunk).await?,
        };
        push_extent(self.open.entry(number).or_default(), extent);
        Ok(())
    }

    /// Ends the file of this number; `None` when it had vanished.
    pub(super) async fn end(&mut self, number: usize, record: Option<FileRecord>) -> Result<()> {
        let contents = self.open.remove(&number).unwrap_or_default();
        let record = record.map(|mut record| {
            if let FileKind::File { extents, .. } = &mut record.kind {
                *extents = contents;
                self.files += 1;
                self.bytes += record.size();
            }
            record
        });
        self.waiting.insert(number, record);
        while let Some(record) = self.waiting.remove(&self.next) {
            if let Some(record) = record {
                self.map.push(&record).await?;
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Takes a whole file that comes after all others.
    pub(super) async fn whole(&mut self, record: FileRecord, contents: Bytes) -> Result<()> {
        let number = self.next;
        let mut rest = contents;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(CHUNK));
            self.chunk(number, piece).await?;
        }
        self.end(number, Some(record)).await
    }

    /// Ends the map.
    pub(super) async fn finish(self) -> Result<Collected> {
        debug_assert!(self.open.is_empty() && self.waiting.is_empty());
        let map = self.map.finish().await?;
        Ok(Collected { map, files: self.files, bytes: self.bytes })
    }
}

/// Bytes in which files are read.
pub(super) const CHUNK: usize = 256 << 10;
