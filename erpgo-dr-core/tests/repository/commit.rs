//! A backup exists when its catalogue entry exists, and never before.

use std::sync::Arc;

use chrono::TimeDelta;
use erpgo_dr_core::conformance::faulty::{Effect, Fault, FaultyStorage, Operation};
use erpgo_dr_core::crypto::keys::{Unlocker, Wrapper};
use erpgo_dr_core::ops::{self, BackupOptions, BackupSelector, VerifyOptions};
use erpgo_dr_core::repository::{InitOptions, RepositoryError, VerifyLevel};
use erpgo_dr_core::types::ObjectKey;
use erpgo_dr_core::{ErrorKind, Repository};
use futures::TryStreamExt as _;

use super::support::{Fixture, NO_PROGRESS, Script, memory};

#[tokio::test]
async fn a_backup_comes_back_as_it_went_in() {
    let fixture = Fixture::new().await;
    let report = fixture.backup(350_000).await;
    assert!(report.is_complete());
    assert_eq!(report.plaintext_bytes, 350_000);
    assert_eq!(fixture.keys("dumps").await.len(), 4, "parts of 100,000 bytes");

    let repository = fixture.open().await;
    let restored = ops::restore(&repository, &report.id, &Script::of(350_000), NO_PROGRESS).await.unwrap();
    assert_eq!(restored.outcome.bytes, 350_000);
}

#[tokio::test]
async fn an_empty_stream_is_a_backup_too() {
    let fixture = Fixture::new().await;
    let report = fixture.backup(0).await;
    let repository = fixture.open().await;
    ops::restore(&repository, &report.id, &Script::of(0), NO_PROGRESS).await.unwrap();
}

#[tokio::test]
async fn a_failed_backup_leaves_nothing() {
    let fixture = Fixture::new().await;
    let before = fixture.keys("").await;
    let repository = fixture.open().await;
    let script = Script { bytes: 250_000, fail_after: Some(250_000), hangs: false };
    ops::backup(&repository, &script, &BackupOptions::default(), NO_PROGRESS).await.unwrap_err();
    assert_eq!(fixture.keys("").await, before);
}

/// A backup whose first attempts to make something in the place of its catalogue entry have these effects.
async fn commit_meets(fixture: &Fixture, effects: &[Effect]) -> ops::Result<ops::BackupReport> {
    let storage = FaultyStorage::new(fixture.storage.clone());
    let repository = fixture.open_at(Arc::new(storage.clone())).await.unwrap();
    for (number, effect) in (0..).zip(effects) {
        storage.inject(Fault::new(Operation::Create, *effect).under("backups").after(number).times(1));
    }
    let outcome = ops::backup(&repository, &Script::of(250_000), &BackupOptions::default(), NO_PROGRESS).await;
    repository.environment().cleanups.settle().await;
    outcome
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_one() {
    let fixture = Fixture::new().await;
    let report = commit_meets(&fixture, &[Effect::LostAnswer]).await.unwrap();
    let repository = fixture.open().await;
    assert!(repository.catalogue().await.unwrap().find(&report.id).is_some());
    ops::restore(&repository, &report.id, &Script::of(250_000), NO_PROGRESS).await.unwrap();
    assert!(fixture.keys("state/leases").await.is_empty());
}

#[tokio::test]
async fn a_commit_that_failed_for_certain_leaves_a_mark_and_nothing_else() {
    let fixture = Fixture::new().await;
    commit_meets(&fixture, &[Effect::Unavailable]).await.unwrap_err();
    let left = fixture.keys("").await;
    assert!(fixture.keys("dumps").await.is_empty() && fixture.keys("state/leases").await.is_empty(), "{left:?}");
    let repository = fixture.open().await;
    let catalogue = repository.catalogue().await.unwrap();
    assert!(catalogue.entries.is_empty() && catalogue.problems.is_empty(), "{catalogue:?}");
}

#[tokio::test]
async fn a_commit_of_which_nothing_can_be_known_keeps_what_it_may_need() {
    for (effect, committed) in [(Effect::LostAnswer, 1), (Effect::Unavailable, 0)] {
        let fixture = Fixture::new().await;
        // The entry, and then the question what became of it.
        commit_meets(&fixture, &[effect, Effect::Unavailable]).await.unwrap_err();
        assert!(fixture.keys("state/leases").await.is_empty());
        assert_eq!(fixture.keys("dumps").await.len(), 3);
        let repository = fixture.open().await;
        let entries = repository.catalogue().await.unwrap().entries;
        assert_eq!(entries.len(), committed);
        for entry in entries {
            ops::restore(&repository, entry.id(), &Script::of(250_000), NO_PROGRESS).await.unwrap();
        }
    }
}

#[tokio::test]
async fn every_level_of_verification_passes_and_is_recorded() {
    let fixture = Fixture::new().await;
    let report = fixture.backup(250_000).await;
    let repository = fixture.open().await;
    for level in [VerifyLevel::Scrub, VerifyLevel::Mac, VerifyLevel::Contents] {
        fixture.clock.advance(TimeDelta::minutes(1));
        let options = VerifyOptions::default().with_level(level);
        let found = ops::verify(&repository, &[], Some(&Script::of(250_000)), &options, NO_PROGRESS).await.unwrap();
        assert!(found.passed(), "{found:?}");
    }
    let catalogue = repository.catalogue().await.unwrap();
    let proven = catalogue.find(&report.id).unwrap().proven().unwrap();
    assert_eq!(proven.0, VerifyLevel::Contents);
}

#[tokio::test]
async fn a_host_without_keys_can_scrub_and_nothing_else() {
    let fixture = Fixture::new().await;
    fixture.backup(50_000).await;
    let repository =
        erpgo_dr_core::Repository::open(fixture.storage.clone(), fixture.environment.clone()).await.unwrap();
    let scrub = VerifyOptions::default().with_level(VerifyLevel::Scrub);
    assert!(ops::verify(&repository, &[], None, &scrub, NO_PROGRESS).await.unwrap().passed());

    let mac = VerifyOptions::default();
    let error = ops::verify(&repository, &[], None, &mac, NO_PROGRESS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    let error = ops::backup(&repository, &Script::of(1), &BackupOptions::default(), NO_PROGRESS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
}

#[tokio::test]
async fn selectors_find_what_they_say() {
    let fixture = Fixture::new().await;
    let repository = fixture.open().await;
    let nothing = ops::select(&repository.catalogue().await.unwrap(), &BackupSelector::Latest).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::NotFound);

    let first = fixture.backup(10).await.id;
    fixture.clock.advance(TimeDelta::hours(1));
    let unproven = BackupOptions::default().with_verify(None);
    let second = ops::backup(&repository, &Script::of(10), &unproven, NO_PROGRESS).await.unwrap().id;
    let catalogue = repository.catalogue().await.unwrap();
    let found = |selector| ops::select(&catalogue, &selector).unwrap().id().clone();
    assert_eq!(found(BackupSelector::Latest), second);
    assert_eq!(found(BackupSelector::LatestProven), first);
    assert_eq!(found(BackupSelector::Before(second.time() - TimeDelta::seconds(1))), first);
    assert_eq!(found(BackupSelector::Id(second.clone())), second);
}

#[tokio::test]
async fn a_place_is_initialized_once() {
    let fixture = Fixture::new().await;
    let again = erpgo_dr_core::Repository::init(
        fixture.storage.clone(),
        fixture.environment.clone(),
        &InitOptions::default(),
        &[],
    )
    .await;
    assert_eq!(ops::Error::from(again.unwrap_err()).kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn of_several_that_make_a_repository_one_does_and_the_others_leave_nothing() {
    let environment = Fixture::new().await.environment.clone();
    let storage = memory();
    let slots = || vec![("owner".parse().unwrap(), Wrapper::Passphrase { passphrase: "x".into(), work_factor: 4 })];
    let attempts = (0..8).map(|_| {
        let (storage, environment, slots) = (storage.clone(), environment.clone(), slots());
        tokio::spawn(
            async move { Repository::init(storage, environment, &InitOptions::default(), &slots).await.map(drop) },
        )
    });
    let mut made = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(()) => made += 1,
            Err(error) => assert!(matches!(error, RepositoryError::AlreadyInitialized { .. }), "{error}"),
        }
    }
    assert_eq!(made, 1);
    let keys: Vec<_> = storage.list("keys").map_ok(|meta| meta.key).try_collect().await.unwrap();
    assert_eq!(keys.len(), 2, "the epoch of the one and its slot: {keys:?}");
    let mut opened = Repository::open(storage, environment).await.unwrap();
    opened.unlock(&Unlocker::Passphrase("x".into())).await.unwrap();
}

#[tokio::test]
async fn a_place_with_files_of_others_is_left_alone() {
    let fixture = Fixture::new().await;
    let storage = memory();
    storage.create(&ObjectKey::new("photos/one.jpg").unwrap(), "x".into()).await.unwrap();
    let slots = vec![("owner".parse().unwrap(), Wrapper::Passphrase { passphrase: "x".into(), work_factor: 4 })];
    let refused = Repository::init(storage.clone(), fixture.environment.clone(), &InitOptions::default(), &slots).await;
    let error = ops::Error::from(refused.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("photos/one.jpg"), "{error}");
    let left: Vec<_> = storage.list("").map_ok(|meta| meta.key).try_collect().await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_cancelled_backup_cleans_up_behind_itself() {
    let fixture = Fixture::new().await;
    let before = fixture.keys("").await;
    let repository = fixture.open().await;
    let endless = Script { bytes: 250_000, fail_after: None, hangs: true };
    let options = BackupOptions::default();
    let backup = ops::backup(&repository, &endless, &options, NO_PROGRESS);
    let cancelled = tokio::time::timeout(std::time::Duration::from_millis(200), backup).await;
    assert!(cancelled.is_err(), "it hangs until it is dropped");
    assert_ne!(fixture.keys("").await, before, "it had written something");
    fixture.environment.cleanups.settle().await;
    assert_eq!(fixture.keys("").await, before);
}
