//! What can go wrong with keys and ciphertext.

use crate::types::EpochId;

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
    /// Text that is not the name of a key slot.
    #[error("not a slot name (expected 1 to 64 of a-z, 0-9 and '-'): {0:?}")]
    SlotName(String),
    /// Text that is not a recipient.
    #[error("not a recipient, in line {line}: {reason} (expected age1..., ssh-ed25519 ... or ssh-rsa ...)")]
    RecipientInvalid {
        /// The line of the text, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A list without a single recipient.
    #[error("no recipient to wrap the key for")]
    NoRecipients,
    /// An identity file that cannot be used.
    #[error("the identity file cannot be used: {reason}")]
    IdentityInvalid {
        /// What is wrong with it. Says nothing of its contents.
        reason: &'static str,
    },
    /// An identity file is encrypted, and no passphrase was given for it.
    #[error("the identity file is encrypted with a passphrase, and none was given")]
    IdentityNeedsPassphrase,
    /// A passphrase does not open what it should.
    ///
    /// A damaged salt looks the same: the format has nothing that tells them apart.
    #[error("the passphrase does not open this key slot or identity")]
    WrongPassphrase,
    /// Nothing that was given opens a slot.
    #[error("none of the identities given opens this key slot")]
    NoMatchingIdentity,
    /// A slot asks for more work than is accepted from a file that is not yet authenticated.
    #[error("the key slot asks for scrypt work factor {required}; at most {limit} is accepted")]
    WorkFactorTooHigh {
        /// Base-2 logarithm of the work it asks for.
        required: u8,
        /// Base-2 logarithm of the work that is accepted.
        limit: u8,
    },
    /// A slot's bytes are damaged, or no slot at all.
    #[error("the key slot is damaged: {reason}")]
    SlotCorrupt {
        /// What does not fit.
        reason: &'static str,
    },
    /// A slot holds the key of another epoch: its file was moved or renamed.
    #[error("the key slot belongs to epoch {found}, not to {expected}: it was moved")]
    WrongSlot {
        /// The epoch it was opened for.
        expected: EpochId,
        /// The epoch whose key it holds.
        found: EpochId,
    },
    /// An external command could not be started or talked to.
    #[error("cannot run the key command {program:?}")]
    CommandNotRun {
        /// The program.
        program: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// An external command ended with a failure.
    #[error("the key command {program:?} failed ({status}): {stderr}")]
    CommandFailed {
        /// The program.
        program: String,
        /// Its exit status or signal, as text.
        status: String,
        /// The beginning of what it said, without control characters and long runs of hexadecimal digits.
        stderr: String,
    },
    /// An external command did not end in time and was killed.
    #[error("the key command {program:?} did not end within {} s and was killed", timeout.as_secs_f32())]
    CommandTimedOut {
        /// The program.
        program: String,
        /// The time it had.
        timeout: std::time::Duration,
    },
    /// An external command ended well, and what it wrote cannot be a wrapped key.
    #[error("the key command {program:?} gave no wrapped key: {reason}")]
    CommandOutput {
        /// The program.
        program: String,
        /// What is wrong with its output.
        reason: &'static str,
    },
    /// A passphrase or recipient list could not be used to wrap.
    #[error("the key could not be wrapped: {reason}")]
    WrapFailed {
        /// What went wrong.
        reason: &'static str,
    },
    /// Bytes that do not begin as `openssl enc -salt` writes them.
    #[error("not a file of openssl enc: it does not begin with \"Salted__\" and a salt")]
    OpensslNotSalted,
    /// A file of `openssl enc` whose length no such file can have: it was cut.
    #[error("the openssl file was cut: {length} bytes of ciphertext are not a whole number of blocks")]
    OpensslTruncated {
        /// Bytes behind its header.
        length: u64,
    },
    /// The end of a file of `openssl enc` is no padding: wrong passphrase or key derivation, damaged, or cut.
    #[error("the openssl file does not end in padding: wrong passphrase or key derivation, damaged, or cut")]
    OpensslBadPadding,
    /// No key derivation that was tried gives a known beginning.
    #[error("the openssl file opens with none of {tried}: wrong passphrase, or another derivation or iteration count")]
    OpensslNoCandidate {
        /// The derivations that were tried, as text.
        tried: String,
    },
}
