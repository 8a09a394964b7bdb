//! A file whose contents arrive in order, and cannot be read again.

use bytes::{BufMut as _, Bytes, BytesMut};
use roaring::RoaringBitmap;

use super::super::checksum::{PAGE, PageVerdict, check_page};
use super::super::page_hash::{KnownPages, PageHasher};
use super::super::reader::{DamagedBlock, FileOutcome, Piece};
use crate::types::Lsn;

/// Bytes of zeros that are handed on at once.
const ZEROS: Bytes = Bytes::from_static(&[0; 32 * PAGE]);

/// Hashes and checks the pages of a file, and keeps back those that an earlier backup has.
#[derive(Debug)]
pub(crate) struct ReceivedFile<'a> {
    hasher: &'a PageHasher,
    known: Option<&'a KnownPages>,
    /// The number of the file's first page in its relation, and where replay begins, if pages carry checksums.
    checks: Option<(u32, Lsn)>,
    /// Pages that have been dealt with.
    pages: u32,
    hashes: BytesMut,
    outcome: FileOutcome,
}

impl<'a> ReceivedFile<'a> {
    pub(crate) fn new(hasher: &'a PageHasher, known: Option<&'a KnownPages>, checks: Option<(u32, Lsn)>) -> Self {
        Self { hasher, known, checks, pages: 0, hashes: BytesMut::new(), outcome: FileOutcome::default() }
    }

    /// Takes the next pages, of which only the last one of the file may be short. Returns `false` when `forward` does.
    pub(crate) fn take(&mut self, mut contents: Bytes, forward: &mut dyn FnMut(Piece) -> bool) -> bool {
        self.outcome.read += contents.len() as u64;
        let mut runs: Vec<(bool, usize)> = Vec::new();
        for page in contents.chunks(PAGE) {
            let known = self.sift(page);
            match runs.last_mut() {
                Some((last, length)) if *last == known => *length += page.len(),
                _ => runs.push((known, page.len())),
            }
        }
        runs.into_iter().all(|(known, length)| {
            let piece = contents.split_to(length);
            self.outcome.changed += if known { 0 } else { length as u64 };
            forward(if known { Piece::Known(length as u64) } else { Piece::Read(piece) })
        })
    }

    /// Goes on to the page of this number with what the earlier backup has, and zeros where it has nothing, or where the page is one of
    /// `changed`: one that does not come although it has changed was cut off, and nobody wrote to it since. Returns `false` when `forward`
    /// does.
    pub(crate) fn skip_to(
        &mut self,
        page: u32,
        changed: &RoaringBitmap,
        forward: &mut dyn FnMut(Piece) -> bool,
    ) -> bool {
        // A page that was short then is one of what follows now.
        let whole = self.known.map_or(0, |known| (known.size / PAGE as u64) as u32);
        while self.pages < page {
            let next_changed = changed.range(self.pages..).next().unwrap_or(u32::MAX);
            let until = page.min(whole).min(next_changed);
            let goes_on = match self.known {
                Some(known) if until > self.pages => {
                    self.hashes.put_slice(known.of(self.pages..until));
                    let bytes = u64::from(until - self.pages) * PAGE as u64;
                    self.pages = until;
                    forward(Piece::Known(bytes))
                }
                _ => {
                    let unchanged = if self.pages < whole {
                        (self.pages..whole).find(|page| !changed.contains(*page))
                    } else {
                        None
                    };
                    let until = unchanged.unwrap_or(page).min(page).min(self.pages + (ZEROS.len() / PAGE) as u32);
                    let zeros = ZEROS.slice(..(until - self.pages) as usize * PAGE);
                    zeros.chunks(PAGE).for_each(|page| self.hashes.put_slice(&self.hasher.hash(page)));
                    self.pages = until;
                    forward(Piece::Read(zeros))
                }
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// Returns what was found.
    pub(crate) fn finish(mut self) -> FileOutcome {
        self.outcome.hashes = self.hashes.freeze();
        self.outcome
    }

    /// Returns whether the earlier backup has a page.
    fn sift(&mut self, page: &[u8]) -> bool {
        let hash = self.hasher.hash(page);
        self.hashes.put_slice(&hash);
        let known = self.known.is_some_and(|known| known.has(self.pages, page.len(), &hash));
        if let (false, Some((first, start)), Ok(whole)) = (known, self.checks, page.try_into()) {
            let block = first.wrapping_add(self.pages);
            if check_page(whole, block, start.0) == PageVerdict::Bad {
                self.outcome.damaged.push(DamagedBlock { block });
            }
        }
        self.pages += 1;
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(numbers: &[u8]) -> Vec<u8> {
        numbers.iter().flat_map(|number| [*number; PAGE]).collect()
    }

    fn shown(piece: &Piece) -> String {
        match piece {
            Piece::Known(length) => format!("known {}", length / PAGE as u64),
            Piece::Read(bytes) => format!("{} of {}", bytes.len() / PAGE, bytes[0]),
        }
    }

    #[test]
    fn only_what_has_changed_is_handed_on() {
        let hasher = PageHasher::new(&[5; 32]);
        let before = pages(&[1, 2, 3, 4]);
        let renewed = RoaringBitmap::from([3]);
        let known = KnownPages { size: before.len() as u64, hashes: hasher.hash_file(&before), renewed };
        let mut found = Vec::new();
        let mut file = ReceivedFile::new(&hasher, Some(&known), None);
        let now = pages(&[1, 9, 3, 4, 5]);
        assert!(file.take(now.clone().into(), &mut |piece| {
            found.push(shown(&piece));
            true
        }));
        assert_eq!(found, ["known 1", "1 of 9", "known 1", "2 of 4"].map(str::to_owned));
        assert_eq!(file.finish().hashes, hasher.hash_file(&now));
    }

    #[test]
    fn what_does_not_come_is_as_it_was_or_zeros() {
        let hasher = PageHasher::new(&[5; 32]);
        let before = pages(&[1, 2, 3]);
        let known =
            KnownPages { size: before.len() as u64, hashes: hasher.hash_file(&before), ..KnownPages::default() };
        let mut found = Vec::new();
        let mut forward = |piece: Piece| {
            found.push(shown(&piece));
            true
        };
        let mut file = ReceivedFile::new(&hasher, Some(&known), None);
        let none = RoaringBitmap::new();
        assert!(file.skip_to(1, &none, &mut forward) && file.take(pages(&[8]).into(), &mut forward));
        assert!(file.skip_to(5, &none, &mut forward) && file.take(pages(&[7]).into(), &mut forward));
        assert_eq!(found, ["known 1", "1 of 8", "known 1", "2 of 0", "1 of 7"].map(str::to_owned));
        assert_eq!(file.finish().hashes, hasher.hash_file(&pages(&[1, 8, 3, 0, 0, 7])));
    }

    #[test]
    fn what_was_cut_off_and_does_not_come_again_is_zeros() {
        let hasher = PageHasher::new(&[5; 32]);
        let before = pages(&[1, 2, 3, 4]);
        let known =
            KnownPages { size: before.len() as u64, hashes: hasher.hash_file(&before), ..KnownPages::default() };
        let mut found = Vec::new();
        let mut forward = |piece: Piece| {
            found.push(shown(&piece));
            true
        };
        // Cut to one page, and grown again to four, of which one was written to; the third is as it was by chance only.
        let changed = RoaringBitmap::from_iter([1, 3]);
        let mut file = ReceivedFile::new(&hasher, Some(&known), None);
        assert!(file.skip_to(4, &changed, &mut forward));
        assert_eq!(found, ["known 1", "1 of 0", "known 1", "1 of 0"].map(str::to_owned));
        assert_eq!(file.finish().hashes, hasher.hash_file(&pages(&[1, 0, 3, 0])));
    }
}
