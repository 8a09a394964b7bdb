//! Where the log ends, and where it only seems to: segments of a mebibyte that no server wrote, with headers that are right.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{WalFetchOptions, WalFetchReport, WalPushOptions, WalTimelineReport, wal_fetch, wal_list, wal_push};
use crate::clock::SystemClock;
use crate::compute::ComputePool;
use crate::conformance::faulty::{Effect, Fault, FaultyStorage, Operation};
use crate::crypto::keys::{Wrapper, generate_identity};
use crate::ops::{Error, Result};
use crate::repository::{Environment, InitOptions, Repository, RepositoryError, TailPiece};
use crate::storage::ObjectStorage;
use crate::types::{TimelineId, WalSegmentName, WalSegmentSize};

const SYSTEM: u64 = 7;
const MIB: u32 = 1 << 20;

/// An archive, and the data directory of a server that recovers from it.
struct Site {
    folder: tempfile::TempDir,
    storage: FaultyStorage,
    repository: Repository,
}

fn size() -> WalSegmentSize {
    WalSegmentSize::new(MIB.into()).unwrap()
}

fn name(timeline: u32, number: u64) -> WalSegmentName {
    WalSegmentName::numbered(TimelineId::new(timeline).unwrap(), number, size())
}

/// The bytes of a segment of version 17.
fn segment(name: WalSegmentName) -> Bytes {
    let mut bytes = vec![0; MIB as usize];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &0xD116_u16.to_le_bytes());
    put(2, &2_u16.to_le_bytes());
    put(4, &name.timeline().get().to_le_bytes());
    put(8, &name.start(size()).unwrap().0.to_le_bytes());
    put(24, &SYSTEM.to_le_bytes());
    put(32, &MIB.to_le_bytes());
    put(36, &8192_u32.to_le_bytes());
    bytes.into()
}

impl Site {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for inner in ["waiting", "data/pg_wal", "data/global"] {
            std::fs::create_dir_all(folder.path().join(inner)).unwrap();
        }
        std::fs::write(folder.path().join("data/recovery.signal"), "").unwrap();
        let storage = FaultyStorage::new(Arc::new(ObjectStorage::memory()));
        let environment = Environment::new(ComputePool::new(1).unwrap(), Arc::new(SystemClock));
        let slots = [("owner".parse().unwrap(), Wrapper::Recipients(vec![generate_identity().recipient]))];
        let place = Arc::new(storage.clone());
        let repository = Repository::init(place, environment, &InitOptions::default(), &slots).await.unwrap();
        Self { folder, storage, repository }
    }

    async fn push(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join("waiting").join(name);
        std::fs::write(&path, bytes).unwrap();
        let options = WalPushOptions::default().with_system_identifier(Some(SYSTEM));
        wal_push(&self.repository, &path, &options).await.unwrap();
    }

    async fn whole(&self, timeline: u32, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            let name = name(timeline, number);
            self.push(&name.to_string(), &segment(name)).await;
        }
    }

    /// Stores the first `bytes` of a segment, in two pieces.
    async fn tail(&self, timeline: u32, number: u64, bytes: u32) {
        let segment_name = name(timeline, number);
        for (sequence, from, to) in [(0, 0, bytes / 2), (1, bytes / 2, bytes)] {
            let piece = TailPiece { system_identifier: SYSTEM, segment: segment_name, sequence, from, to };
            let plain = segment(segment_name).slice(from as usize..to as usize);
            self.repository.store_wal_tail(&piece, plain).await.unwrap();
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("data/pg_wal")
    }

    fn destination(&self) -> PathBuf {
        self.log().join("RECOVERYXLOG")
    }

    async fn fetch_to(&self, name: WalSegmentName, destination: &Path) -> Result<WalFetchReport> {
        let _ = std::fs::remove_file(destination);
        let options = WalFetchOptions::default().with_system_identifier(Some(SYSTEM));
        wal_fetch(&self.repository, crate::types::WalFileName::Segment(name), destination, &options).await
    }

    /// Fetches a segment that a server asks for which recovers: `whole`, `partial`, `absent`, or the one behind a gap.
    async fn asked(&self, name: WalSegmentName) -> String {
        let destination = self.destination();
        let outcome = self.fetch_to(name, &destination).await;
        let written = std::fs::read(&destination).ok();
        match outcome {
            Ok(report) => {
                assert_eq!(written.is_some(), report.found);
                assert!(written.is_none_or(|bytes| bytes == segment(name)));
                let what = if report.partial { "partial" } else { "whole" };
                if report.found { what } else { "absent" }.to_owned()
            }
            Err(Error::Repository(RepositoryError::WalGap { name: missing, later, .. })) => {
                assert!(missing == name && written.is_none(), "a gap, and {} written", destination.display());
                later.to_string()
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_one_however_wide_it_is_and_whatever_lies_behind_it() {
    let site = Site::new().await;
    site.whole(1, [1, 300]).await;
    assert_eq!(site.asked(name(1, 1)).await, "whole");
    assert_eq!(site.asked(name(1, 2)).await, name(1, 300).to_string());
    assert_eq!(site.asked(name(1, 0)).await, name(1, 1).to_string(), "also before all that is there");
    assert_eq!(site.asked(name(1, 301)).await, "absent", "the end");
    let elsewhere = site.folder.path().join("elsewhere");
    assert!(!site.fetch_to(name(1, 2), &elsewhere).await.unwrap().found, "nobody recovers there");
    std::fs::write(site.folder.path().join("data/standby.signal"), "").unwrap();
    assert_eq!(site.asked(name(1, 2)).await, "absent", "a standby asks again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_in_pieces_is_the_end_only_if_nothing_lies_behind_it() {
    let site = Site::new().await;
    site.whole(1, [1]).await;
    site.tail(1, 2, MIB / 2).await;
    assert_eq!(site.asked(name(1, 2)).await, "partial");
    site.tail(1, 4, MIB / 4).await;
    assert_eq!(site.asked(name(1, 2)).await, name(1, 4).to_string());
    assert_eq!(site.asked(name(1, 3)).await, name(1, 4).to_string());
    assert_eq!(site.asked(name(1, 4)).await, "partial");
    site.whole(1, [3]).await;
    assert_eq!(site.asked(name(1, 2)).await, name(1, 3).to_string());
    // One of which all pieces are there waits to be stored whole, while the next one has begun.
    site.tail(1, 5, MIB).await;
    site.tail(1, 6, MIB / 2).await;
    assert_eq!(site.asked(name(1, 5)).await, "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_has_itself_is_no_gap() {
    let site = Site::new().await;
    site.whole(1, [1, 3]).await;
    let own = site.log().join(name(1, 2).to_string());
    std::fs::write(&own, segment(name(1, 2))).unwrap();
    assert_eq!(site.asked(name(1, 2)).await, "absent");
    site.tail(1, 2, MIB / 2).await;
    assert_eq!(site.asked(name(1, 2)).await, "absent", "a half of it would be taken in its place");
    // An old segment that waits to be written over.
    std::fs::write(&own, segment(name(1, 0))).unwrap();
    assert_eq!(site.asked(name(1, 2)).await, name(1, 3).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_ends_where_the_next_one_begins_and_has_nothing_before_that() {
    let site = Site::new().await;
    site.whole(1, [1, 2]).await;
    site.tail(1, 3, MIB / 2).await;
    site.whole(2, [3, 4, 6]).await;
    assert_eq!(site.asked(name(1, 3)).await, "partial", "where it was left");
    assert_eq!(site.asked(name(1, 4)).await, "absent");
    assert_eq!(site.asked(name(2, 2)).await, "absent", "where it begins is not known");
    site.push("00000002.history", b"1\t0/380000\tno recovery target specified\n").await;
    assert_eq!(site.asked(name(2, 2)).await, "absent", "before its beginning");
    assert_eq!(site.asked(name(2, 5)).await, name(2, 6).to_string());

    let site = Site::new().await;
    site.whole(1, [1, 2, 3]).await;
    site.whole(2, [4]).await;
    site.push("00000002.history", b"1\t0/380000\tno recovery target specified\n").await;
    assert_eq!(site.asked(name(2, 3)).await, name(2, 4).to_string(), "its first one is missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_becomes_whole_while_it_is_asked_for_is_found() {
    let site = Site::new().await;
    site.whole(1, [1]).await;
    site.tail(1, 2, MIB / 2).await;
    site.storage.inject(Fault::new(Operation::Get, Effect::Delay(Duration::from_millis(500))).under("wal-tails"));
    let becomes_whole = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        site.whole(1, [2]).await;
        for piece in site.repository.wal_tails(Some(SYSTEM), None).await.unwrap() {
            site.repository.remove_wal_tail(&piece).await.unwrap();
        }
    };
    let (found, ()) = tokio::join!(site.asked(name(1, 2)), becomes_whole);
    assert_eq!(found, "whole");
}

/// The gaps of each timeline, by the numbers of their first and last segments.
async fn gaps(site: &Site) -> Vec<Vec<(u64, u64)>> {
    let list = wal_list(&site.repository, Some(SYSTEM)).await.unwrap();
    let number = |name: WalSegmentName| name.number(size()).unwrap();
    let gaps = |report: &WalTimelineReport| {
        report.gaps.iter().map(|gap| (number(gap.first), number(gap.last))).collect::<Vec<_>>()
    };
    list[0].timelines.iter().map(gaps).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_looks_for_gaps_up_to_the_pieces_of_the_last_segment() {
    let site = Site::new().await;
    site.tail(1, 2, MIB / 2).await;
    assert_eq!(gaps(&site).await, [vec![]], "it may be all there is");
    site.tail(1, 4, MIB / 2).await;
    assert_eq!(gaps(&site).await, [vec![(2, 3)]]);
    site.whole(1, [0, 1, 2]).await;
    assert_eq!(gaps(&site).await, [vec![(3, 3)]]);
    site.tail(1, 3, MIB).await;
    assert_eq!(gaps(&site).await, [vec![]], "all pieces of it are there");
    site.tail(1, 7, MIB / 2).await;
    assert_eq!(gaps(&site).await, [vec![(4, 6)]], "of 4 only a half");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_looks_for_gaps_between_pieces_on_both_sides_of_a_switch() {
    let site = Site::new().await;
    site.whole(1, [1, 2]).await;
    site.tail(1, 3, MIB / 2).await;
    site.tail(2, 3, MIB / 2).await;
    site.push("00000002.history", b"1\t0/380000\tno recovery target specified\n").await;
    assert_eq!(gaps(&site).await, [vec![], vec![]], "the last one of the old timeline never becomes whole");

    let site = Site::new().await;
    site.whole(1, [1]).await;
    site.tail(1, 3, MIB / 2).await;
    site.tail(2, 7, MIB / 2).await;
    site.push("00000002.history", b"1\t0/580000\tno recovery target specified\n").await;
    assert_eq!(gaps(&site).await, [vec![(2, 2), (3, 4)], vec![(5, 6)]]);
}
