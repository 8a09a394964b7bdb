//! Arbitrary bytes as a frame: never more than was promised comes out, and nothing on an error.

#![no_main]

use erpgo_dr_core::codec::Codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u32, &[u8])| {
    let (code, plain_len, stored) = input;
    let codec = Codec::from_code(code % 3).expect("built in");
    let plain_len = plain_len as usize % (1 << 20);
    let mut out = b"before".to_vec();
    match codec.decompress(stored, plain_len, &mut out) {
        Ok(()) => assert_eq!(out.len(), 6 + plain_len),
        Err(_) => assert_eq!(out, b"before"),
    }
});
