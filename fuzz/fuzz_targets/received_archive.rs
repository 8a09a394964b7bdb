//! Arbitrary bytes as a tar archive that a server sends: never a panic, never a path that leaves the cluster, and how they are cut into pieces does not
//! matter.
//!
//! Checksums are put right first, so that what comes behind them is reached.

#![no_main]

use erpgo_dr_core::postgres::physical::fuzzing::archive;
use libfuzzer_sys::fuzz_target;

const BLOCK: usize = 512;
const MOST: usize = 1 << 20;

fuzz_target!(|input: (u16, &[u8])| {
    let (piece, bytes) = input;
    let mut bytes = bytes[..bytes.len().min(MOST)].to_vec();
    seal(&mut bytes);
    let whole = archive(&bytes, bytes.len());
    assert_eq!(archive(&bytes, usize::from(piece) + 1), whole, "the pieces matter");
    assert!(!whole.0.iter().any(|entry| entry.contains("path: \"/") || entry.contains("path: \"../")), "{whole:?}");
});

/// Puts the checksums of headers right, as far as the lengths in them lead from one to the next.
fn seal(bytes: &mut [u8]) {
    let mut at = 0;
    while at + BLOCK <= bytes.len() {
        let header = &mut bytes[at..at + BLOCK];
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = str::from_utf8(&header[124..136]).ok().map(|text| text.trim_matches(['\0', ' ']));
        let size = size.and_then(|text| usize::from_str_radix(text, 8).ok()).unwrap_or(0);
        at = at.saturating_add(BLOCK).saturating_add(size).div_ceil(BLOCK).saturating_mul(BLOCK);
    }
}
