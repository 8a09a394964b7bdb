//! The last bytes of a container, by which a reader finds the index and knows that nothing is missing.

use subtle::ConstantTimeEq as _;

use super::ContainerError;
use super::header::TAG_LEN;
use super::subject::Subject;
use crate::crypto::SegmentCipher;

/// Bytes of a trailer, its tag included.
pub(super) const TRAILER_LEN: usize = BARE_LEN + TAG_LEN;

const BARE_LEN: usize = 48;
const MAGIC: [u8; 8] = *b"ERPGOEND";

/// What an object amounts to, as its writer saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Where the index begins, in bytes from the start of the object.
    pub(super) index_offset: u64,
    /// Stored bytes of the index.
    pub(super) index_len: u64,
    pub(super) body_segments: u32,
    pub(super) index_segments: u32,
    pub(super) frames: u64,
    pub(super) plaintext_len: u64,
}

impl Trailer {
    pub(super) fn seal(&self, cipher: &dyn SegmentCipher) -> Vec<u8> {
        let mut out = Vec::with_capacity(TRAILER_LEN);
        out.extend_from_slice(&self.index_offset.to_le_bytes());
        out.extend_from_slice(&self.index_len.to_le_bytes());
        out.extend_from_slice(&self.body_segments.to_le_bytes());
        out.extend_from_slice(&self.index_segments.to_le_bytes());
        out.extend_from_slice(&self.frames.to_le_bytes());
        out.extend_from_slice(&self.plaintext_len.to_le_bytes());
        out.extend_from_slice(&MAGIC);
        let tag = cipher.tag(b"trailer", &out);
        out.extend_from_slice(&tag);
        out
    }

    pub(super) fn open(
        subject: &Subject,
        stored: &[u8; TRAILER_LEN],
        cipher: &dyn SegmentCipher,
    ) -> Result<Self, ContainerError> {
        let (bare, tag) = stored.split_at(BARE_LEN);
        if !bool::from(cipher.tag(b"trailer", bare).ct_eq(tag)) {
            return Err(subject.not_authentic("trailer"));
        }
        let long = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bare[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let (segments, magic) = (long(16), long(40));
        if magic != u64::from_le_bytes(MAGIC) {
            return Err(subject.malformed("trailer"));
        }
        Ok(Self {
            index_offset: long(0),
            index_len: long(8),
            body_segments: segments as u32,
            index_segments: (segments >> 32) as u32,
            frames: long(24),
            plaintext_len: long(32),
        })
    }
}
