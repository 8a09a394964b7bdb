//! An arbitrary header under a good tag: every field that a reader computes with is hostile.

#![no_main]

use erpgo_dr_core::container::{ObjectIdentity, ObjectKind};
use erpgo_dr_core::crypto::{Aes256CbcHmac, Encryptor, EpochKey, ObjectBinding};
use erpgo_dr_fuzz::{OneKey, read_all_ways};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

const KEY: [u8; 32] = [7; 32];

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (mut header, rest) = input;
    if header.len() < 82 {
        return;
    }
    header[..10].copy_from_slice(b"ERPGODR\x01\x01\0");
    let name = str::from_utf8(&header[82..]).unwrap_or_default();
    let kind = ObjectKind::from_code(header[12]).unwrap_or(ObjectKind::File);
    let expected = ObjectIdentity::new(kind, name);
    let salt = header[24..56].try_into().expect("32 bytes");
    let binding = ObjectBinding { salt, context: Sha256::digest(&header).into() };
    let cipher = Aes256CbcHmac::new().for_object(&EpochKey::from_bytes(KEY), &binding);
    let tag = cipher.tag(b"header", &header);
    let stored = [&header[..], &tag, &rest].concat();
    assert!(read_all_ways(&stored, 100, &expected, &OneKey(KEY)).is_none(), "the rest cannot be authentic");
});
