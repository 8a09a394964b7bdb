//! A place that is not what it was: brought back as it was before, or another one.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A spool on disk, of which the age of what lies there can be set.
struct OnDisk {
    folder: tempfile::TempDir,
    place: FaultyStorage,
}

impl OnDisk {
    fn new() -> Self {
        let place = FaultyStorage::new(Arc::new(ObjectStorage::memory()));
        Self { folder: tempfile::tempdir().unwrap(), place }
    }

    fn process(&self) -> SpooledStorage {
        let spool = FaultyStorage::new(Arc::new(LocalStorage::open(self.folder.path()).unwrap()));
        spooled(&self.place, &spool)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

fn set_age(file: &Path, age: Duration) {
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[tokio::test]
async fn what_a_place_has_lost_is_delivered_again() {
    let pair = Pair::new();
    let entry = |number: u32| key(&format!("state/runs/r/{number:06}"));
    for number in 0..4 {
        pair.storage.create(&entry(number), text("ours")).await.unwrap();
    }
    assert_eq!(pair.again().deliver().await.unwrap(), Default::default());
    for number in 2..4 {
        pair.place.delete(&entry(number)).await.unwrap();
    }
    assert_eq!(pair.again().deliver().await.unwrap().delivered, [entry(2), entry(3)]);
    assert_eq!(names(&pair.place, "state").await.len(), 4);
}

#[tokio::test]
async fn only_what_the_place_still_has_is_cleared_away() {
    let (desk, entry) = (OnDisk::new(), key("state/runs/r/000000"));
    desk.process().create(&entry, text("ours")).await.unwrap();
    set_age(&desk.file(entry.as_str()), 40 * DAY);
    desk.place.delete(&entry).await.unwrap();
    desk.place.inject(Fault::new(Operation::Create, Effect::Unavailable));
    assert!(desk.process().deliver().await.is_err());
    assert!(desk.file(entry.as_str()).exists());
    desk.place.heal();
    assert_eq!(desk.process().deliver().await.unwrap().delivered, std::slice::from_ref(&entry));
    desk.process().deliver().await.unwrap();
    assert!(!desk.file(entry.as_str()).exists());
    assert_eq!(desk.place.read(&entry, MANY).await.unwrap(), "ours");
}

#[tokio::test]
async fn a_mark_whose_writer_is_gone_goes_in_time() {
    let desk = OnDisk::new();
    let mark = "waiting/state/runs/r/000000";
    let spool = LocalStorage::open(desk.folder.path()).unwrap();
    spool.write(&key(mark), Bytes::new(), &PutOptions::default()).await.unwrap();
    desk.process().deliver().await.unwrap();
    assert!(desk.file(mark).exists());
    set_age(&desk.file(mark), DAY);
    desk.process().deliver().await.unwrap();
    assert!(!desk.file(mark).exists());
}

#[tokio::test]
async fn a_place_without_its_landmark_is_away_and_gets_nothing() {
    for there in [None, Some("another")] {
        let pair = Pair::new();
        let known = |storage: SpooledStorage| storage.with_landmark(key("repo.json"), |known, found| known == found);
        for name in ["repo.json", "keys/a"] {
            pair.spool.write(&key(name), text("one"), &PutOptions::default()).await.unwrap();
        }
        if let Some(there) = there {
            pair.place.write(&key("repo.json"), text(there), &PutOptions::default()).await.unwrap();
        }
        let (storage, before) = (known(pair.again()), names(&pair.place, "").await);
        assert_eq!(storage.read(&key("repo.json"), MANY).await.unwrap(), "one");
        assert_eq!(names(&storage, "keys").await, ["keys/a"]);
        assert!(storage.is_away());
        storage.create(&key("state/runs/r/0"), text("ours")).await.unwrap();
        let all_else = storage.create(&key("state/leases/a"), text("x")).await;
        assert!(matches!(all_else, Err(StorageError::FolderReplaced { .. })), "{all_else:?}");
        assert!(storage.write(&key("packs/x"), text("x"), &PutOptions::default()).await.is_err());
        assert!(known(pair.again()).deliver().await.is_err());
        assert!(known(pair.again()).refresh().await.is_err());
        assert_eq!(names(&pair.place, "").await, before);

        pair.place.write(&key("repo.json"), text("one"), &PutOptions::default()).await.unwrap();
        assert_eq!(known(pair.again()).deliver().await.unwrap().delivered, [key("state/runs/r/0")]);
        while storage.is_away() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        storage.create(&key("state/leases/a"), text("x")).await.unwrap();
        storage.create(&key("state/runs/r/1"), text("ours")).await.unwrap();
        assert_eq!(names(&pair.place, "state/runs").await.len(), 2, "it is asked again");
    }
}
