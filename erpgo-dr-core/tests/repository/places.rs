//! What the primary place lost and another still has is named, and is no secret that only repair finds out.

use std::sync::Arc;

use chrono::TimeDelta;
use erpgo_dr_core::ops::{self, PruneOptions};
use erpgo_dr_core::repository::CatalogueProblem;
use erpgo_dr_core::retention::KeepLast;
use erpgo_dr_core::storage::{PutOptions, RepairOptions, ReplicatedStorage, StorageExt as _, WritePolicy};
use erpgo_dr_core::types::BackupId;
use erpgo_dr_core::{Repository, Storage};
use futures::TryStreamExt as _;

use super::support::{Fixture, NO_PROGRESS, memory};

const BYTES: usize = 50_000;

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

    async fn problems(&self) -> Vec<CatalogueProblem> {
        let repository = self.fixture.open().await;
        ops::catalogue_of_places(&repository, &self.both).await.unwrap().problems
    }

    /// Takes everything of a backup away from the primary.
    async fn lose(&self, id: &BackupId) {
        for folder in ["backups", "dumps"] {
            let found: Vec<_> = self.places[0].list(&format!("{folder}/{id}")).try_collect().await.unwrap();
            for meta in found {
                self.places[0].delete(&meta.key).await.unwrap();
            }
        }
    }

    async fn prune_to_one(&self) {
        let options = PruneOptions::default().with_grace(TimeDelta::zero());
        let repository = self.fixture.open().await;
        ops::prune(&repository, &KeepLast(1), &options, NO_PROGRESS).await.unwrap();
    }
}

#[tokio::test]
async fn a_backup_that_the_primary_lost_is_named_and_brought_back() {
    let pair = Pair::new().await;
    let old = pair.fixture.backup(BYTES).await.id;
    let new = pair.fixture.backup(BYTES).await.id;
    assert_eq!(pair.problems().await, []);
    for lost in [&new, &old] {
        pair.lose(lost).await;
        let problems = pair.problems().await;
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert_eq!(problem.subject, lost.as_str());
        assert!(problem.problem.contains("lost at the primary") && problem.problem.contains("`repair`"), "{problem:?}");
        let repository = pair.fixture.open().await;
        let catalogue = ops::catalogue_of_places(&repository, &pair.both).await.unwrap();
        let status = ops::status_of(&repository, &catalogue);
        assert_eq!((status.backups, status.is_healthy()), (1, false));
        ops::repair(&repository, &pair.both, &RepairOptions::default(), false, NO_PROGRESS).await.unwrap();
        assert_eq!(pair.problems().await, []);
    }
}

#[tokio::test]
async fn what_prune_removed_is_not_missed() {
    let pair = Pair::new().await;
    let old = pair.fixture.backup(BYTES).await.id;
    pair.fixture.backup(BYTES).await;
    let entry = format!("backups/{old}/summary").parse().unwrap();
    let stored = pair.places[1].read(&entry, 1 << 20).await.unwrap();
    pair.prune_to_one().await;
    // A delete that the second place missed.
    pair.places[1].write(&entry, stored, &PutOptions::default()).await.unwrap();
    assert_eq!(pair.problems().await, []);
}

#[tokio::test]
async fn a_run_that_was_revoked_is_not_missed() {
    let pair = Pair::new().await;
    let id = pair.fixture.backup(BYTES).await.id;
    let entry = format!("backups/{id}/summary").parse().unwrap();
    let stored = pair.places[1].read(&entry, 1 << 20).await.unwrap();
    for place in &pair.places {
        place.delete(&entry).await.unwrap();
    }
    pair.prune_to_one().await;
    assert!(pair.places[0].head(&entry).await.is_ok(), "prune's mark lies in its place");
    pair.places[1].write(&entry, stored, &PutOptions::default()).await.unwrap();
    assert_eq!(pair.problems().await, []);
}

#[tokio::test]
async fn what_cannot_be_authenticated_is_not_missed() {
    let pair = Pair::new().await;
    let id = pair.fixture.backup(BYTES).await.id;
    pair.lose(&id).await;
    let storage: Arc<dyn Storage> = Arc::new(pair.both.clone());
    let locked = Repository::open(storage, pair.fixture.environment.clone()).await.unwrap();
    let catalogue = ops::catalogue_of_places(&locked, &pair.both).await.unwrap();
    assert_eq!((catalogue.entries.len(), catalogue.problems), (0, Vec::new()));
}
