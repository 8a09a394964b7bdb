//! Reads and writes `openssl enc -aes-256-cbc`, which is **unauthenticated: it cannot detect tampering**.
//!
//! A changed, reordered or cut file may decrypt to wrong bytes without an error. Only the padding at its
//! end is checked, and one wrong end in 256 passes for padding. It is here for files that exist: those of
//! older scripts, and those that are to be opened by hand with the `openssl` program. What is in them must
//! be checked by other means, such as gzip's checksum, which detects accidents, and no attacker.
//!
//! A file is `Salted__`, 8 bytes of salt, and AES-256-CBC with PKCS#7 padding. The file does not say how its
//! key is derived: [`OpensslKdf`] does, and [`detect`] finds out.

mod kdf;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use secrecy::SecretString;

use super::CryptoError;
use kdf::KeyAndIv;

pub use kdf::{DEFAULT_ITERATIONS, OpensslDigest, OpensslKdf};
pub use reader::UnauthenticatedReader;
pub use writer::UnauthenticatedWriter;

/// The first bytes of every file.
pub const MAGIC: &[u8; 8] = b"Salted__";

/// Bytes before the ciphertext: magic and salt.
pub const HEADER_LEN: usize = 16;

const BLOCK: usize = 16;

/// Reads the header and returns the salt.
///
/// # Errors
/// [`CryptoError::OpensslNotSalted`].
pub fn parse_header(bytes: &[u8]) -> Result<[u8; 8], CryptoError> {
    let salt = bytes.strip_prefix(MAGIC).and_then(<[u8]>::first_chunk);
    salt.copied().ok_or(CryptoError::OpensslNotSalted)
}

/// Finds the derivation whose plaintext begins in a way that `recognise` knows.
///
/// `first_bytes` is the beginning of a file, header included; some hundred bytes are plenty. `recognise`
/// gets whole blocks of what may be plaintext, and must be strict: for a wrong derivation it sees random
/// bytes, and what it takes for known is believed. The candidates are tried in order.
///
/// # Errors
/// [`CryptoError::OpensslNotSalted`]; [`CryptoError::OpensslTruncated`] when there is not even one block;
/// [`CryptoError::OpensslNoCandidate`].
pub fn detect(
    first_bytes: &[u8],
    passphrase: &SecretString,
    candidates: &[OpensslKdf],
    recognise: impl Fn(&[u8]) -> bool,
) -> Result<OpensslKdf, CryptoError> {
    let salt = parse_header(first_bytes)?;
    let ciphertext = &first_bytes[HEADER_LEN..];
    if ciphertext.len() < BLOCK {
        return Err(CryptoError::OpensslTruncated { length: ciphertext.len() as u64 });
    }
    let whole = &ciphertext[..ciphertext.len() / BLOCK * BLOCK];
    let opens = |kdf: &&OpensslKdf| {
        let mut plaintext = zeroize::Zeroizing::new(whole.to_vec());
        KeyAndIv::derive(passphrase, salt, **kdf).decryptor().decrypt_in_place(&mut plaintext);
        recognise(&plaintext)
    };
    candidates.iter().find(opens).copied().ok_or_else(|| CryptoError::OpensslNoCandidate {
        tried: candidates.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    })
}
