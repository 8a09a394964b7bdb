//! A second place that missed a backup, lost an object or holds an altered one is healed; what was pruned stays gone.

use std::sync::Arc;

use chrono::TimeDelta;
use erpgo_dr_core::Storage;
use erpgo_dr_core::ops::{self, PruneOptions, VerifyOptions};
use erpgo_dr_core::retention::KeepLast;
use erpgo_dr_core::storage::{PutOptions, RepairOptions, ReplicatedStorage, StorageExt as _, WritePolicy};
use futures::TryStreamExt as _;

use super::support::{Fixture, NO_PROGRESS, Script, memory};

const BYTES: usize = 150_000;

struct Pair {
    fixture: Fixture,
    places: [Arc<dyn Storage>; 2],
    both: ReplicatedStorage,
}

impl Pair {
    async fn new() -> Self {
        let places = [memory(), memory()];
        let both = ReplicatedStorage::new(places[0].clone(), vec![places[1].clone()], WritePolicy::Primary);
        let fixture = Fixture::over(Arc::new(both.clone())).await;
        Self { fixture, places, both }
    }

    async fn repair(&self, deep: bool) -> ops::RepairOutcome {
        self.repair_opened_at(Arc::new(self.both.clone()), deep).await
    }

    async fn repair_opened_at(&self, place: Arc<dyn Storage>, deep: bool) -> ops::RepairOutcome {
        let repository = self.fixture.open_at(place).await.unwrap();
        let options = RepairOptions::default().with_deep(deep);
        ops::repair(&repository, &self.both, &options, false, NO_PROGRESS).await.unwrap()
    }

    /// Opens one place alone, and verifies all that is in it.
    async fn verifies_alone(&self, place: usize) -> usize {
        let repository = self.fixture.open_at(self.places[place].clone()).await.unwrap();
        let options = VerifyOptions::default().with_record(false);
        let report = ops::verify(&repository, &[], Some(&Script::of(BYTES)), &options, NO_PROGRESS).await.unwrap();
        assert!(report.passed(), "place {place}: {report:?}");
        report.verdicts.len()
    }

    async fn empty(&self, place: usize) {
        let keys: Vec<_> = self.places[place].list("").map_ok(|meta| meta.key).try_collect().await.unwrap();
        for key in keys {
            self.places[place].delete(&key).await.unwrap();
        }
    }
}

#[tokio::test]
async fn either_place_alone_is_the_whole_repository() {
    let pair = Pair::new().await;
    pair.fixture.backup(BYTES).await;
    assert_eq!(pair.verifies_alone(0).await, 1);
    assert_eq!(pair.verifies_alone(1).await, 1);
    assert!(pair.repair(true).await.is_healthy());
}

#[tokio::test]
async fn a_place_that_lost_everything_is_filled_again_whichever_it_was() {
    for lost in [0, 1] {
        let pair = Pair::new().await;
        pair.fixture.backup(BYTES).await;
        pair.fixture.backup(BYTES).await;
        pair.empty(lost).await;
        let left = pair.places[1 - lost].clone();
        let outcome = pair.repair_opened_at(left, false).await;
        assert!(outcome.is_healthy(), "{outcome:?}");
        assert_eq!(pair.verifies_alone(lost).await, 2);
    }
}

#[tokio::test]
async fn an_altered_copy_is_replaced_by_the_right_one_whichever_it_was() {
    for altered in [0, 1] {
        let pair = Pair::new().await;
        let id = pair.fixture.backup(BYTES).await.id;
        for key in [format!("dumps/{id}/0000-0000"), format!("backups/{id}/manifest"), "repo.json".to_owned()] {
            let key = key.parse().unwrap();
            let mut data = pair.places[altered].read(&key, 1 << 20).await.unwrap().to_vec();
            let middle = data.len() / 2;
            data[middle] ^= 1;
            pair.places[altered].write(&key, data.into(), &PutOptions::default()).await.unwrap();
        }
        let sound = pair.places[1 - altered].clone();
        let outcome = pair.repair_opened_at(sound, true).await;
        assert!(outcome.is_healthy(), "{outcome:?}");
        assert_eq!(pair.verifies_alone(altered).await, 1);
    }
}

#[tokio::test]
async fn what_was_pruned_is_not_brought_back() {
    let pair = Pair::new().await;
    let old = pair.fixture.backup(BYTES).await.id;
    pair.fixture.backup(BYTES).await;
    let saved: Vec<_> = pair.places[1].list(&format!("dumps/{old}")).try_collect().await.unwrap();
    let part = &saved[0].key;
    let data = pair.places[1].read(part, 1 << 20).await.unwrap();
    let repository = pair.fixture.open().await;
    let now = PruneOptions::default().with_grace(TimeDelta::zero());
    ops::prune(&repository, &KeepLast(1), &now, NO_PROGRESS).await.unwrap();
    // A delete that the second place missed.
    pair.places[1].write(part, data, &PutOptions::default()).await.unwrap();
    let outcome = pair.repair(true).await;
    assert_eq!(outcome.plan.strays, std::slice::from_ref(part));
    assert_eq!(outcome.report.unwrap().removed, 1);
    for place in &pair.places {
        assert!(place.head(part).await.is_err(), "it stays gone, or goes");
    }
}

#[tokio::test]
async fn a_prune_spares_a_backup_whose_catalogue_entry_only_the_primary_lost() {
    let pair = Pair::new().await;
    pair.fixture.backup(BYTES).await;
    let newest = pair.fixture.backup(BYTES).await.id;
    let repository = pair.fixture.open().await;
    repository.hold(&newest, "evidence").await.unwrap();
    // A damaged disk: the newest, which no later entry names, and so no problem of the catalogue tells.
    pair.places[0].delete(&format!("backups/{newest}/summary").parse().unwrap()).await.unwrap();
    pair.fixture.clock.advance(TimeDelta::days(1));
    let options = PruneOptions::default().with_grace(TimeDelta::zero());
    let report = ops::prune(&repository, &KeepLast(1), &options, NO_PROGRESS).await.unwrap();
    assert!(report.leftover_runs.is_empty() && report.removed.is_empty(), "{report:?}");

    assert!(pair.repair(true).await.is_healthy());
    assert_eq!(pair.verifies_alone(0).await, 2);
    assert_eq!(pair.verifies_alone(1).await, 2);
    let catalogue = pair.fixture.open().await.catalogue().await.unwrap();
    let entry = catalogue.find(&newest).unwrap();
    assert!(entry.proven().is_some() && entry.hold.is_some(), "{entry:?}");
}
