//! Several places as one, with places that fail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use erpgo_dr_core::conformance::faulty::{Effect, Fault, FaultyStorage, Operation};
use erpgo_dr_core::conformance::storage::{pattern, run};
use erpgo_dr_core::storage::{
    LocalStorage, ObjectStorage, PutOptions, RepairCopy, RepairJudge, RepairOptions, ReplicatedStorage, Storage,
    StorageError, StorageExt as _, WritePolicy, open,
};
use erpgo_dr_core::types::{ContentHash, ObjectKey};
use erpgo_dr_testkit::SeaweedFs;
use futures::TryStreamExt as _;

use crate::places::{self, key};

const MIB: usize = 1 << 20;

/// A replicated place over memory, and each of its places for a look or a fault.
struct Three {
    storage: ReplicatedStorage,
    places: [FaultyStorage; 3],
}

fn three(policy: WritePolicy) -> Three {
    let places = std::array::from_fn(|_| FaultyStorage::new(Arc::new(ObjectStorage::memory())));
    let [primary, first, second] = places.each_ref().map(|place| Arc::new(place.clone()) as Arc<dyn Storage>);
    Three { storage: ReplicatedStorage::new(primary, vec![first, second], policy), places }
}

impl Three {
    async fn holders(&self, name: &str) -> Vec<usize> {
        let mut holders = Vec::new();
        for (number, place) in self.places.iter().enumerate() {
            if place.head(&key(name)).await.is_ok() {
                holders.push(number);
            }
        }
        holders
    }

    async fn put(&self, name: &str, data: &Bytes) -> Result<(), StorageError> {
        self.storage.write(&key(name), data.clone(), &PutOptions::default()).await.map(drop)
    }
}

/// Takes the copy with these bytes for right.
struct Knows(Bytes);

#[async_trait]
impl RepairJudge for Knows {
    fn is_wanted(&self, key: &ObjectKey) -> bool {
        !key.is_under("state")
    }

    async fn choose(&self, key: &ObjectKey, copies: &[RepairCopy]) -> Option<usize> {
        for (number, copy) in copies.iter().enumerate() {
            if copy.hash.is_none_or(|hash| hash == ContentHash::of(&self.0))
                && copy.storage.read(key, 64 * MIB).await.ok().as_ref() == Some(&self.0)
            {
                return Some(number);
            }
        }
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn local_and_memory_conform() {
    let folder = tempfile::tempdir().unwrap();
    let local = Arc::new(LocalStorage::open(folder.path()).unwrap());
    let memory = Arc::new(ObjectStorage::memory());
    let storage = ReplicatedStorage::new(local, vec![memory.clone()], WritePolicy::All);
    run(Arc::new(storage.clone())).await;
    assert!(storage.take_missed_writes().is_empty());
    assert!(memory.list("").try_next().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn local_and_s3_conform() {
    let folder = tempfile::tempdir().unwrap();
    let server = SeaweedFs::start();
    server.create_bucket("second");
    let s3 = open(&"s3://second/copy".parse().unwrap(), &places::seaweedfs(&server.endpoint())).unwrap();
    let local = Arc::new(LocalStorage::open(folder.path()).unwrap());
    let storage = ReplicatedStorage::new(local, vec![s3], WritePolicy::Primary);
    run(Arc::new(storage.clone())).await;
    assert_eq!(storage.take_missed_writes(), []);
}

#[tokio::test]
async fn a_secondary_that_fails_at_any_step_is_left_behind_and_named() {
    for step in [Operation::Put, Operation::Write, Operation::Finish] {
        let three = three(WritePolicy::Primary);
        three.places[1].inject(Fault::new(step, Effect::NoSpace));
        three.put("packs/a", &pattern(3 * MIB, 1)).await.unwrap();
        assert_eq!(three.holders("packs/a").await, [0, 2], "{step:?}");
        let missed = three.storage.take_missed_writes();
        assert_eq!(missed.len(), 1);
        assert_eq!(missed[0].key, key("packs/a"));
        assert!(missed[0].error.contains("no space left"), "{}", missed[0].error);
        assert!(three.storage.take_missed_writes().is_empty(), "told once");
    }
}

#[tokio::test]
async fn a_primary_that_fails_fails_the_write_and_no_other_place_shows_it() {
    for step in [Operation::Put, Operation::Write, Operation::Finish] {
        let three = three(WritePolicy::Primary);
        three.places[0].inject(Fault::new(step, Effect::PermissionDenied));
        let error = three.put("packs/a", &pattern(3 * MIB, 1)).await.unwrap_err();
        assert!(matches!(error, StorageError::PermissionDenied { .. }), "{error:?}");
        assert_eq!(three.holders("packs/a").await, [0; 0], "{step:?}");
        assert!(three.storage.take_missed_writes().is_empty());
    }
}

#[tokio::test]
async fn the_strict_policy_fails_and_says_how_many_have_it() {
    let three = three(WritePolicy::All);
    three.places[2].inject(Fault::new(Operation::Finish, Effect::Unavailable));
    let error = three.put("a", &pattern(10, 1)).await.unwrap_err();
    assert!(matches!(&error, StorageError::Degraded { durable: 2, places: 3, .. }), "{error:?}");
    three.places[2].heal();
    three.places[1].inject(Fault::new(Operation::Put, Effect::Unavailable));
    let error = three.storage.create(&key("b"), Bytes::from_static(b"b")).await.unwrap_err();
    assert!(matches!(error, StorageError::Degraded { durable: 2, .. }));
    assert_eq!(three.holders("b").await, [0, 2]);
}

#[tokio::test]
async fn a_secondary_that_hangs_does_not_hold_up_a_backup_for_ever() {
    let three = three(WritePolicy::Primary);
    let storage = three.storage.clone().with_patience(Duration::from_millis(50));
    three.places[1].inject(Fault::new(Operation::Write, Effect::Hang));
    storage.write(&key("a"), pattern(10, 1), &PutOptions::default()).await.unwrap();
    three.places[2].inject(Fault::new(Operation::Put, Effect::Hang));
    storage.create(&key("b"), Bytes::new()).await.unwrap();
    let missed: Vec<_> = storage.take_missed_writes().into_iter().map(|write| write.key.to_string()).collect();
    assert_eq!(missed, ["a", "b", "b"]);
}

#[tokio::test]
async fn the_primary_alone_decides_who_created() {
    let three = three(WritePolicy::Primary);
    three.places[1].write(&key("lock"), Bytes::from_static(b"stale"), &PutOptions::default()).await.unwrap();
    three.storage.create(&key("lock"), Bytes::from_static(b"mine")).await.unwrap();
    assert!(matches!(three.storage.create(&key("lock"), Bytes::new()).await, Err(StorageError::AlreadyExists { .. })));
    assert_eq!(three.places[1].read(&key("lock"), 10).await.unwrap(), "mine");
    three.places[0].inject(Fault::new(Operation::Create, Effect::Unavailable));
    assert!(three.storage.create(&key("other"), Bytes::new()).await.is_err());
    assert_eq!(three.holders("other").await, [0; 0]);
}

#[tokio::test]
async fn a_read_goes_on_where_another_broke_off() {
    let three = three(WritePolicy::Primary);
    let data = pattern(20 * MIB + 5, 2);
    three.put("a", &data).await.unwrap();
    three.places[0].inject(Fault::new(Operation::Get, Effect::CutAfter(3 * MIB as u64 + 7)));
    three.places[1].inject(Fault::new(Operation::Get, Effect::CutAfter(MIB as u64)));
    assert!(three.storage.read(&key("a"), data.len()).await.unwrap() == data);
    let middle: Vec<Bytes> =
        three.storage.get(&key("a"), Some(100..9 * MIB as u64)).await.unwrap().try_collect().await.unwrap();
    assert!(middle.concat() == data[100..9 * MIB]);
    three.places[2].inject(Fault::new(Operation::Get, Effect::Unavailable));
    let error = three.storage.read(&key("a"), data.len()).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_read_finds_what_one_place_lost_and_believes_in_absence_only_if_all_agree() {
    let three = three(WritePolicy::Primary);
    three.put("a", &pattern(100, 3)).await.unwrap();
    three.places[0].delete(&key("a")).await.unwrap();
    assert_eq!(three.storage.read(&key("a"), 100).await.unwrap(), pattern(100, 3));
    assert!(matches!(three.storage.head(&key("a")).await, Err(StorageError::NotFound { .. })), "the primary decides");
    assert!(matches!(three.storage.read(&key("b"), 1).await, Err(StorageError::NotFound { .. })));
    three.places[1].inject(Fault::new(Operation::Get, Effect::Unavailable));
    let error = three.storage.read(&key("b"), 1).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "the second might have it: {error:?}");
}

#[tokio::test]
async fn without_its_primary_a_place_can_be_read_but_nothing_be_deleted() {
    let three = three(WritePolicy::Primary);
    three.places[1].inject(Fault::new(Operation::Put, Effect::Unavailable).times(1));
    three.put("a", &pattern(1, 1)).await.unwrap();
    three.put("b", &pattern(2, 1)).await.unwrap();
    three.places[2].delete(&key("b")).await.unwrap();
    for operation in [Operation::List, Operation::Head, Operation::Get] {
        three.places[0].inject(Fault::new(operation, Effect::Unavailable));
    }
    let mut names: Vec<_> = three.storage.list("").map_ok(|meta| meta.key.to_string()).try_collect().await.unwrap();
    names.sort_unstable();
    assert_eq!(names, ["a", "b"], "the union, each once");
    assert_eq!(three.storage.head(&key("a")).await.unwrap().size, 1);
    let error = three.storage.delete(&key("a")).await.unwrap_err();
    assert!(matches!(error, StorageError::Failed { action: "delete", .. }), "{error:?}");
    three.places[1].inject(Fault::new(Operation::List, Effect::Unavailable));
    assert!(three.storage.list("").try_collect::<Vec<_>>().await.is_err(), "a part must not pass for the whole");
}

#[tokio::test]
async fn deletes_go_on_when_the_primary_has_answered_for_what_it_was_asked_without_it() {
    let three = three(WritePolicy::Primary);
    for name in ["packs/1/a", "packs/2/b", "backups/c"] {
        three.put(name, &pattern(1, 1)).await.unwrap();
    }
    let list = async |prefix: &str| three.storage.list(prefix).try_collect::<Vec<_>>().await.unwrap();
    three.places[0].inject(Fault::new(Operation::List, Effect::Unavailable));
    list("packs/1").await;
    list("backups").await;
    three.places[0].heal();
    let refused = |outcome: Result<(), StorageError>, folder: &str| {
        let error = outcome.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(matches!(error, StorageError::Failed { action: "delete", .. }) && source.contains(folder), "{source}");
    };
    refused(three.storage.delete(&key("packs/2/b")).await, "backups");
    list("packs/2").await;
    list("backups").await;
    refused(three.storage.delete(&key("packs/2/b")).await, "packs/1");
    // The beginning of a list says nothing of its rest.
    three.storage.list("packs").try_next().await.unwrap();
    refused(three.storage.delete(&key("packs/2/b")).await, "packs/1");
    list("packs").await;
    three.storage.delete(&key("packs/2/b")).await.unwrap();
    assert_eq!(three.holders("packs/2/b").await, [0; 0]);
}

#[tokio::test]
async fn a_delete_that_a_secondary_missed_is_named_and_one_that_the_primary_refused_is_none() {
    let three = three(WritePolicy::Primary);
    three.put("a", &pattern(1, 1)).await.unwrap();
    three.places[0].inject(Fault::new(Operation::Delete, Effect::Unavailable).times(1));
    assert!(three.storage.delete(&key("a")).await.is_err());
    assert_eq!(three.holders("a").await, [0, 1, 2]);
    three.places[2].inject(Fault::new(Operation::Delete, Effect::Unavailable));
    three.storage.delete(&key("a")).await.unwrap();
    assert_eq!(three.holders("a").await, [2]);
    assert_eq!(three.storage.take_missed_writes().len(), 1);
}

#[tokio::test]
async fn a_repair_copies_what_is_missing_and_what_is_wrong_and_leaves_the_rest_alone() {
    let three = three(WritePolicy::Primary);
    let right = pattern(3 * MIB, 4);
    for name in ["packs/a", "packs/b", "packs/c", "packs/lost", "state/lease"] {
        three.put(name, &right).await.unwrap();
    }
    let put = async |place: usize, name: &str, data: Bytes| {
        three.places[place].write(&key(name), data, &PutOptions::default()).await.unwrap();
    };
    three.places[0].delete(&key("packs/a")).await.unwrap();
    put(1, "packs/b", right.slice(..100)).await;
    put(0, "packs/c", pattern(3 * MIB, 99)).await;
    for place in 0..3 {
        put(place, "packs/lost", pattern(3 * MIB + place, 5)).await;
    }
    let judge = Knows(right.clone());

    let shallow = three.storage.plan_repair(&RepairOptions::default(), &judge).await.unwrap();
    let actions: Vec<_> = shallow.actions.iter().map(|a| (a.key.as_str(), a.from, a.to, a.replaces)).collect();
    assert_eq!(actions, [("packs/a", 1, 0, false), ("packs/b", 0, 1, true)], "sizes tell no more");
    let options = RepairOptions::default().with_deep(true).with_prefix("");
    let deep = three.storage.plan_repair(&options, &judge).await.unwrap();
    let actions: Vec<_> = deep.actions.iter().map(|a| (a.key.as_str(), a.from, a.to)).collect();
    assert_eq!(actions, [("packs/a", 1, 0), ("packs/b", 0, 1), ("packs/c", 1, 0)]);
    assert_eq!((deep.unresolved.clone(), deep.strays.clone()), (vec![key("packs/lost")], vec![key("state/lease")]));
    assert_eq!(three.holders("packs/a").await, [1, 2], "a plan changes nothing");

    three.places[1].inject(Fault::new(Operation::Finish, Effect::NoSpace).times(1));
    let report = three.storage.repair(&deep).await;
    assert_eq!((report.copied, report.bytes, report.failures.len()), (2, 6 * MIB as u64, 1));
    let report = three.storage.repair(&three.storage.plan_repair(&options, &judge).await.unwrap()).await;
    assert_eq!((report.copied, report.failures.len()), (1, 0));
    for place in &three.places {
        for name in ["packs/a", "packs/b", "packs/c"] {
            assert!(place.read(&key(name), 4 * MIB).await.unwrap() == right);
        }
    }
    let healthy = RepairOptions::default().with_deep(true).with_prefix("state");
    assert!(three.storage.plan_repair(&healthy, &judge).await.unwrap().is_healthy());
}

#[tokio::test]
async fn a_repair_does_not_copy_what_changed_since_its_plan() {
    let three = three(WritePolicy::Primary);
    let right = pattern(MIB, 4);
    three.put("a", &right).await.unwrap();
    three.places[2].delete(&key("a")).await.unwrap();
    let options = RepairOptions::default().with_deep(true);
    let plan = three.storage.plan_repair(&options, &Knows(right)).await.unwrap();
    three.places[0].inject(Fault::new(Operation::Get, Effect::FlipBit(MIB as u64 / 2)));
    let report = three.storage.repair(&plan).await;
    assert_eq!((report.copied, report.failures.len()), (0, 1));
    assert_eq!(three.holders("a").await, [0, 1]);
}

#[tokio::test]
async fn a_place_that_cannot_be_listed_is_left_out_of_a_repair_and_named() {
    let three = three(WritePolicy::Primary);
    three.put("a", &pattern(10, 4)).await.unwrap();
    three.places[2].delete(&key("a")).await.unwrap();
    three.places[0].inject(Fault::new(Operation::List, Effect::Unavailable));
    let plan = three.storage.plan_repair(&RepairOptions::default(), &Knows(pattern(10, 4))).await.unwrap();
    assert_eq!((plan.actions.len(), plan.failures.len(), plan.is_healthy()), (1, 1, false));
    assert_eq!((plan.actions[0].from, plan.actions[0].to), (1, 2));
}
