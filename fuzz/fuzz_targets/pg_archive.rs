//! Arbitrary bytes as pg_dump's custom format: never a panic, and how they are cut into pieces does not matter.

#![no_main]

use erpgo_dr_core::postgres::archive::{ArchiveContents, ArchiveScanner};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, archive) = input;
    let whole = scan(archive, archive.len());
    let pieces = scan(archive, usize::from(piece) + 1);
    assert_eq!(whole.is_some(), pieces.is_some(), "the pieces matter");
    if let (Some(whole), Some(pieces)) = (whole, pieces) {
        assert_eq!(whole.length, archive.len() as u64);
        assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    }
});

fn scan(archive: &[u8], piece: usize) -> Option<ArchiveContents> {
    let mut scanner = ArchiveScanner::with_head_limit(1 << 20);
    for bytes in archive.chunks(piece.max(1)) {
        scanner.update(bytes).ok()?;
    }
    scanner.finish().ok()
}
