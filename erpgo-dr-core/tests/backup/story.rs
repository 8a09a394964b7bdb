//! Back up, verify at every level, lose a table, bring it back, and bring everything back elsewhere.

use erpgo_dr_core::ErrorKind;
use erpgo_dr_core::ops::{self, BackupOptions, SqlCheck, VerifyOptions};
use erpgo_dr_core::postgres::{RestoreOptions, TableName};
use erpgo_dr_core::repository::VerifyLevel;
use erpgo_dr_testkit::postgres::MAJORS;

use super::support::{NO_PROGRESS, Site};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_goes_in_and_comes_back_on_every_version() {
    for major in MAJORS {
        let site = Site::new(major).await;
        let before = site.content("erp");
        assert!(before.lines().count() > 5, "the sample has tables: {before}");

        let options = BackupOptions::default().with_verify(Some(VerifyLevel::Contents));
        let report = ops::backup(&site.repository, &site.driver(), &options, NO_PROGRESS).await.unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(report.databases, ["erp"]);

        site.server.psql("erp", "DROP TABLE erp.documents CASCADE; DELETE FROM erp.order_items");
        assert_ne!(site.content("erp"), before);
        let refused = site.restoring(RestoreOptions::new());
        let error = ops::restore(&site.repository, &report.id, &refused, NO_PROGRESS).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "a database with data is not restored into unasked: {error}");

        let clean = site.restoring(RestoreOptions::new().clean(true));
        ops::restore(&site.repository, &report.id, &clean, NO_PROGRESS).await.unwrap();
        assert_eq!(site.content("erp"), before, "version {major}");

        let elsewhere = site.restoring(RestoreOptions::new().target("erp_copy").jobs(3));
        ops::restore(&site.repository, &report.id, &elsewhere, NO_PROGRESS).await.unwrap();
        assert_eq!(site.content("erp_copy"), before, "version {major}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_table_comes_back_alone() {
    let site = Site::new(17).await;
    let before = site.content("erp");
    let id = ops::backup(&site.repository, &site.driver(), &BackupOptions::default(), NO_PROGRESS).await.unwrap().id;
    site.server.psql("erp", "DROP TABLE erp.documents CASCADE");
    let only = RestoreOptions::new().tables(vec![TableName::new("erp", "documents")]).allow_non_empty(true);
    ops::restore(&site.repository, &id, &site.restoring(only), NO_PROGRESS).await.unwrap();
    let rows = |content: &str| {
        content.lines().filter(|line| line.contains("erp.documents")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!rows(&before).is_empty());
    assert_eq!(rows(&site.content("erp")), rows(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_test_proves_a_backup_and_finds_what_is_wrong() {
    for major in MAJORS {
        let site = Site::new(major).await;
        let id =
            ops::backup(&site.repository, &site.driver(), &BackupOptions::default(), NO_PROGRESS).await.unwrap().id;
        let check = |name: &str, query: &str| SqlCheck {
            name: name.to_owned(),
            database: "erp".to_owned(),
            query: query.to_owned(),
        };
        let checks = vec![check("customers", "SELECT count(*) > 0 FROM erp.customers")];
        let options = site.restore_test().with_jobs(2).with_checks(checks);
        let verdict = ops::restore_test(&site.repository, &id, &options, NO_PROGRESS).await.unwrap();
        assert!(verdict.passed, "version {major}: {verdict:?}");
        assert!(verdict.restore_seconds.is_some());

        let wrong = vec![check("too many", "SELECT count(*) > 1000000 FROM erp.customers")];
        let verdict = ops::restore_test(&site.repository, &id, &options.with_checks(wrong), NO_PROGRESS).await.unwrap();
        assert!(!verdict.passed && verdict.findings[0].contains("too many"), "{verdict:?}");

        let status = ops::status(&site.repository).await.unwrap();
        assert!(status.rto_seconds.is_some());
        assert_eq!(status.failed, [id], "the failed check is the last word");
        let left: Vec<_> = std::fs::read_dir(site.folder.path().join("s")).unwrap().collect();
        assert!(left.is_empty(), "the throwaway server left {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_reads_what_the_restore_tools_would() {
    let site = Site::new(18).await;
    let driver = site.driver();
    ops::backup(&site.repository, &driver, &BackupOptions::default().with_verify(None), NO_PROGRESS).await.unwrap();
    for level in [VerifyLevel::Scrub, VerifyLevel::Mac, VerifyLevel::Contents] {
        let options = VerifyOptions::default().with_level(level);
        let report = ops::verify(&site.repository, &[], Some(&driver), &options, NO_PROGRESS).await.unwrap();
        assert!(report.passed(), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_loses_one_of_its_connections_leaves_nothing() {
    let site = Site::new(15).await;
    let rows =
        "CREATE TABLE erp.large AS SELECT n, repeat(md5(n::text), 40) AS filler FROM generate_series(1, 100000) AS n";
    site.server.psql("erp", rows);
    let client = {
        let settings: erpgo_dr_core::postgres::ConnectionSettings = site.server.url("postgres").parse().unwrap();
        settings.connect().await.unwrap()
    };
    let killer = tokio::spawn(async move {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE query LIKE 'COPY (SELECT%erp.large%' AND state = 'active' LIMIT 1";
        while client.query(kill, &[]).await.unwrap().is_empty() {}
    });
    let outcome = ops::backup(&site.repository, &site.driver(), &BackupOptions::default(), NO_PROGRESS).await;
    let error = outcome.unwrap_err();
    killer.await.unwrap();
    assert!(error.to_string().contains("read table erp.large"), "{error}");
    assert!(error.is_retryable(), "{error:?}");
    assert!(site.repository.catalogue().await.unwrap().entries.is_empty());
    let mut folders = vec![site.folder.path().join("repository/dumps")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            assert!(entry.file_type().unwrap().is_dir(), "{} stays behind", entry.path().display());
            folders.push(entry.path());
        }
    }
    ops::backup(&site.repository, &site.driver(), &BackupOptions::default(), NO_PROGRESS).await.unwrap();
}
