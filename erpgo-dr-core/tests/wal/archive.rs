//! Files go in and come out; what is not what it says is refused.

use std::os::unix::fs::PermissionsExt as _;

use erpgo_dr_core::ops::wal::{WalFetchOptions, WalPushOptions, WalPushOutcome, wal_fetch, wal_push};
use erpgo_dr_core::postgres::wal::WalError;
use erpgo_dr_core::repository::RepositoryError;
use erpgo_dr_core::{Error, ErrorKind};
use erpgo_dr_testkit::postgres::{MAJORS, PgServer};

use super::support::{Archive, damage, files, name_of, segments};

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_every_version_come_back_byte_for_byte() {
    for major in MAJORS {
        let (server, archive) = (PgServer::start(major), Archive::new().await);
        for path in segments(&server, archive.folder.path(), 2) {
            let report = archive.push(&path).await.unwrap();
            assert!(report.is_complete() && report.outcome == WalPushOutcome::Archived, "{report:?}");
            let target = archive.path("pg_wal/RECOVERYXLOG");
            let fetched = archive.fetch(&name_of(&path), &target).await.unwrap();
            assert!(fetched.found && fetched.bytes == 16 << 20, "{fetched:?}");
            assert!(std::fs::read(&target).unwrap() == std::fs::read(&path).unwrap());
            assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let stored = files(&archive.path("place-0/wal"));
        assert_eq!(stored.len(), 2, "{stored:?}");
        assert!(
            stored.iter().all(|path| std::fs::metadata(path).unwrap().len() < 8 << 20),
            "a switched segment is small"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_is_fine_and_another_is_not() {
    let (server, archive) = (PgServer::start(17), Archive::new().await);
    let paths = segments(&server, archive.folder.path(), 1);
    let path = &paths[0];
    archive.push(path).await.unwrap();
    let again = archive.push(path).await.unwrap();
    assert_eq!(again.outcome, WalPushOutcome::Identical);
    let before = std::fs::read(archive.object(0, &name_of(path))).unwrap();

    let original = std::fs::read(path).unwrap();
    damage(path);
    let error = archive.push(path).await.unwrap_err();
    assert!(matches!(error, Error::Repository(RepositoryError::WalConflict { .. })), "{error}");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("which server"), "{error}");
    assert!(std::fs::read(archive.object(0, &name_of(path))).unwrap() == before, "the archived one stays");

    // A damaged copy is neither the same nor another.
    std::fs::write(path, original).unwrap();
    damage(&archive.object(0, &name_of(path)));
    let error = archive.push(path).await.unwrap_err();
    assert!(matches!(error, Error::Repository(RepositoryError::WalDamaged { .. })), "{error}");
    assert_eq!(error.kind(), ErrorKind::Integrity);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_that_push_at_once_agree() {
    let (server, archive) = (PgServer::start(17), Archive::new().await);
    let path = segments(&server, archive.folder.path(), 1).remove(0);
    let changed = archive.path("other/pg_wal");
    std::fs::create_dir_all(&changed).unwrap();
    let other = changed.join(name_of(&path));
    std::fs::copy(&path, &other).unwrap();
    damage(&other);
    let (one, same, different) = tokio::join!(archive.push(&path), archive.push(&path), archive.push(&other));
    let won = [one.is_ok(), same.is_ok(), different.is_ok()];
    assert!(won == [true, true, false] || won == [false, false, true], "{won:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_partials_and_notes_are_kept_too() {
    let (server, archive) = (PgServer::start(18), Archive::new().await);
    let path = segments(&server, archive.folder.path(), 1).remove(0);
    let name = name_of(&path);
    let partial = archive.path(&format!("pg_wal/{name}.partial"));
    std::fs::copy(&path, &partial).unwrap();
    let history = archive.path("pg_wal/00000002.history");
    std::fs::write(&history, "1\t0/3000000\tno recovery target specified\n").unwrap();
    let note = archive.path(&format!("pg_wal/{name}.00000028.backup"));
    std::fs::write(&note, format!("START WAL LOCATION: 0/3000028 (file {name})\n")).unwrap();
    for path in [&partial, &history, &note] {
        archive.push(path).await.unwrap();
        let target = archive.path("pg_wal/RECOVERYHISTORY");
        assert!(archive.fetch(&name_of(path), &target).await.unwrap().found);
        assert_eq!(std::fs::read(&target).unwrap(), std::fs::read(path).unwrap());
    }
    for (path, text) in [(&history, "1\t0/3000000"), (&note, "STOP")] {
        std::fs::write(path, text).unwrap();
        assert!(archive.push(path).await.is_err(), "{}", path.display());
    }
    std::fs::write(&history, "2\t0/3000000\tnonsense\n").unwrap();
    let error = archive.push(&history).await.unwrap_err();
    assert!(matches!(error, Error::Wal(WalError::History { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_its_name_says_stays_outside() {
    let (server, archive) = (PgServer::start(15), Archive::new().await);
    let path = segments(&server, archive.folder.path(), 1).remove(0);
    let place = |name: &str| archive.path(&format!("pg_wal/{name}"));
    let other = place("0000000100000000000000AA");
    std::fs::copy(&path, &other).unwrap();
    let error = archive.push(&other).await.unwrap_err();
    assert!(matches!(error, Error::Wal(WalError::WrongPosition { .. })), "{error}");
    let short = place("0000000100000000000000AB");
    std::fs::write(&short, &std::fs::read(&path).unwrap()[..8192]).unwrap();
    assert!(matches!(archive.push(&short).await.unwrap_err(), Error::Wal(WalError::WrongPosition { .. })));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..8192]).unwrap();
    let error = archive.push(&path).await.unwrap_err();
    assert!(matches!(error, Error::Wal(WalError::WrongLength { length: 8192, .. })), "{error}");
    std::fs::write(&path, &bytes).unwrap();
    std::fs::write(place("nonsense"), b"x").unwrap();
    assert!(archive.push(&place("nonsense")).await.is_err());
    assert_eq!(archive.push(&place("0000000100000000000000AC")).await.unwrap_err().kind(), ErrorKind::NotFound);
    // Another cluster's segment, in this one's data directory.
    let stranger = PgServer::start(15);
    let foreign = tempfile::tempdir().unwrap();
    let foreign = segments(&stranger, foreign.path(), 1).remove(0);
    std::fs::copy(&foreign, place(&name_of(&foreign))).unwrap();
    let error = archive.push(&place(&name_of(&foreign))).await.unwrap_err();
    assert!(matches!(error, Error::Wal(WalError::WrongSystem { .. })), "{error}");
    let options = WalPushOptions::default().with_system_identifier(Some(1));
    let error = wal_push(&archive.repository, &path, &options).await.unwrap_err();
    assert!(matches!(error, Error::Wal(WalError::WrongSystem { expected: 1, .. })), "{error}");
    assert_eq!(files(&archive.path("place-0/wal")).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_known_to_be_absent_is_absent() {
    let (server, archive) = (PgServer::start(17), Archive::new().await);
    let paths = segments(&server, archive.folder.path(), 2);
    let target = archive.path("pg_wal/RECOVERYXLOG");
    let error = archive.fetch(&name_of(&paths[0]), &target).await.unwrap_err();
    let empty = matches!(error, Error::Repository(RepositoryError::NoWalOfSystem { .. }));
    assert!(empty, "an empty archive is a wrong address, and not the end of the log: {error}");
    let outside = archive.path("elsewhere");
    let error = archive.fetch(&name_of(&paths[0]), &outside).await.unwrap_err();
    assert!(matches!(error, Error::Repository(RepositoryError::WalSystemUnknown { .. })), "{error}");

    archive.push(&paths[0]).await.unwrap();
    let absent = archive.fetch(&name_of(&paths[1]), &target).await.unwrap();
    assert!(!absent.found && !target.exists(), "{absent:?}");
    assert!(archive.fetch(&name_of(&paths[0]), &outside).await.unwrap().found, "the only cluster there is");
    let options = WalFetchOptions::default().with_system_identifier(Some(42));
    let name = name_of(&paths[0]).parse().unwrap();
    assert!(wal_fetch(&archive.repository, name, &outside, &options).await.is_err());

    // Damage and a cut are errors, and leave nothing, not even a beginning.
    let object = archive.object(0, &name_of(&paths[0]));
    let whole = std::fs::read(&object).unwrap();
    std::fs::remove_file(&outside).unwrap();
    for change in [0, 1] {
        match change {
            0 => damage(&object),
            _ => std::fs::write(&object, &whole[..whole.len() - 100]).unwrap(),
        }
        let error = archive.fetch(&name_of(&paths[0]), &outside).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
    }
    // Another archived file in its place.
    archive.push(&paths[1]).await.unwrap();
    std::fs::copy(archive.object(0, &name_of(&paths[1])), &object).unwrap();
    assert_eq!(archive.fetch(&name_of(&paths[0]), &outside).await.unwrap_err().kind(), ErrorKind::Integrity);
    let left: Vec<_> = files(archive.folder.path()).into_iter().filter(|path| path.ends_with("elsewhere")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_a_mebibyte_and_of_128_are_archived() {
    for mib in [1, 128] {
        let archive = Archive::new().await;
        let server = erpgo_dr_testkit::postgres::PgServerOptions::new(17).wal_segment_mib(mib).start();
        let path = segments(&server, archive.folder.path(), 1).remove(0);
        assert_eq!(archive.push(&path).await.unwrap().bytes, u64::from(mib) << 20);
        assert_eq!(archive.push(&path).await.unwrap().outcome, WalPushOutcome::Identical);
        let target = archive.path("pg_wal/RECOVERYXLOG");
        assert!(archive.fetch(&name_of(&path), &target).await.unwrap().found);
        assert!(std::fs::read(&target).unwrap() == std::fs::read(&path).unwrap());
        let list = erpgo_dr_core::ops::wal::wal_list(&archive.repository, None).await.unwrap();
        assert_eq!(list[0].segment_bytes, Some(u64::from(mib) << 20));
        damage(&path);
        let error = archive.push(&path).await.unwrap_err();
        assert!(matches!(error, Error::Repository(RepositoryError::WalConflict { .. })), "{error}");
    }
}
