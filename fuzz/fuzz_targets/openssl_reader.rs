//! Arbitrary bytes as a file of `openssl enc`, read in pieces of any size: never a panic, and the pieces do not matter.

#![no_main]

use std::num::NonZeroU32;
use std::sync::LazyLock;

use erpgo_dr_core::crypto::openssl_enc::{
    HEADER_LEN, OpensslDigest, OpensslKdf, UnauthenticatedReader, detect, parse_header,
};
use libfuzzer_sys::fuzz_target;
use secrecy::SecretString;

static PASSPHRASE: LazyLock<SecretString> = LazyLock::new(|| "seed".to_owned().into());

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, stored) = input;
    let header = parse_header(stored);
    let kdf = cheap(piece);
    let whole = read(stored, stored.len(), kdf);
    assert_eq!(whole, read(stored, usize::from(piece) + 1, kdf), "the pieces matter");
    if let Some(plain) = &whole {
        assert!(header.is_ok() && plain.len() < stored.len() - HEADER_LEN && stored.len() % 16 == 0);
    }
    let known = |plain: &[u8]| plain.starts_with(b"PGDMP");
    if let Ok(found) = detect(stored, &PASSPHRASE, &[kdf], known) {
        assert_eq!(found, kdf);
    }
});

fn cheap(choice: u8) -> OpensslKdf {
    match choice % 3 {
        0 => OpensslKdf::EvpBytesToKey(OpensslDigest::Sha256),
        1 => OpensslKdf::EvpBytesToKey(OpensslDigest::Md5),
        _ => OpensslKdf::Pbkdf2 { iterations: NonZeroU32::MIN },
    }
}

fn read(stored: &[u8], piece: usize, kdf: OpensslKdf) -> Option<Vec<u8>> {
    let mut reader = UnauthenticatedReader::new(PASSPHRASE.clone(), kdf);
    let mut plain = Vec::new();
    for bytes in stored.chunks(piece.max(1)) {
        reader.update(bytes, &mut plain).ok()?;
    }
    reader.finish(&mut plain).ok()?;
    Some(plain)
}
