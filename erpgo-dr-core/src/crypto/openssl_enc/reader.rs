//! Decrypts a stream as it arrives.

use std::fmt;

use secrecy::SecretString;

use super::kdf::{CbcDecryptor, KeyAndIv};
use super::{BLOCK, HEADER_LEN, OpensslKdf, parse_header};
use crate::crypto::CryptoError;

/// Decrypts `openssl enc` output, **without any check that it is what was written**.
///
/// Bytes go in by [`update`](Self::update) in pieces of any size; [`finish`](Self::finish) takes the padding
/// off. It keeps less than two blocks.
pub struct UnauthenticatedReader {
    passphrase: SecretString,
    kdf: OpensslKdf,
    cipher: Option<CbcDecryptor>,
    /// What is not yet decrypted: the header until it is whole, then 1 to 16 bytes of ciphertext.
    held: Vec<u8>,
    ciphertext_len: u64,
}

impl UnauthenticatedReader {
    /// Creates a reader for a file from its first byte.
    pub fn new(passphrase: SecretString, kdf: OpensslKdf) -> Self {
        Self { passphrase, kdf, cipher: None, held: Vec::with_capacity(HEADER_LEN), ciphertext_len: 0 }
    }

    /// Takes the next bytes of the file and appends to `out` the plaintext that they complete.
    ///
    /// # Errors
    /// [`CryptoError::OpensslNotSalted`].
    pub fn update(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), CryptoError> {
        if self.cipher.is_none() {
            let taken = input.len().min(HEADER_LEN - self.held.len());
            self.held.extend_from_slice(&input[..taken]);
            input = &input[taken..];
            if self.held.len() < HEADER_LEN {
                return Ok(());
            }
            let salt = parse_header(&self.held)?;
            self.cipher = Some(KeyAndIv::derive(&self.passphrase, salt, self.kdf).decryptor());
            self.held.clear();
        }
        self.ciphertext_len += input.len() as u64;
        // The last block may be the padding, so at least one byte waits until more is seen.
        let total = self.held.len() + input.len();
        let ready = total.saturating_sub(1) / BLOCK * BLOCK;
        if ready == 0 {
            self.held.extend_from_slice(input);
            return Ok(());
        }
        let start = out.len();
        let (now, later) = input.split_at(ready - self.held.len());
        out.reserve(ready);
        out.extend_from_slice(&self.held);
        out.extend_from_slice(now);
        if let Some(cipher) = &mut self.cipher {
            cipher.decrypt_in_place(&mut out[start..]);
        }
        self.held.clear();
        self.held.extend_from_slice(later);
        Ok(())
    }

    /// Ends the file: appends to `out` what is left of the last block without its padding.
    ///
    /// # Errors
    /// [`CryptoError::OpensslNotSalted`] for less than a header, [`CryptoError::OpensslTruncated`],
    /// [`CryptoError::OpensslBadPadding`]. What was given out before is then not to be trusted either.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), CryptoError> {
        let Some(mut cipher) = self.cipher else {
            return Err(CryptoError::OpensslNotSalted);
        };
        let Ok(mut block) = <[u8; BLOCK]>::try_from(self.held) else {
            return Err(CryptoError::OpensslTruncated { length: self.ciphertext_len });
        };
        cipher.decrypt_in_place(&mut block);
        let padding = usize::from(block[BLOCK - 1]);
        let kept = BLOCK.checked_sub(padding).filter(|_| padding > 0).ok_or(CryptoError::OpensslBadPadding)?;
        if block[kept..].iter().any(|&byte| usize::from(byte) != padding) {
            return Err(CryptoError::OpensslBadPadding);
        }
        out.extend_from_slice(&block[..kept]);
        Ok(())
    }
}

impl fmt::Debug for UnauthenticatedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = &self.ciphertext_len;
        f.debug_struct("UnauthenticatedReader").field("kdf", &self.kdf).field("ciphertext_len", bytes).finish()
    }
}
