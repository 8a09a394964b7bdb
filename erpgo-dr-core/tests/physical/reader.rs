//! Files that are read while a server changes them, and pages that are damaged.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use erpgo_dr_core::postgres::physical::{
    ClusterEntry, ClusterListing, ClusterReader, DamagedBlock, FileOutcome, KnownPages, Piece, ReadPlan, RelationFile,
};
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::MAJORS;

use super::support::*;

const PAGE: u64 = 8192;

fn read(reader: &ClusterReader, entry: &ClusterEntry) -> (Vec<u8>, FileOutcome) {
    let mut contents = Vec::new();
    let outcome = reader
        .read(entry, &ReadPlan::default(), &mut |piece| {
            let Piece::Read(chunk) = piece else { panic!("nothing was known") };
            contents.extend_from_slice(&chunk);
            true
        })
        .unwrap();
    (contents, outcome)
}

/// A table of some pages, on disk; returns its path in the data directory.
fn make_table(server: &PgServer) -> String {
    server.psql("postgres", "CREATE TABLE t AS SELECT n, repeat('x', 500) AS text FROM generate_series(1, 2000) AS n");
    server.psql("postgres", "CHECKPOINT");
    server.psql("postgres", "SELECT pg_relation_filepath('t')")
}

#[tokio::test]
async fn sound_pages_pass_and_each_damaged_one_is_named() {
    for major in MAJORS {
        let server = with_checksums(major);
        server.create_sample("erp", 1);
        let path = make_table(&server);
        let session = begin(&server).await;
        let (listing, reader) = open(&server, &session);
        for entry in &listing.entries {
            let (contents, outcome) = read(&reader, entry);
            assert_eq!((outcome.damaged, outcome.vanished), (vec![], false), "{major}: {}", entry.path);
            if RelationFile::parse(&entry.path).is_some() {
                assert!(contents == fs::read(server.data_dir().join(&*entry.path)).unwrap(), "{}", entry.path);
            }
        }
        let entry = listing.entries.iter().find(|entry| *entry.path == *path).unwrap();
        let file = File::options().read(true).write(true).open(server.data_dir().join(&path)).unwrap();
        // A flipped bit; a page in another's place; rubbish in a page that says that it is new.
        let mut page = [0; PAGE as usize];
        file.read_exact_at(&mut page, PAGE).unwrap();
        file.write_all_at(&page, 50 * PAGE).unwrap();
        page[5000] ^= 1;
        file.write_all_at(&page, PAGE).unwrap();
        let mut rubbish = [0; PAGE as usize];
        rubbish[7000] = 1;
        file.write_all_at(&rubbish, 60 * PAGE).unwrap();
        // New, and changed since the backup began: neither is checked.
        file.write_all_at(&[0; PAGE as usize], 70 * PAGE).unwrap();
        page[..8].fill(0xFF);
        file.write_all_at(&page, 80 * PAGE).unwrap();
        let (contents, outcome) = read(&reader, entry);
        let blocks = [1, 50, 60].map(|block| DamagedBlock { block });
        assert_eq!(outcome.damaged, blocks, "{major}");
        // A damaged page is stored as it is.
        assert!(contents == fs::read(server.data_dir().join(&path)).unwrap());
    }
}

#[tokio::test]
async fn pages_that_are_written_meanwhile_are_not_taken_for_damaged() {
    let server = with_checksums(17);
    let path = make_table(&server);
    let session = begin(&server).await;
    let (listing, reader) = open(&server, &session);
    let entry = listing.entries.iter().find(|entry| *entry.path == *path).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The index-free table is updated in place: the same pages over and over, written by each checkpoint.
            server.psql("postgres", &"UPDATE t SET n = n + 1 WHERE n % 7 = 0; VACUUM t; CHECKPOINT;\n".repeat(30));
            done.store(true, Ordering::SeqCst);
        });
        let mut versions = std::collections::BTreeSet::new();
        while !done.load(Ordering::SeqCst) {
            let (contents, outcome) = read(&reader, entry);
            assert_eq!(outcome.damaged, []);
            versions.insert(erpgo_dr_core::types::ContentHash::of(&contents).to_string());
        }
        assert!(versions.len() > 1, "nothing was written meanwhile");
    });
}

#[tokio::test]
async fn a_file_is_read_to_its_listed_length_or_to_where_it_ends() {
    let server = PgServer::start(15);
    let data = server.data_dir();
    let paths = ["grown", "shrunk", "gone"].map(|name| data.join(name));
    let before: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
    for path in &paths {
        fs::write(path, &before).unwrap();
    }
    let session = begin(&server).await;
    let (listing, reader) = open(&server, &session);
    let mut after = before.clone();
    after.extend_from_slice(b"more");
    fs::write(&paths[0], &after).unwrap();
    fs::write(&paths[1], &before[..300_001]).unwrap();
    fs::remove_file(&paths[2]).unwrap();
    let read = |name: &str| read(&reader, listing.entries.iter().find(|entry| &*entry.path == name).unwrap());
    assert!(read("grown").0 == before);
    assert!(read("shrunk").0 == before[..300_001]);
    let (contents, outcome) = read("gone");
    assert_eq!((contents.len(), outcome.vanished), (0, true));
    let mut chunks = 0;
    let grown = listing.entries.iter().find(|entry| &*entry.path == "grown").unwrap();
    let stopping = &mut |_: Piece| {
        chunks += 1;
        false
    };
    reader.read(grown, &ReadPlan::default(), stopping).unwrap();
    assert_eq!(chunks, 1, "nobody took the rest");
}

/// What a plan hands on of a file: the pages that were read, and how many bytes were known.
fn sift(reader: &ClusterReader, entry: &ClusterEntry, plan: &ReadPlan) -> (Vec<u64>, u64, FileOutcome) {
    let (mut pages, mut known, mut at) = (Vec::new(), 0, 0);
    let outcome = reader.read(entry, plan, &mut |piece| {
        let length = match piece {
            Piece::Read(chunk) => {
                pages.extend(at / PAGE..(at + chunk.len() as u64).div_ceil(PAGE));
                chunk.len() as u64
            }
            Piece::Known(length) => {
                known += length;
                length
            }
        };
        at += length;
        true
    });
    (pages, known, outcome.unwrap())
}

#[tokio::test]
async fn pages_that_an_earlier_backup_has_are_kept_back() {
    let server = PgServer::start(15);
    let path = server.data_dir().join("file");
    let mut contents: Vec<u8> = (0..100 * PAGE + 10).map(|n| (n / 100 % 251) as u8).collect();
    fs::write(&path, &contents).unwrap();
    let session = begin(&server).await;
    let (listing, reader) = open(&server, &session);
    let find = |listing: &ClusterListing| listing.entries.iter().find(|entry| &*entry.path == "file").unwrap().clone();
    let entry = find(&listing);
    let (pages, known, first) = sift(&reader, &entry, &ReadPlan::default());
    assert_eq!((pages.len(), known), (101, 0));
    let size = contents.len() as u64;
    let plan = |renewed: &[u32], changed: Option<&[u32]>, compare_all| ReadPlan {
        known: Some(KnownPages { size, hashes: first.hashes.clone(), renewed: renewed.iter().copied().collect() }),
        changed: changed.map(|pages| pages.iter().copied().collect()),
        compare_all,
    };
    let (pages, known, outcome) = sift(&reader, &entry, &plan(&[], None, false));
    assert_eq!((pages, known, outcome.read, outcome.hashes), (vec![], size, size, first.hashes.clone()));

    // One page changes, another is to be stored anew, a third was announced and is as it was; the last page grows.
    let begin_of_40 = 40 * PAGE as usize..40 * PAGE as usize + 8;
    contents[begin_of_40.clone()].fill(0);
    contents.extend_from_slice(&[9; PAGE as usize]);
    fs::write(&path, &contents).unwrap();
    let entry = find(&ClusterListing::read(&server.data_dir(), &session.facts().version_folder).unwrap());
    let (_, _, whole) = sift(&reader, &entry, &ReadPlan::default());
    let (pages, _, outcome) = sift(&reader, &entry, &plan(&[7], None, false));
    assert_eq!((pages, &outcome.hashes), (vec![7, 40, 100, 101], &whole.hashes));
    let (pages, known, outcome) = sift(&reader, &entry, &plan(&[7], Some(&[40, 50]), false));
    assert_eq!((pages, &outcome.hashes), (vec![7, 40, 100, 101], &whole.hashes));
    assert_eq!((known, outcome.read), (98 * PAGE, 4 * PAGE + 10));
    // Nothing announced the change: unread it is missed, compared it is found and told.
    let (pages, _, outcome) = sift(&reader, &entry, &plan(&[], Some(&[]), false));
    assert_eq!((pages, outcome.unannounced), (vec![100, 101], vec![]));
    let (pages, _, outcome) = sift(&reader, &entry, &plan(&[], Some(&[]), true));
    assert_eq!((pages, outcome.unannounced), (vec![40, 100, 101], vec![DamagedBlock { block: 40 }]));
    assert_eq!(outcome.hashes, whole.hashes);
    // What changed since the backup began is announced by the log that it is replayed with.
    contents[begin_of_40].fill(0x7F);
    fs::write(&path, &contents).unwrap();
    let (pages, _, outcome) = sift(&reader, &entry, &plan(&[], Some(&[]), true));
    assert_eq!((pages, outcome.unannounced), (vec![40, 100, 101], vec![]));
}
