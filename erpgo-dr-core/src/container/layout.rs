//! How long things are: the arithmetic of segments and frames, and the bounds that the format sets.

use std::sync::LazyLock;

use super::{ContainerError, ContainerOptions, ObjectIdentity};
use crate::crypto::{Aes256CbcHmac, CipherAlgorithm, Encryptor};

/// Most segments that are sealed or opened in one call: what fills the lanes of the cipher.
const BATCH_SEGMENTS: usize = 64;
/// Most plaintext bytes of such a batch.
const BATCH_BYTES: usize = 4 << 20;

/// The encryptor looks at the CPU when it is made: once is enough.
static AES_256_CBC_HMAC: LazyLock<Aes256CbcHmac> = LazyLock::new(Aes256CbcHmac::new);

pub(super) const BODY: u8 = 0;
pub(super) const INDEX: u8 = 1;

pub(super) fn is_frame_len(bytes: usize) -> bool {
    (4 << 10..=1 << 20).contains(&bytes)
}

pub(super) fn is_segment_len(bytes: usize) -> bool {
    (1 << 10..=1 << 20).contains(&bytes) && bytes.is_multiple_of(16)
}

pub(super) fn encryptor(algorithm: CipherAlgorithm) -> &'static dyn Encryptor {
    match algorithm {
        CipherAlgorithm::Aes256CbcHmacSha256 => &*AES_256_CBC_HMAC,
    }
}

/// Checks what the caller chose before any of it reaches a header.
pub(super) fn check(identity: &ObjectIdentity, options: &ContainerOptions) -> Result<(), ContainerError> {
    let invalid = |option, value: usize| ContainerError::InvalidOption { option, value: value as u64 };
    if !is_frame_len(options.frame_len) {
        return Err(invalid("frame_len", options.frame_len));
    }
    if !is_segment_len(options.segment_len) {
        return Err(invalid("segment_len", options.segment_len));
    }
    if identity.name.len() > 255 {
        return Err(invalid("name length", identity.name.len()));
    }
    options.codec.check_available().map_err(|source| ContainerError::Codec { object: identity.to_string(), source })
}

/// The lengths of one object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) frame_len: usize,
    pub(super) segment_len: usize,
    cipher: CipherAlgorithm,
}

impl Layout {
    pub(super) fn new(cipher: CipherAlgorithm, frame_len: usize, segment_len: usize) -> Self {
        Self { frame_len, segment_len, cipher }
    }

    /// Returns how many segments are sealed or opened together.
    pub(super) fn batch_segments(&self) -> usize {
        (BATCH_BYTES / self.segment_len).clamp(1, BATCH_SEGMENTS)
    }

    /// Returns the stored bytes of a segment of `plaintext_len` bytes.
    pub(super) fn sealed_len(&self, plaintext_len: usize) -> usize {
        encryptor(self.cipher).sealed_len(plaintext_len)
    }

    /// Returns the stored bytes of a full segment.
    pub(super) fn full_segment(&self) -> usize {
        self.sealed_len(self.segment_len)
    }

    /// Returns in how many segments a layer of `plaintext_len` bytes lies: an empty one in one.
    pub(super) fn segments(&self, plaintext_len: u64) -> u64 {
        plaintext_len.div_ceil(self.segment_len as u64).max(1)
    }

    /// Returns the stored bytes of a layer of `plaintext_len` bytes; `None` beyond what a `u64` holds.
    pub(super) fn layer_len(&self, plaintext_len: u64) -> Option<u64> {
        let full = self.segments(plaintext_len) - 1;
        let last = plaintext_len - full * self.segment_len as u64;
        full.checked_mul(self.full_segment() as u64)?.checked_add(self.sealed_len(last as usize) as u64)
    }
}
