//! What the primary place lost and another still has is named, and is no secret that only repair finds out.

use std::sync::Arc;

use chrono::TimeDelta;
use erpgo_dr_core::ops::{self, PruneOptions};
use erpgo_dr_core::repository::CatalogueProblem;
use erpgo_dr_core::retention::KeepLast;
use erpgo_dr_core::storage::{PutOptions, RepairOptions, ReplicatedStorage, StorageExt as _, WritePolicy};
use erpgo_dr_core::types::{BackupId, ObjectKey};
use erpgo_dr_core::{Repository, Storage};
use futures::TryStreamExt as _;

use super::support::{DyingStorage, Fixture, NO_PROGRESS, memory};

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

impl Pair {
    async fn keys(&self, place: usize) -> Vec<String> {
        let found: Vec<_> =
            self.places[place].list("").map_ok(|meta| meta.key.to_string()).try_collect().await.unwrap();
        let mut keys: Vec<String> = found.into_iter().filter(|key| !key.starts_with("state/leases")).collect();
        keys.sort();
        keys
    }

    /// Prunes while a place loses its power after so many changes. Returns whether the prune came to its end before.
    async fn prune_until_dead(&self, place: usize, changes: i64) -> bool {
        let mut places = self.places.clone();
        let (dying, left) = DyingStorage::after(places[place].clone(), changes);
        places[place] = dying;
        let both = ReplicatedStorage::new(places[0].clone(), vec![places[1].clone()], WritePolicy::Primary);
        let repository = self.fixture.open_at(Arc::new(both)).await.unwrap();
        let options = PruneOptions::default().with_grace(TimeDelta::zero());
        let _ = ops::prune(&repository, &KeepLast(1), &options, NO_PROGRESS).await;
        left.load(std::sync::atomic::Ordering::SeqCst) >= 0
    }

    /// A prune that died has left its lease behind, which would lapse only in ten minutes.
    async fn lapse_leases(&self) {
        for place in &self.places {
            let found: Vec<_> = place.list("state/leases").try_collect().await.unwrap();
            for meta in found {
                place.delete(&meta.key).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_prune_that_dies_at_either_place_at_any_moment_leaves_nothing_once_repaired() {
    for place in [0, 1] {
        let mut left_strays = 0;
        for changes in 0.. {
            let pair = Pair::new().await;
            let old = pair.fixture.backup(BYTES).await.id;
            let new = pair.fixture.backup(BYTES).await.id;
            // The last, so that no other names it.
            let dead = pair.fixture.backup(BYTES).await.id;
            for place in &pair.places {
                place.delete(&format!("backups/{dead}/summary").parse().unwrap()).await.unwrap();
            }
            let done = pair.prune_until_dead(place, changes).await;
            pair.lapse_leases().await;
            pair.prune_to_one().await;
            let repository = pair.fixture.open().await;
            let options = RepairOptions::default();
            let outcome = ops::repair(&repository, &pair.both, &options, false, NO_PROGRESS).await.unwrap();
            let report = outcome.report.unwrap();
            left_strays += report.removed;
            assert_eq!(report.failures, []);
            for place in [0, 1] {
                let keys = pair.keys(place).await;
                let of = |id: &BackupId| keys.iter().filter(|key| key.contains(id.as_str())).collect::<Vec<_>>();
                let kept: Vec<_> = of(&old).into_iter().filter(|key| !key.starts_with("state/expired")).collect();
                assert!(kept.is_empty(), "after {changes} changes: {kept:?}");
                // The mark lies where a commit is decided; whether others have it too is of no account.
                let mark = format!("backups/{dead}/summary");
                let left: Vec<_> = of(&dead).into_iter().filter(|key| **key != mark).collect();
                assert!(left.is_empty(), "after {changes} changes: {left:?}");
                assert!(place == 1 || keys.contains(&mark), "after {changes} changes: the mark");
                assert!(of(&new).len() >= 3, "after {changes} changes: {keys:?}");
            }
            assert_eq!(pair.problems().await, []);
            if done {
                break;
            }
        }
        assert!(left_strays > 0, "at place {place} no prune died between the two");
    }
}

#[tokio::test]
async fn a_place_that_lacks_what_it_should_have_is_named() {
    let pair = Pair::new().await;
    let old = pair.fixture.backup(BYTES).await.id;
    let new = pair.fixture.backup(BYTES).await.id;
    for place in [0, 1] {
        let part: ObjectKey = format!("dumps/{new}/0000-0000").parse().unwrap();
        let stored = pair.places[place].read(&part, 1 << 20).await.unwrap();
        for cut in [None, Some(stored.slice(..100))] {
            pair.places[place].delete(&part).await.unwrap();
            if let Some(cut) = cut {
                pair.places[place].write(&part, cut, &PutOptions::default()).await.unwrap();
            }
            let problems = pair.problems().await;
            let [problem] = problems.as_slice() else { panic!("{problems:?}") };
            assert_eq!(problem.subject, pair.places[place].location());
            assert!(
                problem.problem.contains("1 objects of 1 backups") && problem.problem.contains(new.as_str()),
                "{problem:?}"
            );
        }
        pair.places[place].write(&part, stored, &PutOptions::default()).await.unwrap();
        assert_eq!(pair.problems().await, []);
    }
    // The second disk was replaced by an empty one.
    for meta in pair.places[1].list("").try_collect::<Vec<_>>().await.unwrap() {
        pair.places[1].delete(&meta.key).await.unwrap();
    }
    let problems = pair.problems().await;
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(problem.problem.contains("none of the 2 backups"), "{problem:?}");
    let repository = pair.fixture.open().await;
    ops::repair(&repository, &pair.both, &RepairOptions::default(), false, NO_PROGRESS).await.unwrap();
    assert_eq!(pair.problems().await, []);
    assert!(pair.places[1].head(&format!("backups/{old}/summary").parse().unwrap()).await.is_ok());
}
