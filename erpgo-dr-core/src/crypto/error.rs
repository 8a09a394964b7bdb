//! What can go wrong with keys and ciphertext.

/// A failure to authenticate, decrypt, wrap or unwrap.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// A segment's MAC does not match: it was altered, or belongs to another object.
    #[error("segment {number} is not authentic: it was altered, or comes from another object")]
    SegmentNotAuthentic {
        /// Its number.
        number: u64,
    },
    /// A segment stands where another should.
    #[error("segment {found} stands where segment {expected} should: the object was reordered or cut")]
    SegmentOutOfOrder {
        /// The number that was due.
        expected: u64,
        /// The number that was there.
        found: u64,
    },
    /// A segment's length does not fit the object.
    #[error("segment {number} is malformed: its length does not fit the object")]
    SegmentMalformed {
        /// Its number.
        number: u64,
    },
}
