//! Scanning a dump as it streams past, by the length of its rows. pg_dump writes each row as a piece of its own.

// `criterion_group!` makes a public function without a line of documentation.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use erpgo_dr_core::postgres::archive::{ArchiveContents, ArchiveScanner};

/// A real dump, of which one table's rows are replaced.
const DUMP: &[u8] = include_bytes!("../../erpgo-dr-core/tests/vectors/pg/postgres-17.dump");
const BYTES: usize = 64 << 20;
/// About what a pipe gives at a time.
const PIECE: usize = 64 << 10;

fn scan(archive: &[u8]) -> ArchiveContents {
    let mut scanner = ArchiveScanner::new();
    for piece in archive.chunks(PIECE) {
        scanner.update(piece).expect("a sound archive");
    }
    scanner.finish().expect("a whole archive")
}

/// Makes an archive of `BYTES` bytes, nearly all of them rows of `length` bytes with their line end.
fn archive(length: usize) -> Vec<u8> {
    let contents = scan(DUMP);
    let table = contents.tables.iter().find(|table| table.name == "items").expect("the table of the dump");
    let (begin, end) = (table.offset as usize, (table.offset + table.length) as usize);
    // A block begins with its type and the number of its entry.
    let mut archive = DUMP[..begin + 6].to_vec();
    for number in 0u64.. {
        if archive.len() >= BYTES {
            break;
        }
        let row = format!("{number:0width$}\n", width = length - 1);
        append(&mut archive, &row.as_bytes()[row.len() - length..]);
    }
    append(&mut archive, b"\\.\n\n\n");
    append(&mut archive, b"");
    archive.extend_from_slice(&DUMP[end..]);
    archive
}

fn append(archive: &mut Vec<u8>, piece: &[u8]) {
    let length = u32::try_from(piece.len()).expect("a short piece");
    archive.push(0);
    archive.extend_from_slice(&length.to_le_bytes());
    archive.extend_from_slice(piece);
}

fn archive_scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("archive_scan");
    group.sample_size(20);
    for length in [10, 30, 100, 300, 1000, 10_000] {
        let archive = archive(length);
        group.throughput(Throughput::Bytes(archive.len() as u64));
        group.bench_function(BenchmarkId::new("row bytes", length), |bencher| {
            bencher.iter(|| scan(black_box(&archive)));
        });
    }
    group.finish();
}

criterion_group!(benches, archive_scan);
criterion_main!(benches);
