//! Fetching and pushing ahead.

use std::num::NonZeroUsize;
use std::path::Path;

use erpgo_dr_core::ops::wal::{
    WalPrefetchOptions, WalPushOptions, WalPushOutcome, WalSpool, wal_cluster_around, wal_prefetch,
};
use erpgo_dr_core::types::{WalSegmentName, WalSegmentSize};
use erpgo_dr_testkit::postgres::PgServer;

use super::support::{Archive, damage, files, name_of, segments};

fn parsed(path: &Path) -> WalSegmentName {
    name_of(path).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_segments_wait_and_the_last_are_gone() {
    let (server, archive) = (PgServer::start(17), Archive::new().await);
    let paths = segments(&server, archive.folder.path(), 5);
    for path in &paths {
        archive.push(path).await.unwrap();
    }
    let spool = WalSpool::new(archive.path("spool"));
    let system = wal_cluster_around(&paths[0]).unwrap();
    let options = WalPrefetchOptions::new(NonZeroUsize::new(3).unwrap());
    let ahead_of = |n: usize| {
        let of = (system, parsed(&paths[n]), WalSegmentSize::DEFAULT);
        let (repository, spool, options) = (&archive.repository, &spool, &options);
        async move { wal_prefetch(repository, spool, of, options).await.unwrap() }
    };
    let fetched = ahead_of(0).await.fetched;
    assert_eq!(fetched, paths[1..4].iter().map(|path| parsed(path)).collect::<Vec<_>>());
    let target = archive.path("pg_wal/RECOVERYXLOG");
    let taken = spool.take(system, parsed(&paths[1]), &target).await.unwrap();
    assert_eq!(taken, Some(16 << 20));
    assert!(std::fs::read(&target).unwrap() == std::fs::read(&paths[1]).unwrap());
    assert_eq!(spool.take(system, parsed(&paths[1]), &target).await.unwrap(), None, "it was moved");
    let size = spool.delivered(system, parsed(&paths[1]), &target, &options).unwrap();
    assert_eq!(size, None, "two of three are here");

    // The replay goes past what is here: the end of the archive is no error, and what is behind goes.
    assert_eq!(ahead_of(3).await.fetched, [parsed(&paths[4])]);
    let left: Vec<_> = files(&archive.path("spool")).iter().map(|path| name_of(path)).collect();
    assert_eq!(left.len(), 3, "the lock, the position and the last: {left:?}");
    assert!(left.contains(&name_of(&paths[4])));

    // What a killed process left in the making is no segment, and goes as well.
    let part = archive.path("spool").join(format!("fetched/{system}/{}.erpgo-dr-part", name_of(&paths[2])));
    std::fs::write(&part, b"half").unwrap();
    assert_eq!(spool.take(system, parsed(&paths[2]), &target).await.unwrap(), None);
    assert_eq!(ahead_of(4).await.fetched, []);
    assert!(!part.exists());
    damage(&archive.object(0, &name_of(&paths[1])));
    let of = (system, parsed(&paths[0]), WalSegmentSize::DEFAULT);
    assert!(wal_prefetch(&archive.repository, &spool, of, &options).await.is_err());
    assert_eq!(spool.take(system, parsed(&paths[1]), &target).await.unwrap(), None, "a damaged one never waits here");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ready_goes_along_and_is_noted() {
    let (server, archive) = (PgServer::start(17), Archive::new().await);
    let paths = segments(&server, archive.folder.path(), 4);
    let status = archive.path("pg_wal/archive_status");
    std::fs::create_dir(&status).unwrap();
    for path in &paths {
        std::fs::write(status.join(format!("{}.ready", name_of(path))), "").unwrap();
    }
    let spool = WalSpool::new(archive.path("spool"));
    let location = archive.repository.storage().location();
    let take = |n: usize, location: &str| spool.take_pushed(&paths[n], location).unwrap();
    assert!(take(0, &location).is_none());
    let report = archive.push(&paths[0]).await.unwrap();
    let options = WalPushOptions::default();
    let ahead = spool.push_ahead(&archive.repository, &report, &paths[0], &options).await.unwrap();
    assert_eq!(ahead.len(), 3);
    assert_eq!(files(&archive.path("place-0/wal")).len(), 4, "noted is what is archived");
    let taken = take(1, &location).unwrap();
    assert_eq!((taken.outcome, taken.name.to_string()), (WalPushOutcome::PushedAhead, name_of(&paths[1])));
    assert!(take(1, &location).is_none(), "a note is used up");
    assert!(take(2, "/elsewhere").is_none(), "another place does not have it");
    let noted = std::fs::metadata(&paths[3]).unwrap().modified().unwrap();
    damage(&paths[3]);
    std::fs::File::options().write(true).open(&paths[3]).unwrap().set_modified(noted).unwrap();
    assert!(take(3, &location).is_none(), "and a note is of a file that nothing has touched");
    assert!(archive.push(&paths[3]).await.is_err());
}
