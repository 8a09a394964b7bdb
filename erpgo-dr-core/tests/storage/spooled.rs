//! A place with a spool at hand, while the place fails and afterwards.

mod hosts;
mod losses;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use erpgo_dr_core::conformance::faulty::{Effect, Fault, FaultyStorage, Operation};
use erpgo_dr_core::conformance::storage::run;
use erpgo_dr_core::storage::{
    LocalStorage, ObjectStorage, PutOptions, SpooledStorage, Storage, StorageError, StorageExt as _,
};
use futures::TryStreamExt as _;

use crate::places::key;

const MANY: usize = 1 << 20;
const ALL: [Operation; 4] = [Operation::Create, Operation::Get, Operation::Head, Operation::List];

/// A place that can fail, and a spool before it.
struct Pair {
    storage: SpooledStorage,
    place: FaultyStorage,
    spool: FaultyStorage,
}

impl Pair {
    fn new() -> Self {
        let [place, spool] = std::array::from_fn(|_| FaultyStorage::new(Arc::new(ObjectStorage::memory())));
        Self { storage: spooled(&place, &spool), place, spool }
    }

    /// The same places for another process, which knows nothing of what this one has found out.
    fn again(&self) -> SpooledStorage {
        spooled(&self.place, &self.spool)
    }

    fn cut(&self, effect: Effect) {
        ALL.into_iter().for_each(|operation| self.place.inject(Fault::new(operation, effect)));
    }
}

fn spooled(place: &FaultyStorage, spool: &FaultyStorage) -> SpooledStorage {
    let (place, spool) = (Arc::new(place.clone()), Arc::new(spool.clone()));
    SpooledStorage::new(place, spool, &["repo.json", "keys"], &["state/runs"]).with_patience(Duration::from_millis(200))
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

async fn names(storage: &dyn Storage, folder: &str) -> Vec<String> {
    let mut names: Vec<String> = storage.list(folder).map_ok(|meta| meta.key.to_string()).try_collect().await.unwrap();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_whatever_is_spooled() {
    for areas in [[&[][..], &["conformance"][..]], [&["conformance"], &[]], [&[], &[]]] {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(LocalStorage::open(folder.path().join("spool")).unwrap());
        let place = Arc::new(ObjectStorage::memory());
        run(Arc::new(SpooledStorage::new(place, spool, areas[0], areas[1]))).await;
    }
}

#[tokio::test]
async fn what_opens_a_repository_is_at_hand_while_its_place_fails() {
    for effect in [Effect::Unavailable, Effect::PermissionDenied, Effect::Hang] {
        let pair = Pair::new();
        for name in ["repo.json", "keys/a/first.age", "keys/a/second.age", "packs/x"] {
            pair.storage.write(&key(name), text("one"), &PutOptions::default()).await.unwrap();
        }
        pair.storage.refresh().await.unwrap();
        pair.storage.write(&key("keys/a/second.age"), text("two"), &PutOptions::default()).await.unwrap();
        pair.storage.delete(&key("keys/a/first.age")).await.unwrap();
        pair.storage.write(&key("keys/b/first.age"), text("three"), &PutOptions::default()).await.unwrap();
        pair.storage.refresh().await.unwrap();
        assert_eq!(names(&pair.spool, "").await, ["keys/a/second.age", "keys/b/first.age", "repo.json"]);

        pair.cut(effect);
        let (storage, before) = (pair.again(), pair.place.calls(Operation::Get));
        assert_eq!(storage.read(&key("repo.json"), MANY).await.unwrap(), "one", "{effect:?}");
        assert!(storage.is_away());
        assert_eq!(names(&storage, "keys").await, ["keys/a/second.age", "keys/b/first.age"]);
        assert_eq!(storage.read(&key("keys/a/second.age"), MANY).await.unwrap(), "two");
        assert!(storage.read(&key("keys/c"), MANY).await.is_err());
        assert!(storage.refresh().await.is_err());
        assert_eq!(pair.place.calls(Operation::Get), before + 1, "{effect:?}: it is asked once, and then left alone");
        pair.place.heal();
        assert_eq!(names(&pair.spool, "keys").await.len(), 2, "nothing is forgotten because the place failed");
    }
}

#[tokio::test]
async fn what_is_created_while_the_place_fails_waits_and_arrives_in_order() {
    let pair = Pair::new();
    let entry = |number: u32| key(&format!("state/runs/r/{number:06}"));
    pair.storage.create(&entry(0), text("zero")).await.unwrap();
    assert_eq!(names(&pair.place, "state").await.len(), 1);
    pair.cut(Effect::Unavailable);
    for number in 1..4 {
        pair.storage.create(&entry(number), text("more")).await.unwrap();
    }
    assert!(matches!(pair.storage.create(&entry(2), text("more")).await, Err(StorageError::AlreadyExists { .. })));
    assert_eq!(names(&pair.storage, "state/runs/r").await.len(), 4, "what waits is listed");
    assert_eq!(pair.storage.read(&entry(3), MANY).await.unwrap(), "more");
    assert!(pair.again().deliver().await.is_err(), "nothing is called delivered that is not");

    pair.place.heal();
    let another = pair.again();
    assert_eq!(names(&another, "state/runs").await.len(), 4, "the list is that of both");
    assert_eq!(another.read(&entry(3), MANY).await.unwrap(), "more", "what only the spool has is read there");
    let delivery = another.deliver().await.unwrap();
    assert_eq!(delivery.delivered, [entry(1), entry(2), entry(3)]);
    assert_eq!(names(&pair.place, "state/runs").await.len(), 4);
    assert!(another.deliver().await.unwrap().delivered.is_empty());
}

#[tokio::test]
async fn a_place_that_is_back_gets_what_waits_with_the_next_entry() {
    let pair = Pair::new();
    pair.place.inject(Fault::new(Operation::Create, Effect::Unavailable).times(1));
    pair.storage.create(&key("state/runs/r/0"), text("zero")).await.unwrap();
    pair.storage.create(&key("state/runs/r/1"), text("one")).await.unwrap();
    assert!(names(&pair.place, "").await.is_empty(), "it is left alone for a while");
    let mut number = 2;
    while names(&pair.place, "").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        pair.storage.create(&key(&format!("state/runs/r/{number}")), text("more")).await.unwrap();
        number += 1;
    }
    assert_eq!(names(&pair.place, "").await.len(), number, "those before it come first");
}

#[tokio::test]
async fn an_answer_that_gets_lost_is_no_other_entry() {
    let pair = Pair::new();
    pair.place.inject(Fault::new(Operation::Create, Effect::LostAnswer).times(1));
    pair.storage.create(&key("state/runs/r/0"), text("zero")).await.unwrap();
    let delivery = pair.again().deliver().await.unwrap();
    assert!(delivery.diverged.is_empty());
    assert_eq!(pair.place.read(&key("state/runs/r/0"), MANY).await.unwrap(), "zero");
}

#[tokio::test]
async fn who_comes_second_is_told_whichever_place_knows() {
    let pair = Pair::new();
    let entry = key("state/runs/r/0");
    pair.place.create(&entry, text("theirs")).await.unwrap();
    let second = pair.storage.create(&entry, text("ours")).await;
    assert!(matches!(second, Err(StorageError::AlreadyExists { .. })), "{second:?}");
    assert!(names(&pair.spool, "").await.is_empty(), "nothing of what was refused lies about");
    assert_eq!(pair.storage.read(&entry, MANY).await.unwrap(), "theirs");
}

#[tokio::test]
async fn two_hosts_that_went_on_apart_are_both_kept_and_named() {
    let pair = Pair::new();
    let entry = key("state/runs/r/0");
    pair.cut(Effect::Unavailable);
    pair.storage.create(&entry, text("ours")).await.unwrap();
    pair.place.heal();
    pair.place.create(&entry, text("theirs")).await.unwrap();
    let spooled = pair.again();
    assert_eq!(spooled.deliver().await.unwrap().diverged, std::slice::from_ref(&entry));
    assert_eq!(spooled.read(&entry, MANY).await.unwrap(), "theirs");
    assert_eq!(pair.spool.read(&key("diverged/state/runs/r/0"), MANY).await.unwrap(), "ours");
    assert_eq!(spooled.deliver().await.unwrap().diverged, []);
}

#[tokio::test]
async fn a_spool_that_fails_does_not_stop_what_the_place_takes() {
    let pair = Pair::new();
    pair.spool.inject(Fault::new(Operation::Create, Effect::NoSpace));
    pair.storage.create(&key("state/runs/r/0"), text("zero")).await.unwrap();
    assert_eq!(names(&pair.place, "").await.len(), 1);
    pair.cut(Effect::Unavailable);
    assert!(pair.storage.create(&key("state/runs/r/1"), text("one")).await.is_err(), "nobody has it");
}

#[tokio::test]
async fn all_else_is_the_places_own() {
    let pair = Pair::new();
    pair.storage.create(&key("state/leases/a"), text("x")).await.unwrap();
    assert!(names(&pair.spool, "").await.is_empty());
    pair.cut(Effect::Unavailable);
    assert!(pair.storage.create(&key("state/leases/b"), text("x")).await.is_err());
    assert!(pair.storage.read(&key("state/leases/a"), MANY).await.is_err());
    assert!(!pair.storage.is_away());
}

#[tokio::test]
async fn what_was_mirrored_on_its_first_day_is_not_read_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let [place, spool] = ["place", "spool"].map(|name| folder.path().join(name));
    let storage = LocalStorage::open(&place).unwrap();
    storage.prepare().await.unwrap();
    let place_storage = FaultyStorage::new(Arc::new(storage));
    let spool_storage = Arc::new(LocalStorage::open(&spool).unwrap());
    let storage = SpooledStorage::new(Arc::new(place_storage.clone()), spool_storage, &["keys"], &[]);
    storage.write(&key("keys/a/slot.age"), text("one"), &PutOptions::default()).await.unwrap();
    storage.refresh().await.unwrap();
    // Three days ago it was made, and copied within the hour.
    let made = std::time::SystemTime::now() - Duration::from_secs(3 * 24 * 3600);
    for (root, age) in [(&place, 0), (&spool, 3600)] {
        let file = std::fs::File::options().write(true).open(root.join("keys/a/slot.age")).unwrap();
        file.set_modified(made + Duration::from_secs(age)).unwrap();
    }
    let before = place_storage.calls(Operation::Get);
    storage.refresh().await.unwrap();
    assert_eq!(place_storage.calls(Operation::Get), before + 1, "it may have been changed since, by another clock");
    storage.refresh().await.unwrap();
    assert_eq!(place_storage.calls(Operation::Get), before + 1, "and then that is known");
}
