//! Encrypts a stream as it arrives.

use std::fmt;

use secrecy::SecretString;

use super::kdf::{CbcEncryptor, KeyAndIv};
use super::{BLOCK, MAGIC, OpensslKdf};

/// Writes what `openssl enc -d -aes-256-cbc` reads, **which nobody can check for tampering**.
///
/// Bytes go in by [`update`](Self::update) in pieces of any size; [`finish`](Self::finish) writes the padding,
/// without which the file is cut. It keeps less than one block.
pub struct UnauthenticatedWriter {
    cipher: CbcEncryptor,
    /// The header, until it is written.
    salt: Option<[u8; 8]>,
    held: Vec<u8>,
}

impl UnauthenticatedWriter {
    /// Creates a writer with a salt from the operating system's generator.
    pub fn new(passphrase: &SecretString, kdf: OpensslKdf) -> Self {
        Self::with_salt(passphrase, kdf, rand::random())
    }

    pub(super) fn with_salt(passphrase: &SecretString, kdf: OpensslKdf, salt: [u8; 8]) -> Self {
        let cipher = KeyAndIv::derive(passphrase, salt, kdf).encryptor();
        Self { cipher, salt: Some(salt), held: Vec::with_capacity(BLOCK) }
    }

    /// Takes the next bytes of plaintext and appends to `out` the blocks that they complete.
    pub fn update(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.write_header(out);
        let ready = (self.held.len() + input.len()) / BLOCK * BLOCK;
        if ready == 0 {
            self.held.extend_from_slice(input);
            return;
        }
        let start = out.len();
        let (now, later) = input.split_at(ready - self.held.len());
        out.reserve(ready);
        out.extend_from_slice(&self.held);
        out.extend_from_slice(now);
        self.cipher.encrypt_in_place(&mut out[start..]);
        self.held.clear();
        self.held.extend_from_slice(later);
    }

    /// Ends the file: appends to `out` the last block, with its padding.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.write_header(out);
        let padding = BLOCK - self.held.len();
        let mut block = [padding as u8; BLOCK];
        block[..self.held.len()].copy_from_slice(&self.held);
        self.cipher.encrypt_in_place(&mut block);
        out.extend_from_slice(&block);
    }

    fn write_header(&mut self, out: &mut Vec<u8>) {
        if let Some(salt) = self.salt.take() {
            out.extend_from_slice(MAGIC);
            out.extend_from_slice(&salt);
        }
    }
}

impl Drop for UnauthenticatedWriter {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.held);
    }
}

impl fmt::Debug for UnauthenticatedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnauthenticatedWriter(redacted)")
    }
}
