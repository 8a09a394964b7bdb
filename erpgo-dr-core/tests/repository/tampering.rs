//! The table of `docs/tampering.md`, a test for each row: somebody with write access to the storage place.

use erpgo_dr_core::container::ContainerError;
use erpgo_dr_core::crypto::CryptoError;
use erpgo_dr_core::ops::{self, Error, VerifyOptions};
use erpgo_dr_core::postgres::PostgresError;
use erpgo_dr_core::repository::RepositoryError;
use erpgo_dr_core::storage::{PutOptions, StorageExt as _};
use erpgo_dr_core::types::BackupId;

use super::support::{Fixture, NO_PROGRESS, Script};

const BYTES: usize = 150_000;

async fn alter(fixture: &Fixture, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let key = key.parse().unwrap();
    let mut data = fixture.storage.read(&key, 1 << 26).await.unwrap().to_vec();
    change(&mut data);
    fixture.storage.write(&key, data.into(), &PutOptions::default()).await.unwrap();
}

async fn copy(fixture: &Fixture, from: &str, to: &str) {
    let data = fixture.storage.read(&from.parse().unwrap(), 1 << 26).await.unwrap();
    fixture.storage.write(&to.parse().unwrap(), data, &PutOptions::default()).await.unwrap();
}

fn part(id: &BackupId, part: u32) -> String {
    format!("dumps/{id}/0000-{part:04}")
}

/// Restores, and returns what the reader of the stream was told.
async fn refused(fixture: &Fixture, id: &BackupId) -> ContainerError {
    let repository = fixture.open().await;
    let error = ops::restore(&repository, id, &Script::of(BYTES), NO_PROGRESS).await.unwrap_err();
    let options = VerifyOptions::default();
    let report = ops::verify(&repository, std::slice::from_ref(id), None, &options, NO_PROGRESS).await.unwrap();
    assert!(!report.passed(), "verify finds it as well");
    match error {
        Error::Postgres(PostgresError::Source(source)) => *source.downcast::<ContainerError>().unwrap(),
        Error::Repository(RepositoryError::Container(error)) => error,
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_flipped_bit() {
    let fixture = Fixture::new().await;
    let id = fixture.backup(BYTES).await.id;
    alter(&fixture, &part(&id, 0), |data| data[300] ^= 1).await;
    let error = refused(&fixture, &id).await;
    let found = matches!(&error, ContainerError::Crypto { source: CryptoError::SegmentNotAuthentic { .. }, .. });
    assert!(found, "{error:?}");
}

#[tokio::test]
async fn a_truncated_object() {
    let fixture = Fixture::new().await;
    let id = fixture.backup(BYTES).await.id;
    alter(&fixture, &part(&id, 1), |data| data.truncate(data.len() / 2)).await;
    let error = refused(&fixture, &id).await;
    assert!(matches!(error, ContainerError::Truncated { .. }), "{error:?}");
}

#[tokio::test]
async fn two_swapped_objects() {
    let fixture = Fixture::new().await;
    let id = fixture.backup(BYTES).await.id;
    copy(&fixture, &part(&id, 0), "spare").await;
    copy(&fixture, &part(&id, 1), &part(&id, 0)).await;
    copy(&fixture, "spare", &part(&id, 1)).await;
    let error = refused(&fixture, &id).await;
    assert!(matches!(error, ContainerError::WrongObject { .. }), "{error:?}");
}

#[tokio::test]
async fn an_older_object_put_back() {
    let fixture = Fixture::new().await;
    let old = fixture.backup(BYTES).await.id;
    let id = fixture.backup(BYTES).await.id;
    copy(&fixture, &part(&old, 0), &part(&id, 0)).await;
    let error = refused(&fixture, &id).await;
    assert!(matches!(error, ContainerError::WrongObject { .. }), "{error:?}");
}

#[tokio::test]
async fn a_manifest_of_another_backup() {
    let fixture = Fixture::new().await;
    let old = fixture.backup(BYTES).await.id;
    let id = fixture.backup(BYTES).await.id;
    copy(&fixture, &format!("backups/{old}/manifest"), &format!("backups/{id}/manifest")).await;
    let error = refused(&fixture, &id).await;
    assert!(matches!(error, ContainerError::WrongObject { .. }), "{error:?}");
}

#[tokio::test]
async fn two_backups_spliced_into_one_object() {
    let fixture = Fixture::new().await;
    let old = fixture.backup(BYTES).await.id;
    let id = fixture.backup(BYTES).await.id;
    let other = fixture.storage.read(&part(&old, 0).parse().unwrap(), 1 << 26).await.unwrap();
    // Both headers have the same length: behind it, everything is the other backup's.
    alter(&fixture, &part(&id, 0), |data| {
        data.truncate(200);
        data.extend_from_slice(&other[200..]);
    })
    .await;
    let error = refused(&fixture, &id).await;
    assert!(matches!(error, ContainerError::Crypto { .. } | ContainerError::HeaderNotAuthentic { .. }), "{error:?}");
}

#[tokio::test]
async fn a_wrong_key() {
    let fixture = Fixture::new().await;
    fixture.backup(BYTES).await;
    let stranger = Fixture::new().await;
    let mut repository =
        erpgo_dr_core::Repository::open(fixture.storage.clone(), fixture.environment.clone()).await.unwrap();
    let error = repository.unlock(&stranger.unlocker).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Crypto(CryptoError::NoMatchingIdentity)), "{error:?}");
}

#[tokio::test]
async fn an_altered_catalogue_entry() {
    let fixture = Fixture::new().await;
    let id = fixture.backup(BYTES).await.id;
    alter(&fixture, &format!("backups/{id}/summary"), |data| {
        let text = String::from_utf8(data.clone()).unwrap().replacen("150000", "150001", 1);
        *data = text.into_bytes();
    })
    .await;
    let catalogue = fixture.open().await.catalogue().await.unwrap();
    assert!(catalogue.entries.is_empty());
    assert!(catalogue.problems.iter().any(|problem| problem.problem.contains("not authentic")), "{catalogue:?}");
}

#[tokio::test]
async fn a_catalogue_entry_under_another_name() {
    let fixture = Fixture::new().await;
    let old = fixture.backup(BYTES).await.id;
    let id = fixture.backup(BYTES).await.id;
    copy(&fixture, &format!("backups/{old}/summary"), &format!("backups/{id}/summary")).await;
    let catalogue = fixture.open().await.catalogue().await.unwrap();
    assert_eq!(catalogue.entries.len(), 1);
    assert!(catalogue.problems.iter().any(|problem| problem.problem.contains("not authentic")), "{catalogue:?}");
}

#[tokio::test]
async fn a_removed_backup_shows_and_a_pruned_one_does_not() {
    let fixture = Fixture::new().await;
    let removed = fixture.backup(BYTES).await.id;
    fixture.backup(BYTES).await;
    fixture.storage.delete(&format!("backups/{removed}/summary").parse().unwrap()).await.unwrap();
    let catalogue = fixture.open().await.catalogue().await.unwrap();
    assert!(catalogue.problems.iter().any(|problem| problem.subject == removed.as_str()), "{catalogue:?}");
}

#[tokio::test]
async fn a_forged_word_of_prune() {
    let fixture = Fixture::new().await;
    let removed = fixture.backup(BYTES).await.id;
    fixture.backup(BYTES).await;
    let summary = format!("backups/{removed}/summary");
    copy(&fixture, &summary, &format!("state/expired/{removed}")).await;
    fixture.storage.delete(&summary.parse().unwrap()).await.unwrap();
    let catalogue = fixture.open().await.catalogue().await.unwrap();
    assert!(catalogue.problems.len() >= 2, "the record is no word of prune, and the backup is missing: {catalogue:?}");
}

#[tokio::test]
async fn altered_settings() {
    let fixture = Fixture::new().await;
    alter(&fixture, "repo.json", |data| {
        let text = String::from_utf8(data.clone()).unwrap().replacen("zstd:3", "none", 1);
        *data = text.into_bytes();
    })
    .await;
    let error = fixture.open_at(fixture.storage.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Repository(RepositoryError::NotAuthentic { .. })), "{error:?}");
}
