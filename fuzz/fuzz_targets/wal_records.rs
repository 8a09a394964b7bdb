//! Arbitrary bytes as the write-ahead log: never a panic, and how they are cut into pieces does not matter.
//!
//! Checksums are put right first where the bytes look like records, so that what comes behind them is reached.

#![no_main]

use std::ops::ControlFlow;

use erpgo_dr_core::postgres::physical::WalSummarizer;
use erpgo_dr_core::postgres::wal::SegmentHeader;
use erpgo_dr_core::postgres::wal::records::{LogPlace, RecordReader, TransactionEnd};
use libfuzzer_sys::fuzz_target;

const MOST: usize = 1 << 20;

fuzz_target!(|input: (u16, u32, &[u8])| {
    let (piece, start, log) = input;
    let mut log = log[..log.len().min(MOST)].to_vec();
    seal(&mut log);
    let Ok(header) = SegmentHeader::parse("it", &log) else { return };
    let Ok(place) = LogPlace::new(&header, header.timeline) else { return };
    let start = header.start.0.saturating_add(u64::from(start) % log.len() as u64);
    let start = start - start % 8;
    let whole = read(place, header.start.0, start, &log, log.len());
    let pieces = read(place, header.start.0, start, &log, usize::from(piece) + 1);
    assert_eq!(whole, pieces, "the pieces matter");
    let sought = RecordReader::seek(place, header.start).feed(&log, &mut |record| {
        let _ = TransactionEnd::of(record);
        ControlFlow::Continue(())
    });
    let _ = sought;
});

/// What was read, as text, and how it ended.
fn read(place: LogPlace, begin: u64, start: u64, log: &[u8], piece: usize) -> (Vec<String>, String) {
    let mut reader = RecordReader::new(place, erpgo_dr_core::types::Lsn(start));
    let mut summarizer = WalSummarizer::new(erpgo_dr_core::types::TimelineId::FIRST);
    let mut found = Vec::new();
    let from = usize::try_from(reader.position().0.saturating_sub(begin)).unwrap_or(usize::MAX);
    for piece in log.get(from..).unwrap_or_default().chunks(piece) {
        let outcome = reader.feed(piece, &mut |record| {
            found.push(format!("{record:?} {:?}", summarizer.add(record)));
            ControlFlow::Continue(())
        });
        if let Err(fault) = outcome {
            return (found, fault.to_string());
        }
    }
    (found, format!("{:?}", summarizer.finish().len()))
}

/// Puts the checksums right of what looks like records that lie on one page each.
fn seal(log: &mut [u8]) {
    let mut page = 0;
    while page + 8192 <= log.len() {
        let mut at = page + if log[page + 2] & 2 != 0 { 40 } else { 24 };
        while at + 24 <= page + 8192 {
            let length = u32::from_le_bytes([log[at], log[at + 1], log[at + 2], log[at + 3]]) as usize;
            if length < 24 || at + length > page + 8192 {
                break;
            }
            let sum = crc32c::crc32c_append(crc32c::crc32c(&log[at + 24..at + length]), &log[at..at + 20]);
            log[at + 20..at + 24].copy_from_slice(&sum.to_le_bytes());
            at += length.next_multiple_of(8);
        }
        page += 8192;
    }
}
