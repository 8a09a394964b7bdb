//! Files of the old scripts, made by the very commands of the old scripts.

use std::process::{Command, Stdio};

use erpgo_dr_core::ErrorKind;
use erpgo_dr_core::ops::legacy::LegacyOptions;
use erpgo_dr_core::ops::{self, ImportOptions};
use erpgo_dr_core::postgres::RestoreOptions;

use super::support::{NO_PROGRESS, Site};

const PASSPHRASE: &str = "correct horse";

/// `pg_dump -Fc --compress=9 | gzip | openssl enc`, as far as `steps` goes.
fn make(site: &Site, name: &str, compress: &str, steps: &[&[&str]]) -> std::path::PathBuf {
    let dump = site
        .server
        .client("pg_dump")
        .args(["--format=custom", compress, "--no-owner", "--no-privileges", "erp"])
        .output()
        .unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let mut data = dump.stdout;
    for step in steps {
        data = filter(step, data);
    }
    let path = site.folder.path().join(name);
    std::fs::write(&path, data).unwrap();
    path
}

fn filter(command: &[&str], input: Vec<u8>) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .env("KEY", PASSPHRASE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn options() -> LegacyOptions {
    LegacyOptions { passphrase: Some(PASSPHRASE.into()), ..LegacyOptions::default() }
}

const GZIP: &[&str] = &["gzip"];
const OPENSSL: &[&str] = &["openssl", "enc", "-aes-256-cbc", "-salt", "-pass", "env:KEY"];

#[tokio::test(flavor = "multi_thread")]
async fn a_file_restores_as_it_is() {
    let site = Site::new(15).await;
    let before = site.content("erp");
    let file = make(&site, "full_backup_20240215_120000.sql.gz.enc", "--compress=9", &[GZIP, OPENSSL]);
    let target = site.restoring(RestoreOptions::new().target("from_file"));
    ops::restore_file(&file, &options(), &target, NO_PROGRESS).await.unwrap();
    assert_eq!(site.content("from_file"), before);

    let cut = std::fs::read(&file).unwrap();
    std::fs::write(&file, &cut[..cut.len() - 4096]).unwrap();
    let target = site.restoring(RestoreOptions::new().target("from_cut_file"));
    let error = ops::restore_file(&file, &options(), &target, NO_PROGRESS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
    assert_eq!(site.server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'from_cut_file'"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_becomes_a_backup_of_its_own_time() {
    let site = Site::new(17).await;
    let before = site.content("erp");
    for (name, compress, steps) in [
        ("automated_full_backup_20240101_060000_daily.sql.gz.enc", "--compress=0", &[GZIP, OPENSSL] as &[&[&str]]),
        ("automated_full_backup_20240102_060000_daily.sql.enc", "--compress=9", &[OPENSSL]),
        ("automated_full_backup_20240103_060000_daily.sql", "--compress=9", &[]),
    ] {
        let file = make(&site, name, compress, steps);
        let mut import = ImportOptions::default();
        import.legacy = options();
        let report = ops::import(&site.repository, &file, &import, Some(&site.driver()), NO_PROGRESS).await.unwrap();
        assert!(report.is_complete(), "{name}: {report:?}");
        let (date, _) = name.split_once("_06").unwrap();
        assert!(report.id.as_str().starts_with(&date[date.len() - 8..]), "{name}: {}", report.id);

        let verdict = ops::restore_test(
            &site.repository,
            &report.id,
            &site.restore_test().with_roles(vec!["erp_reader".to_owned()]),
            NO_PROGRESS,
        )
        .await
        .unwrap();
        assert!(verdict.passed, "{name}: {verdict:?}");
        let target = site.restoring(RestoreOptions::new().target("imported"));
        ops::restore(&site.repository, &report.id, &target, NO_PROGRESS).await.unwrap();
        assert_eq!(site.content("imported"), before, "{name}");
        site.server.psql("postgres", "DROP DATABASE imported");
    }
    let catalogue = site.repository.catalogue().await.unwrap();
    assert_eq!(catalogue.problems, []);
    assert_eq!(catalogue.entries.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_passphrase_writes_nothing() {
    let site = Site::new(17).await;
    let file = make(&site, "full_backup_20240215_120000.sql.enc", "--compress=9", &[OPENSSL]);
    let mut import = ImportOptions::default();
    import.legacy = LegacyOptions { passphrase: Some("wrong".into()), ..LegacyOptions::default() };
    let error = ops::import(&site.repository, &file, &import, None, NO_PROGRESS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    assert!(site.repository.catalogue().await.unwrap().entries.is_empty());
}
