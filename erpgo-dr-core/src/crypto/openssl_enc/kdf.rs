//! How `openssl enc` makes a key and an IV of a passphrase.

use std::fmt;
use std::num::NonZeroU32;

use aes::Aes256;
use aes::cipher::array::Array;
use aes::cipher::{Block, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The iterations of `openssl enc -pbkdf2` without `-iter`.
pub const DEFAULT_ITERATIONS: NonZeroU32 = NonZeroU32::new(10_000).expect("it is not zero");

/// The digest under `EVP_BytesToKey`: `-md` of `openssl enc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpensslDigest {
    /// The default since OpenSSL 1.1.0.
    Sha256,
    /// The default before OpenSSL 1.1.0.
    Md5,
}

/// How a file's key and IV come from the passphrase. The file does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpensslKdf {
    /// `EVP_BytesToKey` with a single round: no work at all for who guesses passphrases.
    EvpBytesToKey(OpensslDigest),
    /// PBKDF2 with HMAC-SHA-256: `-pbkdf2 [-iter N]`.
    Pbkdf2 {
        /// The number of rounds.
        iterations: NonZeroU32,
    },
}

impl OpensslKdf {
    /// Returns the derivations of `openssl enc` without `-iter`, and that with `iterations` if given, in the
    /// order in which files are likely to have them.
    pub fn candidates(iterations: Option<NonZeroU32>) -> Vec<Self> {
        let mut candidates = vec![
            Self::EvpBytesToKey(OpensslDigest::Sha256),
            Self::EvpBytesToKey(OpensslDigest::Md5),
            Self::Pbkdf2 { iterations: DEFAULT_ITERATIONS },
        ];
        let chosen = iterations.map(|iterations| Self::Pbkdf2 { iterations });
        candidates.extend(chosen.filter(|kdf| !candidates.contains(kdf)));
        candidates
    }
}

impl fmt::Display for OpensslKdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EvpBytesToKey(OpensslDigest::Sha256) => f.write_str("EVP_BytesToKey with SHA-256"),
            Self::EvpBytesToKey(OpensslDigest::Md5) => f.write_str("EVP_BytesToKey with MD5"),
            Self::Pbkdf2 { iterations } => write!(f, "PBKDF2 with {iterations} iterations"),
        }
    }
}

/// 32 bytes of key, then 16 of IV.
pub(super) struct KeyAndIv(Zeroizing<[u8; 48]>);

impl KeyAndIv {
    pub(super) fn derive(passphrase: &SecretString, salt: [u8; 8], kdf: OpensslKdf) -> Self {
        let passphrase = passphrase.expose_secret().as_bytes();
        let mut bytes = Zeroizing::new([0; 48]);
        match kdf {
            OpensslKdf::EvpBytesToKey(OpensslDigest::Sha256) => {
                evp_bytes_to_key::<Sha256>(passphrase, salt, &mut bytes);
            }
            OpensslKdf::EvpBytesToKey(OpensslDigest::Md5) => {
                evp_bytes_to_key::<md5::Md5>(passphrase, salt, &mut bytes);
            }
            OpensslKdf::Pbkdf2 { iterations } => {
                pbkdf2::pbkdf2_hmac::<Sha256>(passphrase, &salt, iterations.get(), bytes.as_mut_slice());
            }
        }
        Self(bytes)
    }

    pub(super) fn decryptor(&self) -> CbcDecryptor {
        let (key, iv) = self.parts();
        CbcDecryptor(cbc::Decryptor::new(&key.into(), &iv.into()))
    }

    pub(super) fn encryptor(&self) -> CbcEncryptor {
        let (key, iv) = self.parts();
        CbcEncryptor(cbc::Encryptor::new(&key.into(), &iv.into()))
    }

    fn parts(&self) -> ([u8; 32], [u8; 16]) {
        (std::array::from_fn(|i| self.0[i]), std::array::from_fn(|i| self.0[32 + i]))
    }
}

/// EVP_BytesToKey(3) with a count of 1: each digest is over the one before, the passphrase and the salt.
fn evp_bytes_to_key<D: Digest>(passphrase: &[u8], salt: [u8; 8], bytes: &mut [u8; 48]) {
    let mut previous = Zeroizing::new(Vec::new());
    for piece in bytes.chunks_mut(<D as Digest>::output_size()) {
        let digest = D::new().chain_update(&*previous).chain_update(passphrase).chain_update(salt).finalize();
        previous = Zeroizing::new(digest.to_vec());
        piece.copy_from_slice(&previous[..piece.len()]);
    }
}

pub(super) struct CbcDecryptor(cbc::Decryptor<Aes256>);

impl CbcDecryptor {
    /// Decrypts whole blocks; a rest at the end stays as it is.
    pub(super) fn decrypt_in_place(&mut self, bytes: &mut [u8]) {
        let (blocks, _) = Block::<Aes256>::slice_as_chunks_mut(bytes);
        self.0.decrypt_blocks(blocks);
    }
}

pub(super) struct CbcEncryptor(cbc::Encryptor<Aes256>);

impl CbcEncryptor {
    /// Encrypts whole blocks; a rest at the end stays as it is.
    pub(super) fn encrypt_in_place(&mut self, bytes: &mut [u8]) {
        let (blocks, _) = Array::slice_as_chunks_mut(bytes);
        self.0.encrypt_blocks(blocks);
    }
}
