//! Several places: a push is durable at all of them, a fetch takes the good copy, a repair heals.

use std::sync::Arc;

use erpgo_dr_core::RetentionPolicy;
use erpgo_dr_core::ops::{self, wal::WalPushOutcome};
use erpgo_dr_core::progress::NoProgress;
use erpgo_dr_core::retention::RetentionSettings;
use erpgo_dr_core::storage::{RepairOptions, ReplicatedStorage, WritePolicy};
use erpgo_dr_testkit::postgres::PgServer;

use super::support::{Archive, damage, files, name_of, segments};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_try_reaches_the_place_that_the_first_missed() {
    let (server, archive) = (PgServer::start(17), Archive::of(2).await);
    let path = segments(&server, archive.folder.path(), 1).remove(0);
    // A file where the second place needs a folder.
    std::fs::write(archive.path("place-1/wal"), b"in the way").unwrap();
    let report = archive.push(&path).await.unwrap();
    assert!(!report.is_complete() && report.missed.len() == 1, "{report:?}");
    let report = archive.push(&path).await.unwrap();
    assert!(!report.is_complete() && report.outcome == WalPushOutcome::Identical, "it still is not there: {report:?}");
    std::fs::remove_file(archive.path("place-1/wal")).unwrap();
    let report = archive.push(&path).await.unwrap();
    assert!(report.is_complete() && report.outcome == WalPushOutcome::Identical, "{report:?}");
    let name = name_of(&path);
    assert!(std::fs::read(archive.object(1, &name)).unwrap() == std::fs::read(archive.object(0, &name)).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_passed_over_and_healed() {
    let (server, archive) = (PgServer::start(18), Archive::of(2).await);
    let path = segments(&server, archive.folder.path(), 1).remove(0);
    let name = name_of(&path);
    archive.push(&path).await.unwrap();
    let good = std::fs::read(archive.object(0, &name)).unwrap();
    damage(&archive.object(0, &name));
    let target = archive.path("pg_wal/RECOVERYXLOG");
    assert!(archive.fetch(&name, &target).await.unwrap().found);
    assert!(std::fs::read(&target).unwrap() == std::fs::read(&path).unwrap());

    let places = ReplicatedStorage::new(archive.places[0].clone(), archive.places[1..].to_vec(), WritePolicy::Primary);
    let repair = |deep: bool| {
        let (repository, places) = (&archive.repository, &places);
        async move { ops::repair(repository, places, &RepairOptions::default().with_deep(deep), false, &NoProgress).await }
    };
    let outcome = repair(true).await.unwrap();
    assert!(outcome.is_healthy() && outcome.report.unwrap().copied == 1);
    assert!(std::fs::read(archive.object(0, &name)).unwrap() == good);

    // One that a place lost comes back, also without reading everything.
    std::fs::remove_file(archive.object(1, &name)).unwrap();
    assert_eq!(repair(false).await.unwrap().report.unwrap().copied, 1);
    assert!(std::fs::read(archive.object(1, &name)).unwrap() == good);
    damage(&archive.object(0, &name));
    damage(&archive.object(1, &name));
    std::fs::remove_file(archive.object(1, &name)).unwrap();
    let outcome = repair(false).await.unwrap();
    assert_eq!(outcome.plan.unresolved.len(), 1, "a damaged copy is spread to no place: {outcome:?}");
    assert_eq!(files(&archive.path("place-1/wal")).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_leaves_the_archive_alone() {
    let (server, archive) = (PgServer::start(17), Archive::new().await);
    let path = segments(&server, archive.folder.path(), 1).remove(0);
    archive.push(&path).await.unwrap();
    let policy: Arc<dyn RetentionPolicy> = RetentionSettings::default().policy().unwrap().into();
    let options = ops::PruneOptions::default().with_grace(chrono::TimeDelta::zero());
    let report = ops::prune(&archive.repository, &policy, &options, &NoProgress).await.unwrap();
    assert!(report.removed.is_empty());
    assert!(archive.object(0, &name_of(&path)).exists());
}
