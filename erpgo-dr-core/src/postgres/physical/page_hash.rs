//! Keyed hashes of pages: by them a later backup knows what has changed, without the pages that it compares with.

use bytes::{BufMut as _, Bytes, BytesMut};
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64_with_secret;

use super::checksum::PAGE;

/// Bytes of a page's hash.
pub const PAGE_HASH: usize = 8;
/// Bytes of the secret that XXH3 mixes into every step: its own default has as many.
const SECRET: usize = 192;
const CONTEXT: &str = "erpgo-dr 2026-11 page hashes";

/// Hashes pages with a key: XXH3 with 64 bits, whose secret is derived from it.
///
/// The key keeps who can write to a database from making pages that look unchanged. Pages are blocks of 8,192 bytes of any file;
/// the last block of a file may be shorter.
#[derive(Clone)]
pub struct PageHasher {
    secret: [u8; SECRET],
}

impl PageHasher {
    /// Hashes with this key.
    pub fn new(key: &[u8; 32]) -> Self {
        let mut secret = [0; SECRET];
        blake3::Hasher::new_derive_key(CONTEXT).update(key).finalize_xof().fill(&mut secret);
        Self { secret }
    }

    /// Hashes a page.
    pub fn hash(&self, page: &[u8]) -> [u8; PAGE_HASH] {
        xxh3_64_with_secret(page, &self.secret).to_be_bytes()
    }

    /// Hashes each page of a whole file.
    pub fn hash_file(&self, contents: &[u8]) -> Bytes {
        let mut hashes = BytesMut::with_capacity(hash_bytes(contents.len() as u64));
        contents.chunks(PAGE).for_each(|page| hashes.put_slice(&self.hash(page)));
        hashes.freeze()
    }
}

impl std::fmt::Debug for PageHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageHasher").finish_non_exhaustive()
    }
}

/// Returns how many bytes the hashes of a file of `size` bytes have.
pub fn hash_bytes(size: u64) -> usize {
    size.div_ceil(PAGE as u64) as usize * PAGE_HASH
}

/// What an earlier backup has of a file.
#[derive(Debug, Clone, Default)]
pub struct KnownPages {
    /// Bytes of the file.
    pub size: u64,
    /// The hash of each of its pages.
    pub hashes: Bytes,
    /// Pages that are handed on again, whatever they are like. Counted from the beginning of the file.
    pub renewed: RoaringBitmap,
}

impl KnownPages {
    /// Returns whether a page of this number, length and hash is there already.
    pub(super) fn has(&self, page: u32, length: usize, hash: &[u8; PAGE_HASH]) -> bool {
        let at = page as usize * PAGE_HASH;
        let known = (self.size.saturating_sub(u64::from(page) * PAGE as u64)).min(PAGE as u64);
        known == length as u64 && self.hashes.get(at..at + PAGE_HASH) == Some(hash) && !self.renewed.contains(page)
    }

    /// Returns the hashes of pages.
    pub(super) fn of(&self, pages: std::ops::Range<u32>) -> &[u8] {
        &self.hashes[pages.start as usize * PAGE_HASH..pages.end as usize * PAGE_HASH]
    }
}

/// How a file is read.
#[derive(Debug, Clone, Default)]
pub struct ReadPlan {
    /// What an earlier backup has of it.
    pub known: Option<KnownPages>,
    /// Pages that may have changed since, if that is known. Counted from the beginning of the file.
    pub changed: Option<RoaringBitmap>,
    /// Whether pages beside those are read too, and compared.
    pub compare_all: bool,
}

impl ReadPlan {
    /// Returns where the pages end that begin with `page` and are taken over unread; `page` itself when it is to be read.
    pub(super) fn unread_until(&self, page: u32, pages: u32) -> u32 {
        let (Some(known), Some(changed), false) = (&self.known, &self.changed, self.compare_all) else { return page };
        // A page that was short then has grown since.
        let whole = (known.size / PAGE as u64) as u32;
        let next = |set: &RoaringBitmap| set.range(page..).next().unwrap_or(u32::MAX);
        next(changed).min(next(&known.renewed)).min(whole).min(pages).max(page)
    }

    /// Returns whether nothing announced that this page has changed, though something was to.
    pub(super) fn is_unannounced(&self, page: u32) -> bool {
        let announced = |set: &RoaringBitmap| set.contains(page);
        self.changed.as_ref().is_some_and(|changed| !announced(changed))
            && self
                .known
                .as_ref()
                .is_some_and(|known| page < (known.size / PAGE as u64) as u32 && !announced(&known.renewed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_and_every_byte_count() {
        let (hasher, other) = (PageHasher::new(&[1; 32]), PageHasher::new(&[2; 32]));
        let mut page = [7; PAGE];
        let hash = hasher.hash(&page);
        assert_ne!(hash, other.hash(&page));
        for at in 0..PAGE {
            page[at] ^= 1;
            assert_ne!(hasher.hash(&page), hash, "{at}");
            page[at] ^= 1;
        }
        assert_eq!(hasher.hash(&page), hash);
        assert_ne!(hasher.hash(&page[..PAGE - 1]), hash);
        let twice = hasher.hash_file(&[[7; PAGE], [7; PAGE]].concat());
        assert_eq!(twice, [hash, hash].concat());
        assert_eq!((hash_bytes(0), hash_bytes(1), hash_bytes(8192), hash_bytes(8193)), (0, 8, 8, 16));
        assert!(!format!("{hasher:?}").contains('1'));
    }

    #[test]
    fn what_may_have_changed_is_read_and_the_rest_is_not() {
        let hashes = Bytes::from(vec![0; 10 * PAGE_HASH]);
        let known = KnownPages { size: 9 * PAGE as u64 + 5, hashes, renewed: RoaringBitmap::from([6]) };
        let changed = Some(RoaringBitmap::from([2, 3]));
        let plan = ReadPlan { known: Some(known), changed, compare_all: false };
        let ends: Vec<u32> = (0..12).map(|page| plan.unread_until(page, 12)).collect();
        assert_eq!(ends, [2, 2, 2, 3, 6, 6, 6, 9, 9, 9, 10, 11], "the last page was not whole");
        assert_eq!(plan.unread_until(4, 5), 5, "the file has shrunk");
        let all = ReadPlan { compare_all: true, ..plan.clone() };
        assert!((0..12).all(|page| all.unread_until(page, 12) == page));
        assert!(all.is_unannounced(1) && !all.is_unannounced(2) && !all.is_unannounced(6) && !all.is_unannounced(9));
        let unknown = ReadPlan { changed: None, ..plan };
        assert!((0..12).all(|page| unknown.unread_until(page, 12) == page && !unknown.is_unannounced(page)));
    }
}
