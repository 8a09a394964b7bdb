//! Who may open a repository, and what a new epoch, a rotation and a forgery do.

use erpgo_dr_core::ErrorKind;
use erpgo_dr_core::Repository;
use erpgo_dr_core::crypto::keys::{Identities, Unlocker, Wrapper, generate_identity};
use erpgo_dr_core::ops::{self, BackupOptions, Error, VerifyOptions};
use erpgo_dr_core::repository::{EpochRole, RepositoryError};
use erpgo_dr_core::storage::{PutOptions, StorageExt as _};

use super::support::{Fixture, NO_PROGRESS, Script, slot};

async fn opens(fixture: &Fixture, unlocker: &Unlocker) -> Result<(), Error> {
    let mut repository = Repository::open(fixture.storage.clone(), fixture.environment.clone()).await?;
    repository.unlock(unlocker).await?;
    let options = VerifyOptions::default().with_record(false);
    let report = ops::verify(&repository, &[], None, &options, NO_PROGRESS).await?;
    assert!(report.passed(), "{report:?}");
    Ok(())
}

async fn person() -> (Wrapper, Unlocker) {
    let identity = generate_identity();
    let identities = Identities::parse(identity.secret.into(), None).await.unwrap();
    (Wrapper::Recipients(vec![identity.recipient]), Unlocker::Identities(identities))
}

#[tokio::test]
async fn a_slot_is_added_rotated_and_removed() {
    let fixture = Fixture::new().await;
    fixture.backup(1_000).await;
    let repository = fixture.open().await;
    let (wrapper, unlocker) = person().await;
    assert_eq!(opens(&fixture, &unlocker).await.unwrap_err().kind(), ErrorKind::Locked);

    repository.add_slot(&slot("colleague"), &wrapper).await.unwrap();
    opens(&fixture, &unlocker).await.unwrap();
    let twice = repository.add_slot(&slot("colleague"), &wrapper).await.unwrap_err();
    assert!(matches!(twice, RepositoryError::SlotExists { .. }));

    let (new_wrapper, new_unlocker) = person().await;
    repository.rotate_slot(&slot("colleague"), &new_wrapper).await.unwrap();
    assert_eq!(opens(&fixture, &unlocker).await.unwrap_err().kind(), ErrorKind::Locked);
    opens(&fixture, &new_unlocker).await.unwrap();

    repository.remove_slot(&slot("colleague")).await.unwrap();
    assert_eq!(opens(&fixture, &new_unlocker).await.unwrap_err().kind(), ErrorKind::Locked);
    let last = repository.remove_slot(&slot("owner")).await.unwrap_err();
    assert!(matches!(last, RepositoryError::LastSlot { .. }));
    opens(&fixture, &fixture.unlocker).await.unwrap();
}

#[tokio::test]
async fn a_new_epoch_locks_out_who_has_no_slot_in_it_and_keeps_the_old_readable() {
    let fixture = Fixture::new().await;
    let old = fixture.backup(1_000).await.id;
    let mut repository = fixture.open().await;
    let (wrapper, unlocker) = person().await;
    let owner = Wrapper::Recipients(vec![fixture.recipient.clone()]);
    fixture.clock.advance(chrono::TimeDelta::hours(1));
    let epoch = repository.begin_epoch(&[(slot("owner"), owner), (slot("new"), wrapper)]).await.unwrap();
    let new = fixture.backup(2_000).await.id;

    let catalogue = fixture.open().await.catalogue().await.unwrap();
    assert!(catalogue.find(&old).unwrap().details.is_some() && catalogue.find(&new).unwrap().details.is_some());
    assert_eq!(catalogue.problems, []);

    // The newcomer reads and writes in the new epoch, and nothing older.
    let mut newcomer = Repository::open(fixture.storage.clone(), fixture.environment.clone()).await.unwrap();
    newcomer.unlock(&unlocker).await.unwrap();
    assert_eq!(newcomer.keyring().epochs().collect::<Vec<_>>(), [&epoch]);
    let catalogue = newcomer.catalogue().await.unwrap();
    assert!(catalogue.find(&old).unwrap().details.is_none() && catalogue.find(&new).unwrap().details.is_some());
    ops::backup(&newcomer, &Script::of(10), &BackupOptions::default(), NO_PROGRESS).await.unwrap();
}

#[tokio::test]
async fn a_host_with_recipients_alone_writes_what_it_cannot_read_later() {
    let fixture = Fixture::new().await;
    let mut host = Repository::open(fixture.storage.clone(), fixture.environment.clone()).await.unwrap();
    let recipient = Wrapper::Recipients(vec![fixture.recipient.clone()]);
    fixture.clock.advance(chrono::TimeDelta::hours(1));
    host.begin_run_epoch(&[(slot("owner"), recipient)]).await.unwrap();
    let report = ops::backup(&host, &Script::of(5_000), &BackupOptions::default(), NO_PROGRESS).await.unwrap();
    assert!(report.is_complete());
    drop(host);

    let host = Repository::open(fixture.storage.clone(), fixture.environment.clone()).await.unwrap();
    assert!(host.catalogue().await.unwrap().find(&report.id).unwrap().details.is_none());

    let owner = fixture.open().await;
    ops::restore(&owner, &report.id, &Script::of(5_000), NO_PROGRESS).await.unwrap();
    let epochs = owner.epochs().await.unwrap();
    assert_eq!(epochs.iter().filter(|epoch| epoch.active).count(), 1);
    assert_eq!(epochs.iter().find(|epoch| epoch.active).unwrap().role, Some(EpochRole::Root));
}

#[tokio::test]
async fn an_epoch_that_a_stranger_adds_is_never_sealed_with() {
    let fixture = Fixture::new().await;
    fixture.backup(1_000).await;
    // The stranger makes a repository of his own whose key the owner's recipient opens, with a successor...
    let stranger = Fixture::new().await;
    let mut theirs = stranger.open().await;
    stranger.clock.advance(chrono::TimeDelta::days(1));
    let owner = Wrapper::Recipients(vec![fixture.recipient.clone()]);
    theirs.begin_epoch(&[(slot("owner"), owner)]).await.unwrap();
    // ...and puts its files into the owner's.
    for key in stranger.keys("keys").await {
        let key = key.parse().unwrap();
        let data = stranger.storage.read(&key, 1 << 20).await.unwrap();
        fixture.storage.write(&key, data, &PutOptions::default()).await.unwrap();
    }
    let repository = fixture.open().await;
    let active = repository.epochs().await.unwrap().into_iter().find(|epoch| epoch.active).unwrap();
    assert_eq!(active.role, Some(EpochRole::Root));
    assert_eq!(active.id, repository.settings().epoch);
}

#[tokio::test]
async fn a_slot_of_another_epoch_is_told_from_a_damaged_one() {
    let fixture = Fixture::new().await;
    let mut repository = fixture.open().await;
    fixture.clock.advance(chrono::TimeDelta::hours(1));
    let owner = Wrapper::Recipients(vec![fixture.recipient.clone()]);
    let new = repository.begin_epoch(&[(slot("owner"), owner)]).await.unwrap();
    let slots = fixture.keys("keys").await;
    let (old_slot, new_slot) = (
        slots.iter().find(|key| key.ends_with(".age") && !key.contains(new.as_str())).unwrap(),
        slots.iter().find(|key| key.ends_with(".age") && key.contains(new.as_str())).unwrap(),
    );
    // Only the new epoch is left, and its slot is the old one's.
    let data = fixture.storage.read(&old_slot.parse().unwrap(), 1 << 20).await.unwrap();
    fixture.storage.write(&new_slot.parse().unwrap(), data, &PutOptions::default()).await.unwrap();
    fixture.storage.delete(&old_slot.parse().unwrap()).await.unwrap();
    let error = opens(&fixture, &fixture.unlocker).await.unwrap_err();
    assert!(error.to_string().contains("epoch"), "{error}");
    assert!(
        matches!(
            error,
            Error::Repository(RepositoryError::Crypto(erpgo_dr_core::crypto::CryptoError::WrongSlot { .. }))
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn epochs_of_one_second_keep_their_order_and_the_last_one_seals_though_repo_json_does_not_say_so() {
    let fixture = Fixture::new().await;
    let place = "repo.json".parse().unwrap();
    let before = fixture.storage.read(&place, 1 << 20).await.unwrap();
    let mut begun = vec![fixture.open().await.settings().epoch.clone()];
    for _ in 0..8 {
        let owner = Wrapper::Recipients(vec![fixture.recipient.clone()]);
        begun.push(fixture.open().await.begin_epoch(&[(slot("owner"), owner)]).await.unwrap());
    }
    assert!(begun.is_sorted(), "{begun:?}");
    // As a crash before each rewriting of repo.json would have left it.
    fixture.storage.write(&place, before, &PutOptions::default()).await.unwrap();
    let epochs = fixture.open().await.epochs().await.unwrap();
    assert_eq!(epochs.iter().filter(|epoch| epoch.active).map(|epoch| &epoch.id).collect::<Vec<_>>(), [&begun[8]]);
}
