//! Turns what is read of files into packs and a map, in the order of the listing.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::ops::Result;
use crate::postgres::physical::{PageHasher, hash_bytes};
use crate::progress::PhaseGuard;
use crate::repository::{
    Extent, FileKind, FileMapWriter, FileRecord, JournalWriter, PackWriter, PageHashWriter, StoredObject, push_extent,
};

/// Receives the contents of files in any order, and writes their records in order of their numbers.
pub(super) struct Collector<'a> {
    packs: &'a mut PackWriter,
    map: FileMapWriter,
    hashes: PageHashWriter,
    /// What is stored is noted there as it goes on.
    journal: Option<JournalWriter>,
    hasher: PageHasher,
    phase: &'a PhaseGuard<'a>,
    /// Files that have begun and not ended.
    open: BTreeMap<usize, Vec<Extent>>,
    /// Records that wait for those before them; `None` for files that vanished.
    waiting: BTreeMap<usize, Option<Ended>>,
    next: usize,
    files: u64,
    bytes: u64,
    /// Bytes of each pack that the map points to.
    live: Vec<u64>,
}

/// A file, directory or link that has come to its end.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) record: FileRecord,
    /// The hashes of its pages.
    pub(super) hashes: Bytes,
    /// Whether pages of it are damaged in the cluster: such a file is to be checked again.
    pub(super) is_damaged: bool,
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
        journal: Option<JournalWriter>,
        hasher: PageHasher,
        phase: &'a PhaseGuard<'a>,
    ) -> Self {
        let (open, waiting) = (BTreeMap::new(), BTreeMap::new());
        let (next, files, bytes, live) = (0, 0, 0, Vec::new());
        Self { packs, map, hashes, journal, hasher, phase, open, waiting, next, files, bytes, live }
    }

    /// Takes the next bytes of the file of this number.
    pub(super) async fn chunk(&mut self, number: usize, chunk: Bytes) -> Result<()> {
        self.phase.advance(chunk.len() as u64);
        let extent = store(self.packs, chunk).await?;
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

    /// Ends the file of this number; `None` when it had vanished.
    pub(super) async fn end(&mut self, number: usize, ended: Option<Ended>) -> Result<()> {
        let contents = self.open.remove(&number).unwrap_or_default();
        let ended = ended.map(|mut ended| {
            if let FileKind::File { extents, .. } = &mut ended.record.kind {
                count_live(&mut self.live, &contents);
                *extents = contents;
                self.files += 1;
                self.bytes += ended.record.size();
            }
            ended
        });
        self.waiting.insert(number, ended);
        while let Some(ended) = self.waiting.remove(&self.next) {
            if let Some(Ended { record, hashes, is_damaged }) = ended {
                debug_assert_eq!(hashes.len(), hash_bytes(record.size()));
                self.map.push(&record).await?;
                self.hashes.push(&hashes).await?;
                if let Some(journal) = self.journal.as_mut().filter(|_| !is_damaged) {
                    journal.note(&record, &hashes);
                }
            }
            self.next += 1;
        }
        if let Some(journal) = &mut self.journal {
            journal.write(self.packs).await;
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
        self.end(number, Some(Ended { record, hashes, is_damaged: false })).await
    }

    /// Ends the map.
    pub(super) async fn finish(self) -> Result<Collected> {
        debug_assert!(self.open.is_empty() && self.waiting.is_empty());
        let (map, hashes) = (self.map.finish().await?, self.hashes.finish().await?);
        Ok(Collected { map, hashes, files: self.files, bytes: self.bytes, live: self.live })
    }
}

/// Stores bytes, but for zeros, which are stored nowhere.
pub(super) async fn store(packs: &mut PackWriter, chunk: Bytes) -> Result<Extent> {
    Ok(match chunk.iter().all(|byte| *byte == 0) {
        true => Extent::Zeros { length: chunk.len() as u64 },
        false => packs.append(chunk).await?,
    })
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
