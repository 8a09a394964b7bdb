//! Turns what is read of files into packs and a map, in the order of the listing.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::ops::Result;
use crate::postgres::physical::{PageHasher, hash_bytes};
use crate::progress::PhaseGuard;
use crate::repository::{
    Extent, FileKind, FileMapWriter, FileRecord, PackWriter, PageHashWriter, StoredObject, push_extent,
};

/// Receives the contents of files in any order, and writes their records in order of their numbers.
pub(super) struct Collector<'a> {
    packs: &'a mut PackWriter,
    map: FileMapWriter,
    hashes: PageHashWriter,
    hasher: PageHasher,
    phase: &'a PhaseGuard<'a>,
    /// Files that have begun and not ended.
    open: BTreeMap<usize, Vec<Extent>>,
    /// Records that wait for those before them; `None` for files that vanished.
    waiting: BTreeMap<usize, Option<(FileRecord, Bytes)>>,
    next: usize,
    files: u64,
    bytes: u64,
    /// Bytes of each pack that the map points to.
    live: Vec<u64>,
}

/// What was collected.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) map: StoredObject,
    pub(super) hashes: StoredObject,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Bytes of each pack that the map points to; packs at the end may be missing.
    pub(super) live: Vec<u64>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        packs: &'a mut PackWriter,
        (map, hashes): (FileMapWriter, PageHashWriter),
        hasher: PageHasher,
        phase: &'a PhaseGuard<'a>,
    ) -> Self {
        let (open, waiting) = (BTreeMap::new(), BTreeMap::new());
        Self { packs, map, hashes, hasher, phase, open, waiting, next: 0, files: 0, bytes: 0, live: Vec::new() }
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

    /// Takes the next bytes of the file of this number over from an earlier backup.
    pub(super) fn known(&mut self, number: usize, extents: Vec<Extent>) {
        let open = self.open.entry(number).or_default();
        for extent in extents {
            self.phase.advance(extent.length());
            push_extent(open, extent);
        }
    }

    /// Ends the file of this number, whose pages have these hashes; `None` when it had vanished.
    pub(super) async fn end(&mut self, number: usize, record: Option<FileRecord>, hashes: Bytes) -> Result<()> {
        let contents = self.open.remove(&number).unwrap_or_default();
        let record = record.map(|mut record| {
            if let FileKind::File { extents, .. } = &mut record.kind {
                count_live(&mut self.live, &contents);
                *extents = contents;
                self.files += 1;
                self.bytes += record.size();
            }
            (record, hashes)
        });
        self.waiting.insert(number, record);
        while let Some(record) = self.waiting.remove(&self.next) {
            if let Some((record, hashes)) = record {
                debug_assert_eq!(hashes.len(), hash_bytes(record.size()));
                self.map.push(&record).await?;
                self.hashes.push(&hashes).await?;
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Takes a whole file that comes after all others.
    pub(super) async fn whole(&mut self, record: FileRecord, contents: Bytes) -> Result<()> {
        let number = self.next;
        let hashes = self.hasher.hash_file(&contents);
        let mut rest = contents;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(CHUNK));
            self.chunk(number, piece).await?;
        }
        self.end(number, Some(record), hashes).await
    }

    /// Ends the map.
    pub(super) async fn finish(self) -> Result<Collected> {
        debug_assert!(self.open.is_empty() && self.waiting.is_empty());
        let (map, hashes) = (self.map.finish().await?, self.hashes.finish().await?);
        Ok(Collected { map, hashes, files: self.files, bytes: self.bytes, live: self.live })
    }
}

fn count_live(live: &mut Vec<u64>, extents: &[Extent]) {
    for extent in extents {
        if let Extent::Stored { pack, length, .. } = *extent {
            let number = pack as usize;
            if live.len() <= number {
                live.resize(number + 1, 0);
            }
            live[number] += u64::from(length);
        }
    }
}

/// Bytes in which files are read.
pub(super) const CHUNK: usize = 256 << 10;
