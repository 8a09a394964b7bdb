//! What every [`Storage`] must do.

#![allow(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::storage::{ObjectMeta, PutOptions, Storage, StorageError, StorageExt as _, ThawOptions};
use crate::types::ObjectKey;

const MIB: usize = 1 << 20;

/// Runs the whole suite in `storage`, which must be empty, and leaves it empty.
///
/// Takes some 100 MiB of room and traffic. Needs a runtime of several threads to race writers.
///
/// # Panics
/// Where `storage` breaks its contract.
pub async fn run(storage: Arc<dyn Storage>) {
    storage.prepare().await.unwrap();
    storage.prepare().await.unwrap();
    assert_eq!(list(&*storage, "").await, [], "the place must be empty");
    reads_what_was_written(&*storage).await;
    shows_nothing_before_finish(&*storage).await;
    leaves_nothing_of_what_was_given_up(&*storage).await;
    replaces_at_finish(&*storage).await;
    creates_once(&*storage).await;
    lets_one_of_many_creators_win(&storage).await;
    reads_ranges(&*storage).await;
    lists_whole_folders(&*storage).await;
    deletes_what_is_there_and_what_is_not(&*storage).await;
    names_what_is_missing(&*storage).await;
    takes_every_key_of_the_alphabet(&*storage).await;
    takes_many_small_objects(&storage).await;
    carries_a_large_object(&*storage).await;
    says_when_it_cannot_thaw(&*storage).await;
    assert_eq!(list(&*storage, "").await, [], "what the suite removed must be gone");
}

/// Bytes that differ everywhere, so that a piece in the wrong place shows.
pub fn pattern(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..length.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut bytes: Vec<u8> = words.collect();
    bytes.truncate(length);
    Bytes::from(bytes)
}

async fn reads_what_was_written(storage: &dyn Storage) {
    for length in [0, 1, 1000, MIB, MIB + 1] {
        let (key, data) = (key("round/trip"), pattern(length, 1));
        let written = put(storage, &key, &data).await;
        assert_eq!((&written.key, written.size), (&key, length as u64));
        assert_eq!(storage.read(&key, length).await.unwrap(), data, "{length} bytes");
        let seen = storage.head(&key).await.unwrap();
        assert_eq!((&seen.key, seen.size), (&key, length as u64));
        let age = chrono::Utc::now() - seen.last_modified;
        assert!(age.num_hours().abs() < 48, "the time of an object is about now: {age}");
        assert!(
            matches!(storage.read(&key, length.wrapping_sub(1)).await, Err(StorageError::TooLarge { .. }))
                || length == 0
        );
    }
    remove(storage, &["round/trip"]).await;
}

async fn shows_nothing_before_finish(storage: &dyn Storage) {
    let key = key("slow/object");
    let mut writer = storage.put(&key, &PutOptions::default()).await.unwrap();
    for _ in 0..20 {
        writer.write(pattern(MIB, 2)).await.unwrap();
    }
    assert!(matches!(storage.head(&key).await, Err(StorageError::NotFound { .. })));
    assert!(matches!(storage.get(&key, None).await.map(drop), Err(StorageError::NotFound { .. })));
    assert_eq!(list(storage, "").await, [], "an unfinished object is listed");
    assert_eq!(writer.finish().await.unwrap().size, 20 * MIB as u64);
    assert_eq!(list(storage, "").await, [(key, 20 * MIB as u64)]);
    remove(storage, &["slow/object"]).await;
}

async fn leaves_nothing_of_what_was_given_up(storage: &dyn Storage) {
    let key = key("given/up");
    for length in [0, 10, 20 * MIB] {
        let mut writer = storage.put(&key, &PutOptions::default()).await.unwrap();
        writer.write(pattern(length, 3)).await.unwrap();
        writer.abort().await.unwrap();
        let mut writer = storage.put(&key, &PutOptions::default()).await.unwrap();
        writer.write(pattern(length, 3)).await.unwrap();
        drop(writer);
        assert!(matches!(storage.head(&key).await, Err(StorageError::NotFound { .. })));
        assert_eq!(list(storage, "").await, []);
    }
    storage.create(&key, Bytes::from_static(b"kept")).await.unwrap();
    let mut writer = storage.put(&key, &PutOptions::default()).await.unwrap();
    writer.write(pattern(20 * MIB, 4)).await.unwrap();
    writer.abort().await.unwrap();
    assert_eq!(storage.read(&key, 10).await.unwrap(), "kept", "a write that was given up replaced an object");
    remove(storage, &["given/up"]).await;
}

async fn replaces_at_finish(storage: &dyn Storage) {
    let key = key("replaced");
    put(storage, &key, &pattern(3 * MIB, 5)).await;
    let (mut first, second) = (storage.put(&key, &PutOptions::default()).await.unwrap(), Bytes::from_static(b"short"));
    first.write(pattern(100, 6)).await.unwrap();
    put(storage, &key, &second).await;
    assert_eq!(storage.read(&key, 100).await.unwrap(), second);
    first.finish().await.unwrap();
    assert_eq!(storage.read(&key, 100).await.unwrap(), pattern(100, 6), "the last to finish stays");
    remove(storage, &["replaced"]).await;
}

async fn creates_once(storage: &dyn Storage) {
    let key = key("created/once");
    let meta = storage.create(&key, Bytes::from_static(b"first")).await.unwrap();
    assert_eq!((&meta.key, meta.size), (&key, 5));
    let second = storage.create(&key, Bytes::from_static(b"second")).await;
    assert!(matches!(&second, Err(StorageError::AlreadyExists { key: found, .. }) if *found == key), "{second:?}");
    let same = storage.create(&key, Bytes::from_static(b"first")).await;
    assert!(matches!(same, Err(StorageError::AlreadyExists { .. })), "the same bytes are no excuse: {same:?}");
    assert_eq!(storage.read(&key, 10).await.unwrap(), "first");
    storage.delete(&key).await.unwrap();
    storage.create(&key, Bytes::new()).await.unwrap();
    assert!(storage.create(&key, Bytes::new()).await.is_err(), "an empty object is one");
    put(storage, &key, &Bytes::from_static(b"put")).await;
    assert!(storage.create(&key, Bytes::new()).await.is_err());
    remove(storage, &["created/once"]).await;
}

async fn lets_one_of_many_creators_win(storage: &Arc<dyn Storage>) {
    for round in 0..5 {
        let race = key(&format!("race/{round}"));
        let racers = (0..12).map(|racer: u8| {
            let (storage, race) = (Arc::clone(storage), race.clone());
            tokio::spawn(async move { (racer, storage.create(&race, Bytes::from(vec![racer; 5000])).await) })
        });
        let mut winners = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                (racer, Ok(_)) => winners.push(racer),
                (_, Err(StorageError::AlreadyExists { .. })) => {}
                (_, Err(error)) => panic!("a loser is told that the object exists, not: {error:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "exactly one of twelve wins, not {winners:?}");
        assert_eq!(storage.read(&race, 5000).await.unwrap(), vec![winners[0]; 5000]);
        storage.delete(&race).await.unwrap();
    }
}

async fn reads_ranges(storage: &dyn Storage) {
    let (key, data) = (key("ranges"), pattern(3 * MIB, 7));
    put(storage, &key, &data).await;
    let end = data.len() as u64;
    let ranges: [Range<u64>; 12] = [
        0..1,
        0..end,
        1..end - 1,
        5..5,
        end - 1..end,
        end - 1..end + 1,
        end..end + 10,
        end + 10..end + 20,
        0..u64::MAX,
        u64::MAX - 1..u64::MAX,
        MIB as u64 - 1..2 * MIB as u64 + 1,
        end / 2..end * 2,
    ];
    for range in ranges {
        let stream = storage.get(&key, Some(range.clone())).await.unwrap_or_else(|e| panic!("{range:?}: {e:?}"));
        let bytes = gather(stream).await.unwrap_or_else(|e| panic!("{range:?}: {e:?}"));
        let start = range.start.min(end) as usize;
        assert!(bytes == data[start..(range.end.min(end) as usize).max(start)], "{range:?}: {} bytes", bytes.len());
    }
    put(storage, &key, &Bytes::new()).await;
    for range in [None, Some(0..1), Some(0..0), Some(7..9)] {
        assert!(gather(storage.get(&key, range).await.unwrap()).await.unwrap().is_empty());
    }
    remove(storage, &["ranges"]).await;
    for range in [0..0, 0..5] {
        let missing = storage.get(&key, Some(range)).await.map(drop);
        assert!(matches!(missing, Err(StorageError::NotFound { .. })), "{missing:?}");
    }
}

async fn lists_whole_folders(storage: &dyn Storage) {
    let keys = ["a/b/1", "a/b/2", "a/bc/3", "a-b/4", "a.b/5", "z"];
    for (length, text) in keys.iter().enumerate() {
        put(storage, &key(text), &pattern(length, 8)).await;
    }
    let names = |prefix: &'static str| async move {
        let mut names: Vec<String> = list(storage, prefix).await.into_iter().map(|(key, _)| key.to_string()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names("a/b").await, ["a/b/1", "a/b/2"]);
    assert_eq!(names("a/b/").await, ["a/b/1", "a/b/2"]);
    assert_eq!(names("a").await, ["a/b/1", "a/b/2", "a/bc/3"]);
    assert_eq!(names("").await, ["a-b/4", "a.b/5", "a/b/1", "a/b/2", "a/bc/3", "z"]);
    for nothing in ["b", "a/b/1", "a/", "z", "no/such"].into_iter().filter(|prefix| *prefix != "a/") {
        assert!(names(nothing).await.is_empty(), "{nothing} is no folder");
    }
    for climbing in ["..", "a/../a", "/etc", "a//b"] {
        assert!(storage.list(climbing).try_next().await.is_err(), "{climbing} lists something");
    }
    let mut all = list(storage, "").await;
    all.sort_unstable();
    assert!(all.iter().all(|(found, size)| found.as_str() == keys[*size as usize]), "{all:?}");
    remove(storage, &keys).await;
}

async fn deletes_what_is_there_and_what_is_not(storage: &dyn Storage) {
    let (gone, kept) = (key("folder/gone"), key("folder/kept"));
    put(storage, &gone, &Bytes::from_static(b"x")).await;
    put(storage, &kept, &Bytes::from_static(b"y")).await;
    for _ in 0..2 {
        storage.delete(&gone).await.unwrap();
        assert!(matches!(storage.head(&gone).await, Err(StorageError::NotFound { .. })));
    }
    storage.delete(&key("no/such/folder")).await.unwrap();
    storage.delete(&key("folder")).await.unwrap();
    assert_eq!(storage.read(&kept, 1).await.unwrap(), "y", "a folder is no object, and cannot be deleted as one");
    remove(storage, &["folder/kept"]).await;
}

async fn names_what_is_missing(storage: &dyn Storage) {
    let missing = key("not/there");
    let errors = [storage.head(&missing).await.map(drop), storage.get(&missing, None).await.map(drop)];
    for error in errors {
        assert!(
            matches!(&error, Err(StorageError::NotFound { key, location }) if *key == missing && storage.location().contains(location.as_str())),
            "{error:?}"
        );
    }
    put(storage, &key("not/a"), &Bytes::new()).await;
    assert!(matches!(storage.head(&key("not")).await, Err(StorageError::NotFound { .. })), "a folder is no object");
    remove(storage, &["not/a"]).await;
}

async fn takes_every_key_of_the_alphabet(storage: &dyn Storage) {
    let deep = format!("deep/{}", vec!["d"; 60].join("/"));
    let long = "l".repeat(200);
    let keys = [
        ".hidden",
        "...",
        "a..b",
        "-",
        "_",
        ".tmp/x",
        "UPPER",
        "upper",
        "a.b.c-d_e",
        "0",
        deep.as_str(),
        long.as_str(),
    ];
    for (seed, text) in keys.iter().enumerate() {
        put(storage, &key(text), &pattern(100, seed as u64)).await;
    }
    for (seed, text) in keys.iter().enumerate() {
        assert_eq!(storage.read(&key(text), 100).await.unwrap(), pattern(100, seed as u64), "{text}");
    }
    assert_eq!(list(storage, "").await.len(), keys.len());
    remove(storage, &keys).await;
}

async fn takes_many_small_objects(storage: &Arc<dyn Storage>) {
    let keys: Vec<ObjectKey> = (0..200).map(|n| key(&format!("many/{:02x}/{n}", n % 7))).collect();
    let write = |(n, key): (usize, ObjectKey)| async move { put(&**storage, &key, &pattern(n, n as u64)).await };
    stream::iter(keys.iter().cloned().enumerate()).map(write).buffer_unordered(8).collect::<Vec<_>>().await;
    let mut listed = list(&**storage, "many").await;
    listed.sort_unstable_by_key(|(_, size)| *size);
    let expected: Vec<_> = keys.iter().cloned().zip(0..).collect();
    assert_eq!(listed, expected);
    let delete = |key: ObjectKey| async move { storage.delete(&key).await };
    stream::iter(keys).map(delete).buffer_unordered(8).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(list(&**storage, "many").await, []);
}

async fn carries_a_large_object(storage: &dyn Storage) {
    let (key, data) = (key("large"), pattern(40 * MIB + 17, 9));
    let mut writer = storage.put(&key, &PutOptions::default()).await.unwrap();
    // Sizes that fit no part of any store.
    let (mut rest, mut size) = (data.clone(), 1);
    while !rest.is_empty() {
        writer.write(rest.split_to(size.min(rest.len()))).await.unwrap();
        size = (size * 3) % 3_333_333 + 1;
    }
    assert_eq!(writer.finish().await.unwrap().size, data.len() as u64);
    let expected = blake3::hash(&data);
    let read = gather(storage.get(&key, None).await.unwrap()).await.unwrap();
    assert_eq!(blake3::hash(&read), expected);
    let middle = 7 * MIB as u64 + 3..33 * MIB as u64 + 1;
    let part = gather(storage.get(&key, Some(middle.clone())).await.unwrap()).await.unwrap();
    assert!(part == data[middle.start as usize..middle.end as usize]);
    // A reader that goes away early harms nothing.
    let mut stream = storage.get(&key, None).await.unwrap();
    assert!(!stream.next().await.unwrap().unwrap().is_empty());
    drop(stream);
    remove(storage, &["large"]).await;
}

async fn says_when_it_cannot_thaw(storage: &dyn Storage) {
    if storage.capabilities().thaw {
        let missing = storage.thaw(&key("not/there"), &ThawOptions::default()).await;
        assert!(matches!(missing, Err(StorageError::NotFound { .. })), "{missing:?}");
    } else {
        let refused = storage.thaw(&key("any"), &ThawOptions::default()).await;
        assert!(matches!(refused, Err(StorageError::Unsupported { .. })), "{refused:?}");
    }
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

async fn put(storage: &dyn Storage, key: &ObjectKey, data: &Bytes) -> ObjectMeta {
    storage.write(key, data.clone(), &PutOptions::default()).await.unwrap_or_else(|error| panic!("{key}: {error:?}"))
}

async fn gather(stream: crate::storage::ByteStream) -> Result<Vec<u8>, StorageError> {
    stream
        .try_fold(Vec::new(), |mut whole, chunk| async move {
            whole.extend_from_slice(&chunk);
            Ok(whole)
        })
        .await
}

async fn list(storage: &dyn Storage, prefix: &str) -> Vec<(ObjectKey, u64)> {
    let found: Vec<ObjectMeta> = storage.list(prefix).try_collect().await.unwrap();
    found.into_iter().map(|meta| (meta.key, meta.size)).collect()
}

async fn remove(storage: &dyn Storage, keys: &[&str]) {
    for text in keys {
        storage.delete(&key(text)).await.unwrap();
    }
    assert_eq!(list(storage, "").await, [], "something is left");
}
