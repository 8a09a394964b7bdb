//! Seals and opens the segments of an object, and wraps the keys that do it.
//!
//! Owns ciphers, MACs, key derivation, key slots and the `openssl enc` format. Knows nothing of storage
//! or of what the bytes mean. Nothing here releases a byte before its MAC has been checked; the one
//! exception, [`openssl_enc`], cannot authenticate and says so in its name.

mod aes_cbc_hmac;
mod error;
mod kdf;
mod key;
pub mod keys;
pub mod openssl_enc;
mod record;
mod segment;
#[cfg(feature = "evidence")]
mod signature;

pub use aes_cbc_hmac::Aes256CbcHmac;
pub use error::CryptoError;
pub use key::EpochKey;
pub use record::{record_mac, record_mac_matches};
pub use segment::{SEGMENT_PREFIX, SegmentPrefix, SegmentRun};
#[cfg(feature = "evidence")]
pub use signature::{PublicKey, PublicKeyError, SigningKey};

use std::fmt;

/// The number by which a container's header names its cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CipherAlgorithm {
    /// AES-256-CBC with PKCS#7 padding, then HMAC-SHA-256 (encrypt-then-MAC), segment by segment.
    Aes256CbcHmacSha256,
}

impl CipherAlgorithm {
    /// Returns the number in the header.
    pub fn code(self) -> u8 {
        match self {
            Self::Aes256CbcHmacSha256 => 1,
        }
    }

    /// Returns the algorithm of a header's number, if it is known.
    pub fn from_code(code: u8) -> Option<Self> {
        (code == 1).then_some(Self::Aes256CbcHmacSha256)
    }
}

/// What the keys and MACs of one object are bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectBinding {
    /// 32 random bytes, drawn for each object and stored in its header.
    pub salt: [u8; 32],
    /// SHA-256 of the object's header, which holds its kind, name and epoch.
    pub context: [u8; 32],
}

/// Makes the cipher of one object from an epoch key. Object-safe; one value serves a whole process.
pub trait Encryptor: Send + Sync + fmt::Debug {
    /// Returns which algorithm this is.
    fn algorithm(&self) -> CipherAlgorithm;

    /// Returns the stored size of a segment of `plaintext_len` bytes, prefix and tag included.
    fn sealed_len(&self, plaintext_len: usize) -> usize;

    /// Derives the keys of one object.
    fn for_object(&self, key: &EpochKey, object: &ObjectBinding) -> Box<dyn SegmentCipher>;
}

/// Seals and opens runs of segments of one object. Pure CPU work: call it on a compute pool.
pub trait SegmentCipher: Send + Sync + fmt::Debug {
    /// Appends to `out` the stored form of `plaintext`, cut into segments of `run.segment_len`.
    ///
    /// Only the last segment may be shorter, and only where `run.last` is set. An empty plaintext with
    /// `run.last` is one empty segment.
    ///
    /// # Panics
    /// When `plaintext` does not fit the run as described: that is a bug of the caller.
    fn seal(&self, run: SegmentRun, plaintext: &[u8], out: &mut Vec<u8>);

    /// Appends to `out` the plaintext of the stored segments in `sealed`, after checking every one.
    ///
    /// On an error `out` is as it was.
    ///
    /// # Errors
    /// [`CryptoError::SegmentOutOfOrder`], [`CryptoError::SegmentNotAuthentic`], [`CryptoError::SegmentMalformed`].
    fn open(&self, run: SegmentRun, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError>;

    /// Returns the HMAC-SHA-256 of `data` under the object's metadata key and a `domain` of its own.
    fn tag(&self, domain: &[u8], data: &[u8]) -> [u8; 32];
}
