//! The same protection by other means, in this process: one stream of CBC and HMAC, and AES-GCM for reference.

use aes::Aes256;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey};
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const KEY: [u8; 32] = [7; 32];
const IV: [u8; 16] = [9; 16];

/// Encrypts `buffer` (whole blocks) by the `cbc` crate, then MACs it by the `hmac` crate; returns its bytes.
pub fn naive_seal(buffer: &mut [u8]) -> usize {
    let len = buffer.len();
    let done = cbc::Encryptor::<Aes256>::new(&KEY.into(), &IV.into()).encrypt_padded::<NoPadding>(buffer, len);
    done.expect("the buffer is whole blocks");
    std::hint::black_box(naive_mac(buffer));
    len
}

/// MACs `buffer`, then decrypts it in place; returns its bytes.
pub fn naive_open(buffer: &mut [u8]) -> usize {
    std::hint::black_box(naive_mac(buffer));
    let done = cbc::Decryptor::<Aes256>::new(&KEY.into(), &IV.into()).decrypt_padded::<NoPadding>(buffer);
    done.expect("the buffer is whole blocks").len()
}

fn naive_mac(buffer: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&KEY).expect("HMAC takes a key of any length");
    mac.update(buffer);
    mac.finalize().into_bytes().into()
}

/// Encrypts `buffer` (whole blocks) by AWS-LC's EVP AES-256-CBC, then MACs it by its HMAC; returns its bytes.
pub fn evp_seal(buffer: &mut [u8]) -> usize {
    let key = UnboundCipherKey::new(&cipher::AES_256, &KEY).expect("the key is 32 bytes");
    let key = EncryptingKey::cbc(key).expect("AES-256 has a CBC mode");
    key.less_safe_encrypt(buffer, EncryptionContext::Iv128((&IV).into())).expect("the buffer is whole blocks");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &KEY);
    std::hint::black_box(aws_lc_rs::hmac::sign(&key, buffer));
    buffer.len()
}

/// MACs `buffer` (whole blocks) by AWS-LC's HMAC, then decrypts it by its EVP AES-256-CBC; returns its bytes.
pub fn evp_open(buffer: &mut [u8]) -> usize {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &KEY);
    std::hint::black_box(aws_lc_rs::hmac::sign(&key, buffer));
    let key = UnboundCipherKey::new(&cipher::AES_256, &KEY).expect("the key is 32 bytes");
    let key = DecryptingKey::cbc(key).expect("AES-256 has a CBC mode");
    let done = key.decrypt(buffer, DecryptionContext::Iv128((&IV).into()));
    done.expect("the buffer is whole blocks").len()
}

/// Encrypts `buffer` by AWS-LC's AES-256-GCM; returns its bytes.
pub fn gcm_seal(buffer: &mut [u8]) -> usize {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).expect("the key is 32 bytes"));
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), buffer).expect("less than 64 GiB");
    let _ = std::hint::black_box(tag);
    buffer.len()
}
