//! The shape of a run of stored segments: lengths, prefixes, padding. Nothing here is secret or keyed.

use crate::crypto::{CryptoError, SEGMENT_PREFIX, SegmentPrefix, SegmentRun};

/// Bytes of an AES block.
pub(super) const BLOCK: usize = 16;
/// Bytes of a segment's tag.
pub(super) const TAG: usize = 32;
/// Bytes that a prefix can count: its top bit is the last flag.
const MAX_LENGTH: usize = (1 << 31) - 1;

/// A segment as it is stored, not yet authenticated.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredSegment<'a> {
    pub(super) number: u64,
    pub(super) last: bool,
    pub(super) ciphertext: &'a [u8],
    pub(super) tag: &'a [u8],
}

impl StoredSegment<'_> {
    /// Returns whether a plaintext of `len` bytes may stand in this segment: only the last may be short.
    pub(super) fn fits(&self, len: usize, segment_len: usize) -> bool {
        len == segment_len || (self.last && len < segment_len)
    }
}

/// Returns the stored size of a segment of `plaintext_len` bytes.
pub(super) fn sealed_len(plaintext_len: usize) -> usize {
    SEGMENT_PREFIX + (plaintext_len / BLOCK + 1) * BLOCK + TAG
}

/// Returns how many segments a plaintext of `plaintext_len` bytes makes.
///
/// # Panics
/// When it does not fit the run, as [`crate::crypto::SegmentCipher::seal`] says.
pub(super) fn segment_count(run: SegmentRun, plaintext_len: usize) -> usize {
    let fits = run.segment_len > 0 && run.segment_len <= MAX_LENGTH - BLOCK - TAG;
    assert!(fits, "a segment has between 1 byte and 2 GiB");
    assert!(
        run.last || plaintext_len.is_multiple_of(run.segment_len),
        "only the last segment of a layer may be shorter"
    );
    plaintext_len.div_ceil(run.segment_len).max(usize::from(run.last))
}

/// Returns the stored size of a whole run.
pub(super) fn sealed_run_len(run: SegmentRun, plaintext_len: usize) -> usize {
    let full = plaintext_len / run.segment_len;
    let short = plaintext_len % run.segment_len;
    let has_short = short > 0 || (full == 0 && run.last);
    full * sealed_len(run.segment_len) + if has_short { sealed_len(short) } else { 0 }
}

/// Cuts `sealed` into segments and checks that they are the ones of `run`, whole and in order.
pub(super) fn parse(run: SegmentRun, sealed: &[u8]) -> Result<Vec<StoredSegment<'_>>, CryptoError> {
    let first = u64::from(run.first);
    if run.segment_len == 0 || run.segment_len > MAX_LENGTH - BLOCK - TAG || (run.last && sealed.is_empty()) {
        return Err(CryptoError::SegmentMalformed { number: first });
    }
    let mut segments = Vec::with_capacity(sealed.len() / sealed_len(run.segment_len) + 1);
    let mut rest = sealed;
    for expected in first.. {
        if rest.is_empty() {
            break;
        }
        let (segment, after) = parse_one(run, expected, rest)?;
        segments.push(segment);
        rest = after;
    }
    Ok(segments)
}

fn parse_one(run: SegmentRun, expected: u64, stored: &[u8]) -> Result<(StoredSegment<'_>, &[u8]), CryptoError> {
    let malformed = || CryptoError::SegmentMalformed { number: expected };
    let (prefix, rest) = stored.split_at_checked(SEGMENT_PREFIX).ok_or_else(malformed)?;
    let prefix = SegmentPrefix::decode(prefix)?;
    if u64::from(prefix.number) != expected {
        return Err(CryptoError::SegmentOutOfOrder { expected, found: u64::from(prefix.number) });
    }
    let length = prefix.length as usize;
    let (body, after) = rest.split_at_checked(length).ok_or_else(malformed)?;
    let full = sealed_len(run.segment_len) - SEGMENT_PREFIX;
    let (ciphertext, tag) = body.split_at_checked(length.saturating_sub(TAG)).ok_or_else(malformed)?;
    let whole_blocks = !ciphertext.is_empty() && ciphertext.len().is_multiple_of(BLOCK);
    let right_length = length == full || (prefix.last && length < full);
    // The last flag stands on the last segment of a run that ends its layer, and on no other.
    let right_place = prefix.last == (run.last && after.is_empty());
    if !(whole_blocks && right_length && right_place) {
        return Err(malformed());
    }
    Ok((StoredSegment { number: expected, last: prefix.last, ciphertext, tag }, after))
}

/// Returns how many bytes of PKCS#7 padding `padded` ends with, if it ends with any.
///
/// Its MAC has been checked before, so that its timing tells nobody anything.
pub(super) fn padding_len(padded: &[u8]) -> Option<usize> {
    let fill = *padded.last()?;
    let length = usize::from(fill);
    let padding = padded.len().checked_sub(length).map(|start| &padded[start..])?;
    ((1..=BLOCK).contains(&length) && padding.iter().all(|&byte| byte == fill)).then_some(length)
}
