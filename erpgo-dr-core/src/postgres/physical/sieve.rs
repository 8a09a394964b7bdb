//! Reads one file, and keeps back the pages that an earlier backup has.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::checksum::{PAGE, PageVerdict, check_page, page_lsn};
use super::page_hash::{PageHasher, ReadPlan, hash_bytes};
use super::reader::{DamagedBlock, FileOutcome, Piece};
use crate::types::Lsn;

/// Pages that are read at once.
const CHUNK_PAGES: u32 = 32;
/// Damaged pages of one file after which a page is taken for damaged without a pause: a file of rubbish is no write in progress.
const PATIENCE: usize = 64;
/// How often a page is read again whose checksum is wrong. A write of one page takes microseconds.
const REREADS: usize = 5;
const PAUSE: Duration = Duration::from_millis(2);

/// A file that is being read.
pub(super) struct Sieve<'a> {
    file: &'a File,
    size: u64,
    pages: u32,
    plan: &'a ReadPlan,
    hasher: &'a PageHasher,
    /// The number of its first page in its relation.
    first_block: u32,
    /// Where replay begins.
    start: Lsn,
    /// Whether the pages carry checksums.
    has_checksums: bool,
    hashes: BytesMut,
    outcome: FileOutcome,
}

impl<'a> Sieve<'a> {
    pub(super) fn new(
        file: &'a File,
        size: u64,
        plan: &'a ReadPlan,
        hasher: &'a PageHasher,
        first_block: u32,
        (start, has_checksums): (Lsn, bool),
    ) -> Self {
        // A file of a cluster has a gigabyte, and anything else that lies there fewer than 2^32 pages.
        let pages = u32::try_from(size.div_ceil(PAGE as u64)).unwrap_or(u32::MAX);
        let hashes = BytesMut::with_capacity(hash_bytes(size));
        let outcome = FileOutcome::default();
        Self { file, size, pages, plan, hasher, first_block, start, has_checksums, hashes, outcome }
    }

    /// Reads the file to its end, or until `forward` returns `false`.
    pub(super) fn run(mut self, forward: &mut dyn FnMut(Piece) -> bool) -> io::Result<FileOutcome> {
        let mut page = 0;
        while page < self.pages {
            let unread = self.plan.unread_until(page, self.pages);
            let goes_on = match unread > page {
                true => self.take_over(page..unread, forward),
                false => self.read(page, forward)?,
            };
            page = match unread > page {
                true => unread,
                false => self.chunk_end(page),
            };
            if !goes_on {
                break;
            }
        }
        self.outcome.hashes = self.hashes.freeze();
        Ok(self.outcome)
    }

    fn take_over(&mut self, pages: std::ops::Range<u32>, forward: &mut dyn FnMut(Piece) -> bool) -> bool {
        let bytes = self.offset(pages.end) - self.offset(pages.start);
        if let Some(known) = &self.plan.known {
            self.hashes.put_slice(known.of(pages));
        }
        forward(Piece::Known(bytes))
    }

    /// Returns where a page begins; for the page behind the last one, where the file ends.
    fn offset(&self, page: u32) -> u64 {
        (u64::from(page) * PAGE as u64).min(self.size)
    }

    /// Returns where the pages end that are read together with `page`.
    fn chunk_end(&self, page: u32) -> u32 {
        let most = page.saturating_add(CHUNK_PAGES).min(self.pages);
        (page + 1..most).find(|next| self.plan.unread_until(*next, self.pages) > *next).unwrap_or(most)
    }

    /// Reads the pages from `page` on that belong together. Returns `false` where nothing more is to be read.
    fn read(&mut self, page: u32, forward: &mut dyn FnMut(Piece) -> bool) -> io::Result<bool> {
        let at = self.offset(page);
        let wanted = (self.offset(self.chunk_end(page)) - at) as usize;
        let mut chunk = BytesMut::zeroed(wanted);
        let found = read_up_to(self.file, &mut chunk, at)?;
        chunk.truncate(found);
        self.outcome.read += found as u64;
        let mut runs: Vec<(bool, usize)> = Vec::new();
        for (number, contents) in chunk.chunks_mut(PAGE).enumerate() {
            let known = self.sift(page + number as u32, contents)?;
            match runs.last_mut() {
                Some((last, length)) if *last == known => *length += contents.len(),
                _ => runs.push((known, contents.len())),
            }
        }
        let mut rest = chunk.freeze();
        for (known, length) in runs {
            let contents: Bytes = rest.split_to(length);
            self.outcome.changed += if known { 0 } else { length as u64 };
            if !forward(if known { Piece::Known(length as u64) } else { Piece::Read(contents) }) {
                return Ok(false);
            }
        }
        Ok(found == wanted)
    }

    /// Hashes and checks a page; reads it again into its place where it was read while it was written. Returns whether the
    /// earlier backup has it.
    fn sift(&mut self, page: u32, contents: &mut [u8]) -> io::Result<bool> {
        let has = |hash| self.plan.known.as_ref().is_some_and(|known| known.has(page, contents.len(), hash));
        let mut hash = self.hasher.hash(contents);
        let mut known = has(&hash);
        // One that is known was checked when it became so.
        if !known
            && self.has_checksums
            && let Some(whole) = contents.first_chunk_mut::<PAGE>()
        {
            let block = self.first_block.wrapping_add(page);
            if check_page(whole, block, self.start.0) == PageVerdict::Bad {
                if self.is_damaged(whole, u64::from(page) * PAGE as u64, block)? {
                    self.outcome.damaged.push(DamagedBlock { block });
                }
                hash = self.hasher.hash(whole);
                known = self.plan.known.as_ref().is_some_and(|known| known.has(page, PAGE, &hash));
            }
        }
        if !known && self.plan.is_unannounced(page) && !self.is_replayed(page)? {
            self.outcome.unannounced.push(DamagedBlock { block: self.first_block.wrapping_add(page) });
        }
        self.hashes.put_slice(&hash);
        Ok(known)
    }

    /// Returns whether a page was changed by what is replayed: only now, and not before the backup began. It is read again, because
    /// what was read while it was written may have its end without its beginning.
    fn is_replayed(&self, page: u32) -> io::Result<bool> {
        let mut begin = [0; 8];
        let read = read_up_to(self.file, &mut begin, u64::from(page) * PAGE as u64)?;
        Ok(read < begin.len() || page_lsn(&begin) >= self.start.0)
    }

    /// Reads a page again until it is good, or has stayed the same: then it is what lies on the disk.
    fn is_damaged(&self, page: &mut [u8; PAGE], at: u64, block: u32) -> io::Result<bool> {
        for _ in 0..REREADS {
            if self.outcome.damaged.len() < PATIENCE {
                std::thread::sleep(PAUSE);
            }
            let mut again = [0; PAGE];
            if read_up_to(self.file, &mut again, at)? < PAGE {
                // Cut off meanwhile: replay does the same.
                return Ok(false);
            }
            let same = again == *page;
            *page = again;
            if check_page(page, block, self.start.0) != PageVerdict::Bad {
                return Ok(false);
            }
            if same {
                return Ok(true);
            }
        }
        // Written over and over: every change is in the WAL, with a whole image of the page.
        Ok(false)
    }
}

/// Fills `buffer` from `at` on as far as the file goes; returns how far that was.
pub(crate) fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
