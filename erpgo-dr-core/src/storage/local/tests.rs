use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use futures::TryStreamExt as _;

use super::*;
use crate::storage::StorageExt as _;

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn nowhere() -> (tempfile::TempDir, LocalStorage) {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalStorage::open(folder.path().join("repo/here")).unwrap();
    (folder, storage)
}

async fn place() -> (tempfile::TempDir, LocalStorage) {
    let (folder, storage) = nowhere();
    storage.prepare().await.unwrap();
    (folder, storage)
}

fn unfinished(storage: &LocalStorage) -> usize {
    std::fs::read_dir(storage.root().join(files::TEMPORARY_FOLDER)).map_or(0, Iterator::count)
}

/// Does each thing once, and returns what came of it.
async fn all_outcomes(storage: &LocalStorage) -> Vec<(&'static str, Result<(), StorageError>)> {
    let a = &key("a");
    vec![
        ("put", storage.write(a, Bytes::from_static(b"x"), &PutOptions::default()).await.map(drop)),
        ("create", storage.create(&key("b/c"), Bytes::new()).await.map(drop)),
        ("get", storage.get(a, None).await.map(drop)),
        ("head", storage.head(a).await.map(drop)),
        ("list", storage.list("").try_collect::<Vec<_>>().await.map(drop)),
        ("list of a folder", storage.list("b").try_collect::<Vec<_>>().await.map(drop)),
        ("sweep", storage.sweep(Utc::now()).await.map(drop)),
        ("delete", storage.delete(&key("b/c")).await),
    ]
}

#[tokio::test]
async fn nothing_but_prepare_makes_the_folder() {
    let (_folder, storage) = nowhere();
    for (action, outcome) in all_outcomes(&storage).await {
        assert!(matches!(outcome, Err(StorageError::FolderMissing { .. })), "{action}: {outcome:?}");
    }
    assert!(!storage.root().parent().unwrap().exists());
    storage.prepare().await.unwrap();
    storage.prepare().await.unwrap();
    for (action, outcome) in all_outcomes(&storage).await {
        assert!(outcome.is_ok(), "{action}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_folder_that_goes_away_is_not_made_again_and_serves_when_it_is_back() {
    let (folder, storage) = place().await;
    let away = folder.path().join("away");
    storage.write(&key("kept"), Bytes::from_static(b"kept"), &PutOptions::default()).await.unwrap();
    let mut slow = storage.put(&key("slow"), &PutOptions::default()).await.unwrap();
    slow.write(Bytes::from_static(b"slow")).await.unwrap();

    std::fs::rename(storage.root(), &away).unwrap();
    assert!(matches!(slow.finish().await, Err(StorageError::FolderMissing { .. })));
    assert!(matches!(storage.prepare().await, Err(StorageError::FolderMissing { .. })));
    for (action, outcome) in all_outcomes(&storage).await {
        assert!(matches!(outcome, Err(StorageError::FolderMissing { .. })), "{action}: {outcome:?}");
    }
    assert!(!storage.root().exists());

    // What shows where a disk was mounted.
    std::fs::create_dir(storage.root()).unwrap();
    assert!(matches!(storage.prepare().await, Err(StorageError::FolderReplaced { .. })));
    for (action, outcome) in all_outcomes(&storage).await {
        assert!(matches!(outcome, Err(StorageError::FolderReplaced { .. })), "{action}: {outcome:?}");
    }
    assert_eq!(std::fs::read_dir(storage.root()).unwrap().count(), 0);

    std::fs::remove_dir(storage.root()).unwrap();
    std::fs::rename(&away, storage.root()).unwrap();
    for (action, outcome) in all_outcomes(&storage).await {
        assert!(outcome.is_ok(), "{action}: {outcome:?}");
    }
    assert_eq!(storage.read(&key("kept"), 10).await.unwrap(), "kept");
}

#[tokio::test]
async fn files_and_folders_are_for_their_owner_alone() {
    let (_folder, storage) = place().await;
    storage.write(&key("packs/ab/c"), Bytes::from_static(b"x"), &PutOptions::default()).await.unwrap();
    storage.create(&key("packs/cd/e"), Bytes::from_static(b"y")).await.unwrap();
    let mode = |path: &str| std::fs::metadata(storage.root().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("packs"), mode("packs/ab"), mode("~tmp")), (0o700, 0o700, 0o700, 0o700));
    assert_eq!((mode("packs/ab/c"), mode("packs/cd/e")), (0o600, 0o600));
}

#[tokio::test]
async fn nothing_is_left_of_writes_that_were_dropped_aborted_or_lost_the_race() {
    let (_folder, storage) = place().await;
    storage.create(&key("a"), Bytes::from_static(b"first")).await.unwrap();
    assert!(storage.create(&key("a"), Bytes::from_static(b"second")).await.is_err());
    let mut writer = storage.put(&key("b"), &PutOptions::default()).await.unwrap();
    writer.write(Bytes::from(vec![0; 3 << 20])).await.unwrap();
    writer.abort().await.unwrap();
    let mut writer = storage.put(&key("b"), &PutOptions::default()).await.unwrap();
    writer.write(Bytes::from(vec![0; 3 << 20])).await.unwrap();
    assert_eq!(unfinished(&storage), 1);
    drop(writer);
    // The write that was under way ends on its own.
    for _ in 0..100 {
        if unfinished(&storage) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(unfinished(&storage), 0);
}

#[tokio::test]
async fn a_sweep_spares_the_young_and_the_living() {
    let (_folder, storage) = place().await;
    let mut living = storage.put(&key("living"), &PutOptions::default()).await.unwrap();
    living.write(Bytes::from_static(b"slow")).await.unwrap();
    let dead = storage.root().join("~tmp/dead");
    std::fs::write(&dead, b"left by a crash").unwrap();
    storage.write(&key("gone/x"), Bytes::new(), &PutOptions::default()).await.unwrap();
    storage.write(&key("kept/x"), Bytes::new(), &PutOptions::default()).await.unwrap();
    storage.delete(&key("gone/x")).await.unwrap();

    let before = Utc::now() - Duration::from_secs(3600);
    assert_eq!(storage.sweep(before).await.unwrap(), 0);
    assert!(dead.exists() && storage.root().join("gone").exists());
    let after = Utc::now() + Duration::from_secs(5);
    assert_eq!(storage.sweep(after).await.unwrap(), 1);
    assert!(!dead.exists() && !storage.root().join("gone").exists() && storage.root().join("kept").exists());

    living.finish().await.unwrap();
    assert_eq!(storage.read(&key("living"), 10).await.unwrap(), "slow");
    storage.write(&key("gone/x"), Bytes::from_static(b"back"), &PutOptions::default()).await.unwrap();
    assert_eq!(storage.read(&key("gone/x"), 10).await.unwrap(), "back");
}

#[tokio::test]
async fn what_is_not_ours_is_not_listed_and_a_link_is_an_error() {
    let (_folder, storage) = place().await;
    storage.write(&key("a"), Bytes::new(), &PutOptions::default()).await.unwrap();
    std::fs::write(storage.root().join("b~"), b"an editor's").unwrap();
    std::fs::create_dir(storage.root().join("lost+found")).unwrap();
    let names: Vec<_> = storage.list("").map_ok(|meta| meta.key.to_string()).try_collect().await.unwrap();
    assert_eq!(names, ["a"]);
    std::os::unix::fs::symlink("/etc/hostname", storage.root().join("c")).unwrap();
    assert!(matches!(storage.list("").try_collect::<Vec<_>>().await, Err(StorageError::Failed { .. })));
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_is_a_short_read() {
    let (_folder, storage) = place().await;
    storage.write(&key("a"), Bytes::from(vec![1; 5 << 20]), &PutOptions::default()).await.unwrap();
    let mut stream = storage.get(&key("a"), None).await.unwrap();
    std::fs::File::options().write(true).open(storage.root().join("a")).unwrap().set_len(1 << 20).unwrap();
    let mut outcome = Ok(());
    while let (Some(chunk), true) = (stream.next().await, outcome.is_ok()) {
        outcome = chunk.map(drop);
    }
    assert!(matches!(outcome, Err(StorageError::ShortRead { found: 1048576, expected: 5242880, .. })), "{outcome:?}");
}

#[tokio::test]
async fn replacing_an_object_does_not_disturb_who_reads_it() {
    let (_folder, storage) = place().await;
    storage.write(&key("a"), Bytes::from(vec![1; 5 << 20]), &PutOptions::default()).await.unwrap();
    let inode = std::fs::metadata(storage.root().join("a")).unwrap().ino();
    let stream = storage.get(&key("a"), None).await.unwrap();
    storage.write(&key("a"), Bytes::from(vec![2; 5 << 20]), &PutOptions::default()).await.unwrap();
    assert_ne!(std::fs::metadata(storage.root().join("a")).unwrap().ino(), inode);
    let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();
    assert!(chunks.iter().flatten().all(|&byte| byte == 1));
    assert_eq!(chunks.iter().map(Bytes::len).sum::<usize>(), 5 << 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_cancelled_does_not_appear_once_a_list_was_without_it() {
    let (_folder, storage) = place().await;
    let mut cancelled = 0;
    for round in 0..400 {
        let object = key(&format!("objects/{round}"));
        let mut writer = storage.put(&object, &PutOptions::default()).await.unwrap();
        writer.write(Bytes::from_static(b"x")).await.unwrap();
        let patience = Duration::from_micros(round * 5 % 1000);
        cancelled += u32::from(tokio::time::timeout(patience, writer.finish()).await.is_err());
        let listed: Vec<_> = storage.list("objects").try_collect().await.unwrap();
        let listed = listed.iter().any(|found| found.key == object);
        while unfinished(&storage) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(listed, storage.head(&object).await.is_ok(), "round {round}");
    }
    assert!(cancelled > 0, "no write was cancelled");
}
