//! Several hosts and processes that go on with the same objects.

use std::time::{Duration, Instant};

use erpgo_dr_core::types::ObjectKey;

use super::*;

fn entry(number: u32) -> ObjectKey {
    key(&format!("state/runs/r/{number:06}"))
}

fn entries(numbers: std::ops::RangeInclusive<u32>) -> Vec<ObjectKey> {
    numbers.map(entry).collect()
}

async fn write(storage: &dyn Storage, numbers: std::ops::RangeInclusive<u32>, who: &'static str) {
    for number in numbers {
        storage.create(&entry(number), text(who)).await.unwrap();
    }
}

async fn at_place(pair: &Pair) -> Vec<(String, Bytes)> {
    let mut found = Vec::new();
    for name in names(&pair.place, "state").await {
        found.push((name.clone(), pair.place.read(&key(&name), MANY).await.unwrap()));
    }
    found
}

#[tokio::test]
async fn nothing_is_delivered_behind_what_another_host_wrote() {
    let pair = Pair::new();
    write(&pair.storage, 0..=5, "both").await;
    pair.cut(Effect::Unavailable);
    write(&pair.storage, 6..=19, "ours").await;
    pair.storage.create(&key("state/runs/s/0"), text("ours")).await.unwrap();
    pair.place.heal();
    write(&pair.place, 6..=9, "theirs").await;
    let there = at_place(&pair).await;

    let another = pair.again();
    let delivery = another.deliver().await.unwrap();
    assert_eq!(delivery.diverged, entries(6..=19));
    assert_eq!(delivery.delivered, [key("state/runs/s/0")], "other folders are no business of theirs");
    assert_eq!(at_place(&pair).await[..10], there);
    assert_eq!(names(&pair.place, "state/runs/r").await.len(), 10);
    assert_eq!(names(&pair.spool, "diverged/state/runs/r").await.len(), 14);
    assert_eq!(another.deliver().await.unwrap(), Default::default());
    write(&another, 10..=10, "ours").await;
    assert_eq!(names(&pair.place, "state/runs/r").await.len(), 11, "who goes on from theirs may");
}

#[tokio::test]
async fn who_diverges_twice_at_the_same_entry_loses_neither() {
    let pair = Pair::new();
    write(&pair.place, 0..=0, "theirs").await;
    for ours in ["first", "second"] {
        pair.cut(Effect::Unavailable);
        write(&pair.again(), 0..=0, ours).await;
        pair.place.heal();
        assert_eq!(pair.again().deliver().await.unwrap().diverged, [entry(0)]);
    }
    assert_eq!(pair.spool.read(&key("diverged/state/runs/r/000000"), MANY).await.unwrap(), "first");
    assert_eq!(pair.spool.read(&key("diverged/state/runs/r/000000.2"), MANY).await.unwrap(), "second");
}

#[tokio::test]
async fn a_process_whose_entries_have_lost_their_place_is_told() {
    let pair = Pair::new();
    pair.cut(Effect::Unavailable);
    write(&pair.storage, 0..=2, "ours").await;
    pair.place.heal();
    write(&pair.place, 0..=0, "theirs").await;
    let (started, mut number) = (Instant::now(), 3);
    let refused = loop {
        assert!(started.elapsed() < Duration::from_secs(60), "it goes on");
        match pair.storage.create(&entry(number), text("ours")).await {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(matches!(refused, StorageError::AlreadyExists { .. }), "{refused}");
    assert_eq!(at_place(&pair).await, [(entry(0).to_string(), text("theirs"))]);
    assert!(pair.storage.create(&entry(number), text("ours")).await.is_err(), "and told again");
}

#[tokio::test]
async fn a_process_is_told_also_if_another_one_found_it_out() {
    let pair = Pair::new();
    pair.cut(Effect::Unavailable);
    write(&pair.storage, 0..=2, "ours").await;
    pair.place.heal();
    write(&pair.place, 0..=1, "theirs").await;
    assert_eq!(pair.again().deliver().await.unwrap().diverged, entries(0..=2));
    let next = pair.storage.create(&entry(3), text("ours")).await;
    assert!(matches!(next, Err(StorageError::AlreadyExists { .. })), "{next:?}");
    assert!(names(&pair.spool, "state").await.is_empty(), "nothing of what was refused lies about");
    assert_eq!(at_place(&pair).await.len(), 2);
}

#[tokio::test]
async fn what_earlier_processes_left_goes_before_the_next_entry() {
    let pair = Pair::new();
    pair.cut(Effect::Unavailable);
    write(&pair.storage, 0..=2, "ours").await;
    pair.place.heal();
    write(&pair.again(), 3..=3, "ours").await;
    assert_eq!(at_place(&pair).await.len(), 4);
}

#[tokio::test]
async fn a_mark_is_left_to_who_is_about_to_write_its_object() {
    let pair = Pair::new();
    let mark = key("waiting/state/runs/r/000000");
    pair.spool.write(&mark, Bytes::new(), &PutOptions::default()).await.unwrap();
    assert_eq!(pair.again().deliver().await.unwrap(), Default::default());
    pair.spool.create(&entry(0), text("ours")).await.unwrap();
    assert_eq!(pair.again().deliver().await.unwrap().delivered, [entry(0)]);
    assert!(names(&pair.spool, "waiting").await.is_empty());
}

#[tokio::test]
async fn an_entry_whose_mark_was_taken_away_is_marked_again() {
    let pair = Pair::new();
    let mark = key("waiting/state/runs/r/000000");
    pair.cut(Effect::Unavailable);
    pair.spool.inject(Fault::new(Operation::Create, Effect::Delay(Duration::from_secs(3))).times(1));
    let writing = tokio::spawn({
        let storage = pair.storage.clone();
        async move { storage.create(&entry(0), text("ours")).await }
    });
    while pair.spool.head(&mark).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pair.spool.delete(&mark).await.unwrap();
    writing.await.unwrap().unwrap();
    assert_eq!(names(&pair.spool, "waiting").await, [mark.to_string()]);
}
