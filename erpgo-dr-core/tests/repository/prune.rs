//! What a prune removes, what it must not, and who may be at work beside it.

use std::sync::Arc;

use chrono::TimeDelta;
use erpgo_dr_core::ErrorKind;
use erpgo_dr_core::ops::{self, BackupOptions, PruneOptions};
use erpgo_dr_core::progress::{Progress, ProgressEvent};
use erpgo_dr_core::retention::KeepLast;
use erpgo_dr_core::storage::{LocalStorage, PutOptions, StorageExt as _};
use erpgo_dr_core::types::BackupId;

use super::support::{Fixture, NO_PROGRESS, Script};

fn immediately() -> PruneOptions {
    PruneOptions::default().with_grace(TimeDelta::zero())
}

async fn ids(fixture: &Fixture) -> Vec<BackupId> {
    let catalogue = fixture.open().await.catalogue().await.unwrap();
    assert_eq!(catalogue.problems, []);
    catalogue.entries.iter().map(|entry| entry.id().clone()).collect()
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_says_what_would_be() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        fixture.backup(1_000).await;
    }
    let before = fixture.keys("").await;
    let repository = fixture.open().await;
    let options = immediately().with_dry_run(true);
    let report = ops::prune(&repository, &KeepLast(1), &options, NO_PROGRESS).await.unwrap();
    assert_eq!(report.removed.len(), 2);
    assert!(report.decisions.iter().all(|decision| !decision.reasons.is_empty()));
    assert_eq!(fixture.keys("").await, before);
}

/// Tells when a prune has begun.
#[derive(Default)]
struct Begun(tokio::sync::Notify);

impl Progress for Begun {
    fn report(&self, _: ProgressEvent<'_>) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn a_cancelled_prune_gives_its_lease_up() {
    let folder = tempfile::tempdir().unwrap();
    // On disk, so that the prune waits for something and can be cancelled.
    let fixture = Fixture::over(Arc::new(LocalStorage::open(folder.path()).unwrap())).await;
    fixture.backup(1_000).await;
    let (repository, begun, options) = (fixture.open().await, Begun::default(), immediately());
    tokio::select! {
        biased;
        () = begun.0.notified() => {}
        ended = ops::prune(&repository, &KeepLast(1), &options, &begun) => panic!("too early: {ended:?}"),
    }
    repository.environment().cleanups.settle().await;
    ops::prune(&repository, &KeepLast(1), &immediately(), NO_PROGRESS).await.unwrap();
}

#[tokio::test]
async fn pruning_over_and_over_keeps_the_chain_whole_and_forgets_old_records() {
    let fixture = Fixture::new().await;
    for round in 0..8 {
        fixture.backup(1_000).await;
        let repository = fixture.open().await;
        ops::prune(&repository, &KeepLast(2), &immediately(), NO_PROGRESS).await.unwrap();
        assert_eq!(ids(&fixture).await.len(), 2.min(round + 1));
    }
    assert!(fixture.keys("state/expired").await.len() <= 2, "{:?}", fixture.keys("state/expired").await);
}

#[tokio::test]
async fn a_hold_stands_above_the_policy() {
    let fixture = Fixture::new().await;
    let held = fixture.backup(1_000).await.id;
    fixture.backup(1_000).await;
    let last = fixture.backup(1_000).await.id;
    let repository = fixture.open().await;
    repository.hold(&held, "evidence").await.unwrap();
    ops::prune(&repository, &KeepLast(1), &immediately(), NO_PROGRESS).await.unwrap();
    assert_eq!(ids(&fixture).await, [held.clone(), last.clone()]);

    repository.release_hold(&held).await.unwrap();
    ops::prune(&repository, &KeepLast(1), &immediately(), NO_PROGRESS).await.unwrap();
    assert_eq!(ids(&fixture).await, [last]);
}

#[tokio::test]
async fn the_last_proven_backup_stays_though_newer_ones_exist() {
    let fixture = Fixture::new().await;
    let proven = fixture.backup(1_000).await.id;
    let repository = fixture.open().await;
    for _ in 0..3 {
        fixture.clock.advance(TimeDelta::hours(1));
        let unproven = BackupOptions::default().with_verify(None);
        ops::backup(&repository, &Script::of(1_000), &unproven, NO_PROGRESS).await.unwrap();
    }
    ops::prune(&repository, &KeepLast(1), &immediately(), NO_PROGRESS).await.unwrap();
    let left = ids(&fixture).await;
    assert_eq!(left.len(), 2);
    assert_eq!(left[0], proven);
}

#[tokio::test]
async fn a_second_prune_is_refused() {
    let fixture = Fixture::new().await;
    let lease = "state/leases/prune-another".parse().unwrap();
    fixture.storage.write(&lease, "{}".into(), &PutOptions::default()).await.unwrap();
    let repository = fixture.open().await;
    let error = ops::prune(&repository, &KeepLast(1), &immediately(), NO_PROGRESS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(fixture.keys("state/leases").await, ["state/leases/prune-another"], "its own lease is gone again");
}

#[tokio::test]
async fn what_a_live_run_has_written_is_left_alone() {
    let fixture = Fixture::new().await;
    let id = BackupId::generate("2026-01-01T00:00:00Z".parse().unwrap());
    for key in [format!("dumps/{id}/0000-0000"), format!("state/leases/backup-{id}")] {
        fixture.storage.write(&key.parse().unwrap(), "x".into(), &PutOptions::default()).await.unwrap();
    }
    let repository = fixture.open().await;
    ops::prune(&repository, &KeepLast(1), &immediately(), NO_PROGRESS).await.unwrap();
    assert_eq!(fixture.keys("dumps").await.len(), 1);
}

#[tokio::test]
async fn a_run_that_was_revoked_can_never_commit() {
    let fixture = Fixture::new().await;
    let repository = fixture.open().await;
    // In the middle of the backup prune takes the run for dead.
    let slow = SlowScript { fixture: &fixture };
    let error = ops::backup(&repository, &slow, &BackupOptions::default(), NO_PROGRESS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert_eq!(ids(&fixture).await, []);
    // What the run wrote after it was revoked is collected by the next prune.
    for lease in fixture.keys("state/leases").await {
        fixture.storage.delete(&lease.parse().unwrap()).await.unwrap();
    }
    ops::prune(&repository, &KeepLast(1), &immediately(), NO_PROGRESS).await.unwrap();
    assert_eq!(fixture.keys("dumps").await, Vec::<String>::new());
}

/// A backup during which its lease vanishes and a prune runs.
struct SlowScript<'a> {
    fixture: &'a Fixture,
}

impl std::fmt::Debug for SlowScript<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SlowScript")
    }
}

#[async_trait::async_trait]
impl erpgo_dr_core::DatabaseDriver for SlowScript<'_> {
    fn kind(&self) -> &'static str {
        "logical"
    }

    async fn probe(&self) -> Result<erpgo_dr_core::postgres::ServerInfo, erpgo_dr_core::postgres::PostgresError> {
        Script::of(0).probe().await
    }

    async fn back_up(
        &self,
        sink: &mut dyn erpgo_dr_core::postgres::BackupSink,
        progress: &dyn erpgo_dr_core::progress::Progress,
    ) -> Result<erpgo_dr_core::postgres::BackupContents, erpgo_dr_core::postgres::PostgresError> {
        let contents = Script::of(150_000).back_up(sink, progress).await?;
        for lease in self.fixture.keys("state/leases").await {
            self.fixture.storage.delete(&lease.parse().unwrap()).await.unwrap();
        }
        let other = self.fixture.open().await;
        let report = ops::prune(&other, &KeepLast(1), &immediately(), NO_PROGRESS).await.unwrap();
        assert_eq!(report.leftover_runs.len(), 1);
        Ok(contents)
    }

    async fn restore(
        &self,
        _: &dyn erpgo_dr_core::postgres::BackupSource,
        _: &erpgo_dr_core::postgres::BackupContents,
        _: &dyn erpgo_dr_core::progress::Progress,
    ) -> Result<erpgo_dr_core::postgres::RestoreOutcome, erpgo_dr_core::postgres::PostgresError> {
        unreachable!("it never commits")
    }

    async fn check(
        &self,
        _: &dyn erpgo_dr_core::postgres::BackupSource,
        _: &erpgo_dr_core::postgres::BackupContents,
        _: erpgo_dr_core::postgres::CheckDepth,
    ) -> Result<(), erpgo_dr_core::postgres::PostgresError> {
        unreachable!("it never commits")
    }
}

#[tokio::test]
async fn a_verdict_of_which_no_backup_is_left_goes_and_the_others_stay() {
    let fixture = Fixture::new().await;
    let kept = fixture.backup(1_000).await.id;
    let gone = fixture.backup(1_000).await.id;
    // As in the second of two places, where a prune was killed and a later one has forgotten that it removed the backup.
    for folder in ["backups", "dumps"] {
        for key in fixture.keys(&format!("{folder}/{gone}")).await {
            fixture.storage.delete(&key.parse().unwrap()).await.unwrap();
        }
    }
    assert_eq!(fixture.keys("state/verdicts").await.len(), 2);
    ops::prune(&fixture.open().await, &KeepLast(1), &immediately(), NO_PROGRESS).await.unwrap();
    let verdicts = fixture.keys("state/verdicts").await;
    assert!(verdicts.len() == 1 && verdicts[0].contains(kept.as_str()), "{verdicts:?}");
}
