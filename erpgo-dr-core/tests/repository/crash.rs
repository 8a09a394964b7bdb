//! The power goes at every single change that an operation makes. After each: nothing lost, nothing invented.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use erpgo_dr_core::ops::{self, BackupOptions, PruneOptions, VerifyOptions};
use erpgo_dr_core::retention::KeepLast;
use erpgo_dr_core::types::BackupId;

use super::support::{DyingStorage, Fixture, NO_PROGRESS, Script};

const BYTES: usize = 220_000;

#[tokio::test]
async fn a_backup_may_die_at_any_change() {
    for change in 0.. {
        let fixture = Fixture::new().await;
        let kept = fixture.backup(BYTES).await.id;
        let (dying, left) = DyingStorage::after(fixture.storage.clone(), i64::MAX);
        let repository = fixture.open_at(dying).await.unwrap();
        left.store(change, Ordering::SeqCst);
        fixture.clock.advance(TimeDelta::hours(1));
        let outcome = ops::backup(&repository, &Script::of(BYTES), &BackupOptions::default(), NO_PROGRESS).await;
        drop(repository);

        let ids = check_valid(&fixture).await;
        assert!(ids.contains(&kept), "change {change}");
        assert!(ids.len() <= 2, "change {change}");
        if let Ok(report) = &outcome {
            assert!(ids.contains(&report.id), "what was reported exists");
        }
        check_cleaned(&fixture, &ids).await;
        if outcome.is_ok() && left.load(Ordering::SeqCst) > 0 {
            assert!(change > 4, "the backup made only {change} changes");
            break;
        }
    }
}

#[tokio::test]
async fn a_prune_may_die_at_any_change() {
    for change in 0.. {
        let fixture = Fixture::new().await;
        let mut made = Vec::new();
        for _ in 0..4 {
            made.push(fixture.backup(BYTES).await.id);
        }
        let (dying, left) = DyingStorage::after(fixture.storage.clone(), i64::MAX);
        let repository = fixture.open_at(dying).await.unwrap();
        left.store(change, Ordering::SeqCst);
        let outcome = ops::prune(&repository, &KeepLast(2), &immediately(), NO_PROGRESS).await;
        drop(repository);

        let ids = check_valid(&fixture).await;
        assert!(ids.ends_with(&made[2..]), "change {change}: what the policy keeps is there: {ids:?}");
        check_cleaned(&fixture, &ids).await;
        if outcome.is_ok() {
            assert!(change > 4, "the prune made only {change} changes");
            break;
        }
    }
}

fn immediately() -> PruneOptions {
    PruneOptions::default().with_grace(TimeDelta::zero())
}

/// A new process finds a catalogue without problems, and every backup in it whole.
async fn check_valid(fixture: &Fixture) -> Vec<BackupId> {
    let repository = fixture.open().await;
    let options = VerifyOptions::default().with_record(false);
    let report = ops::verify(&repository, &[], Some(&Script::of(BYTES)), &options, NO_PROGRESS).await.unwrap();
    assert!(report.passed(), "{report:?}");
    report.verdicts.into_iter().map(|verdict| verdict.backup).collect()
}

/// The next prune removes what the dead run left, once its lease has lapsed, and no backup that the policy keeps.
async fn check_cleaned(fixture: &Fixture, before: &[BackupId]) {
    for lease in fixture.keys("state/leases").await {
        fixture.storage.delete(&lease.parse().unwrap()).await.unwrap();
    }
    let repository = fixture.open().await;
    ops::prune(&repository, &KeepLast(2), &immediately(), NO_PROGRESS).await.unwrap();
    let ids = check_valid(fixture).await;
    assert!(before.ends_with(&ids) && !ids.is_empty());
    for key in [fixture.keys("dumps").await, fixture.keys("state/verdicts").await].concat() {
        assert!(ids.iter().any(|id| key.contains(id.as_str())), "{key} belongs to no backup");
    }
    assert_eq!(fixture.keys("state/leases").await, Vec::<String>::new());
}
