//! Logs as servers write them, whole and damaged.

use std::ops::ControlFlow;

use super::testing::{BEGIN, Log, block, own, words};
use super::*;
use crate::types::Lsn;

type Found = (Lsn, u8, u8, Vec<BlockReference>, Vec<u8>);

/// Reads bytes of a log in pieces of this size, from its first record on, and returns what was found before a fault; to come to the
/// end of what was written is none.
fn read(log: &Log, bytes: &[u8], piece: usize) -> (Vec<Found>, Option<RecordFault>) {
    let start = *log.begins.first().unwrap();
    let mut reader = RecordReader::new(log.place, start);
    let mut found = Vec::new();
    let mut whole = bytes.to_vec();
    whole.resize(bytes.len().next_multiple_of(8192), 0);
    for piece in whole.chunks(piece) {
        let outcome = reader.feed(piece, &mut |record| {
            found.push((record.at, record.manager, record.info, record.blocks.to_vec(), record.data.to_vec()));
            ControlFlow::Continue(())
        });
        match outcome {
            Ok(_) => {}
            Err(RecordFault::End { at }) if at == log.end() => return (found, None),
            Err(fault) => return (found, Some(fault)),
        }
    }
    (found, None)
}

/// A log of three segments, with records of every length.
fn long_log() -> Log {
    let mut log = Log::new(15);
    let mut length = 1;
    while log.bytes.len() < (2 << 20) + 100_000 {
        let data = vec![length as u8; length % 40_000];
        let references = [block(0, [1663, 5, length as u32], 3), block(2, [1664, 0, 1260], 4)].concat();
        log.push(10, 0x20, &[references, own(&data)].concat());
        length = length * 5 / 4 + 7;
    }
    log.push(10, 0x20, &own(&vec![1; 700_000]));
    log
}

#[test]
fn records_come_whole_however_the_bytes_come() {
    let log = long_log();
    let (whole, fault) = read(&log, &log.bytes, usize::MAX);
    assert_eq!(fault, None);
    assert_eq!(whole.iter().map(|found| found.0).collect::<Vec<_>>(), log.begins);
    assert_eq!(whole.last().unwrap().4.len(), 700_000);
    assert_eq!(whole[0].3[1].relation, RelationFork { tablespace: 1664, database: 0, number: 1260, fork: 0 });
    for piece in [1, 100, 8191, 8192, 100_000] {
        assert_eq!(read(&log, &log.bytes, piece).0, whole, "{piece}");
    }
    // What was never written ends the log, wherever that is.
    let mut cut = log.bytes[..8192 * 40].to_vec();
    cut.extend([0; 8192]);
    let (found, fault) = read(&log, &cut, 8192);
    assert!(whole.starts_with(&found) && found.len() < whole.len());
    assert_eq!(fault, Some(RecordFault::Page { at: Lsn(BEGIN + 8192 * 40), field: "xlp_magic" }));
}

#[test]
fn a_reader_stops_where_it_is_told_to() {
    let log = long_log();
    let middle = log.begins[log.begins.len() / 2];
    let mut reader = RecordReader::new(log.place, log.begins[3]);
    let begin = (reader.position().0 - BEGIN) as usize;
    let mut found = Vec::new();
    let outcome = reader.feed(&log.bytes[begin..], &mut |record| {
        found.push(record.at);
        if record.at == middle { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(outcome, Ok(ControlFlow::Break(())));
    assert_eq!(found, log.begins[3..=log.begins.len() / 2]);
}

#[test]
fn the_first_record_behind_a_page_is_found() {
    let log = long_log();
    for page in (0..log.bytes.len()).step_by(8192 * 7).chain([1 << 20, 2 << 20]) {
        let mut reader = RecordReader::seek(log.place, Lsn(BEGIN + page as u64));
        let mut found = Vec::new();
        let mut bytes = log.bytes[page..].to_vec();
        bytes.resize(bytes.len().next_multiple_of(8192), 0);
        let _ = reader.feed(&bytes, &mut |record| {
            found.push(record.at);
            ControlFlow::Continue(())
        });
        let expected: Vec<Lsn> = log.begins.iter().copied().filter(|at| at.0 >= BEGIN + page as u64).collect();
        assert_eq!(found, expected, "{page}");
    }
}

#[test]
fn a_log_ends_where_positions_do() {
    let mut log = Log::new(15);
    log.push(10, 0, &own(&[1; 9000]));
    let last = u64::MAX - 8191;
    log.bytes[8..16].copy_from_slice(&last.to_le_bytes());
    let outcome = RecordReader::seek(log.place, Lsn(last)).feed(&log.bytes[..8192], &mut |_| ControlFlow::Continue(()));
    assert!(matches!(outcome, Err(RecordFault::Page { .. })), "{outcome:?}");
}

#[test]
fn what_was_damaged_is_never_taken_for_the_log() {
    let log = long_log();
    let (whole, _) = read(&log, &log.bytes, usize::MAX);
    let mut bytes = log.bytes.clone();
    for at in (0..bytes.len()).step_by(4999) {
        bytes[at] ^= 0x10;
        let (found, fault) = read(&log, &bytes, usize::MAX);
        // Bytes between records count for nothing.
        assert!(whole.starts_with(&found) && (fault.is_some() || found.len() == whole.len()), "{at}: {fault:?}");
        bytes[at] ^= 0x10;
    }
    // A page that is missing, one that comes twice, and one of before.
    let pages: Vec<&[u8]> = bytes.chunks(8192).collect();
    for odd in
        [[&pages[..40], &pages[41..]].concat(), [&pages[..40], &pages[39..]].concat(), vec![pages[0], pages[129]]]
    {
        let (found, fault) = read(&log, &odd.concat(), usize::MAX);
        assert!(whole.starts_with(&found) && found.len() < whole.len());
        assert!(matches!(fault, Some(RecordFault::Page { field: "xlp_pageaddr", .. })), "{fault:?}");
    }
    for start in [log.begins[5].0 + 8, log.begins[5].0 + 1, BEGIN + (1 << 20), BEGIN + 8] {
        let mut reader = RecordReader::new(log.place, Lsn(start));
        let begin = (reader.position().0 - BEGIN) as usize;
        let outcome = reader.feed(&bytes[begin..], &mut |_| ControlFlow::Continue(()));
        assert!(outcome.is_err(), "{start}: {outcome:?}");
    }
}

#[test]
fn a_record_that_follows_another_one_is_refused() {
    let mut log = Log::new(15);
    log.push(10, 0, &own(&[1]));
    log.push(10, 0, &own(&[2]));
    log.previous = log.begins[0].0;
    let at = log.push(10, 0, &own(&[3]));
    let (found, fault) = read(&log, &[&log.bytes[..], &[0; 8192]].concat()[..8192], usize::MAX);
    assert_eq!(found.len(), 2);
    assert_eq!(fault, Some(RecordFault::Record { at, reason: "it does not follow the one before it" }));
}

#[test]
fn pages_say_of_which_log_they_are() {
    let log = long_log();
    for (at, field) in [
        (8192, "xlp_magic"),
        (8194, "xlp_info"),
        (8196, "xlp_tli"),
        (8200, "xlp_pageaddr"),
        ((1 << 20) + 24, "xlp_sysid"),
        ((1 << 20) + 34, "xlp_seg_size"),
        ((1 << 20) + 37, "xlp_xlog_blcksz"),
    ] {
        let mut bytes = log.bytes.clone();
        bytes[at] ^= 2;
        let (_, fault) = read(&log, &bytes, usize::MAX);
        assert_eq!(fault, Some(RecordFault::Page { at: Lsn(BEGIN + (at & !8191) as u64), field }));
    }
}

#[test]
fn a_switch_leaves_the_rest_of_its_segment() {
    let mut log = Log::new(17);
    log.push(10, 0, &own(&[1]));
    log.push(0, 0x40, &[]);
    log.leave_segment();
    log.push(10, 0, &own(&[2]));
    for piece in [1000, 8192, usize::MAX] {
        let (found, fault) = read(&log, &log.bytes, piece);
        assert_eq!((found.len(), fault), (3, None));
        assert_eq!(found[2].0, Lsn(BEGIN + (1 << 20) + 40));
    }
}

#[test]
fn a_record_that_a_crash_cut_off_is_passed_over() {
    let cut = |names: u64| {
        let mut log = Log::new(15);
        log.push(10, 0, &own(&[1]));
        let cut = log.push_some(10, 0, &own(&vec![7; 50_000]), 3);
        // The server begins the next page with a note on it.
        log.page(8, 0);
        log.push(0, 0xD0, &own(&[(cut.0 + names).to_le_bytes(), [0; 8]].concat()));
        log.push(10, 0, &own(&[2]));
        let (found, fault) = read(&log, &log.bytes, usize::MAX);
        (found.iter().map(|found| found.1).collect::<Vec<_>>(), fault)
    };
    assert_eq!(cut(0), (vec![10, 0, 10], None));
    let (found, fault) = cut(8);
    assert_eq!(found, [10]);
    assert!(matches!(fault, Some(RecordFault::Record { .. })), "{fault:?}");
}

#[test]
fn images_are_told_by_the_flags_of_their_version() {
    // 100 bytes with a hole, compressed: only then the length of the hole follows.
    let image = |info: u8| [&words(&[100 | 50 << 16])[..], &[info]].concat();
    let body = |info: u8, hole: &[u8]| {
        let reference = [&[0, 0x30, 2, 0][..], &image(info), hole, &words(&[1663, 5, 400, 9])].concat();
        let same = [&[1, 0x80 | 2, 0, 0][..], &words(&[11])].concat();
        [&reference[..], &same, &[253, 1, 0, 252, 1, 0, 0, 0, 255, 3], &[8; 100], &[9; 2], b"own"].concat()
    };
    for (major, info, hole) in [
        (14, 0x05, &[][..]),
        (14, 0x07, &[1, 0]),
        (15, 0x03, &[]),
        (15, 0x07, &[1, 0]),
        (16, 0x0B, &[1, 0]),
        (18, 0x13, &[1, 0]),
        (18, 0x06, &[]),
    ] {
        let mut log = Log::new(major);
        log.push(10, 0, &body(info, hole));
        log.bytes.resize(8192, 0);
        let found = read(&log, &log.bytes, 8192).0.remove(0);
        let relation = RelationFork { tablespace: 1663, database: 5, number: 400, fork: 0 };
        assert_eq!(
            found.3,
            [
                BlockReference { relation, block: 9, has_image: true },
                BlockReference { relation: relation.with_fork(2), block: 11, has_image: false }
            ],
            "{major}"
        );
        assert_eq!(found.4, b"own");
    }
}

#[test]
fn parts_that_do_not_add_up_are_refused_whatever_their_checksum() {
    let reference = block(0, [1, 2, 3], 4);
    for body in [
        &[255, 9][..],
        &[254, 1, 0],
        &[254, 255, 255, 255, 255],
        &[100, 0, 0, 0],
        &[0, 0, 1, 0, 5, 5, 5],
        &[0, 0x80, 0, 0, 1, 1, 1, 1, 1],
        &reference[..10],
        &[&reference[..], &reference[..]].concat(),
        &[&own(&[1])[..], &[0]].concat(),
        &[0, 0x20, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4],
    ] {
        let mut log = Log::new(15);
        let at = log.push(10, 0, body);
        log.bytes.resize(8192, 0);
        let (found, fault) = read(&log, &log.bytes, 8192);
        assert!(found.is_empty(), "{body:?}: {found:?}");
        assert!(matches!(fault, Some(RecordFault::Record { at: found, .. }) if found == at), "{body:?}: {fault:?}");
    }
}

#[test]
fn a_commit_tells_when_it_was_and_what_it_removed() {
    let relations = [1663, 5, 400, 1663, 5, 401];
    let time = 839_246_400_000_000_u64.to_le_bytes();
    let rest = words(&[&[0b111, 5, 1663, 2, 11, 12, 2][..], &relations].concat());
    let mut log = Log::new(15);
    log.push(1, 0x80, &own(&[&time[..], &rest].concat()));
    log.push(1, 0x20, &own(&time));
    log.push(1, 0x80 | 0x40, &own(&[&time[..], &words(&[0b100, 1, 1, 2, 3])].concat()));
    log.push(1, 0x80, &own(&[&time[..], &words(&[0b100, 3, 1, 2, 3])].concat()));
    log.push(1, 0x10, &own(&time));
    log.bytes.resize(8192, 0);
    let mut ends = Vec::new();
    let outcome = RecordReader::new(log.place, log.begins[0]).feed(&log.bytes, &mut |record| {
        let end = TransactionEnd::of(record).map(|end| {
            end.map(|end| (end.committed, end.at.unwrap().to_rfc3339(), end.removed().map(|one| one.number).collect()))
        });
        ends.push(end);
        ControlFlow::Continue(())
    });
    assert!(matches!(outcome, Err(RecordFault::End { .. })));
    let at = "2026-08-05T12:00:00+00:00".to_owned();
    let end = |committed, removed: &[u32]| Ok(Some((committed, at.clone(), removed.to_vec())));
    assert_eq!(ends[..3], [end(true, &[400, 401]), end(false, &[]), end(false, &[3])]);
    assert!(ends[3].is_err(), "it names more than it has");
    assert_eq!(ends[4], Ok(None), "a transaction that is prepared goes on");
}
