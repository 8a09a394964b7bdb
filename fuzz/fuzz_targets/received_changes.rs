//! Arbitrary bytes as the beginning of a file of which a server sends the changes: never a panic, blocks in order, and how they are cut into pieces does
//! not matter.

#![no_main]

use erpgo_dr_core::postgres::physical::fuzzing::changes;
use libfuzzer_sys::fuzz_target;

const MAGIC: u32 = 0xd3ae_1f0d;

fuzz_target!(|input: (u16, bool, &[u8])| {
    let (piece, is_sealed, bytes) = input;
    let mut bytes = bytes.to_vec();
    if is_sealed && let Some(begin) = bytes.first_chunk_mut() {
        *begin = MAGIC.to_ne_bytes();
    }
    let whole = changes(&bytes, bytes.len());
    assert_eq!(changes(&bytes, usize::from(piece) + 1), whole, "the pieces matter");
    if let Ok(Some((blocks, length, rest))) = whole {
        assert!(blocks.is_sorted_by(|one, next| one < next) && blocks.last().is_none_or(|last| *last < length));
        assert!(rest + 12 + blocks.len() * 4 <= bytes.len());
    }
});
