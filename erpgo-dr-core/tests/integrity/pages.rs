//! Bytes that were altered on the disk.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use erpgo_dr_core::ops::IntegrityReport;
use erpgo_dr_testkit::postgres::{MAJORS, PgServer};

use crate::support::{DATABASE, lines, look, options};

const PAGE: u64 = 8192;

/// Alters bytes of a page of a relation while its server is down.
fn alter(server: &mut PgServer, relation: &str, page: u64, at: u64, bytes: &[u8]) {
    let path = server.psql(DATABASE, &format!("SELECT pg_relation_filepath('{relation}')"));
    server.stop();
    let file = File::options().write(true).open(server.data_dir().join(path)).unwrap();
    file.write_all_at(bytes, page * PAGE + at).unwrap();
    server.restart();
}

/// What is found beside checksums, which only PostgreSQL 18 has by default.
fn damage(report: &IntegrityReport) -> Vec<String> {
    lines(report).into_iter().filter(|line| !line.starts_with("checksum-failures")).collect()
}

#[tokio::test]
async fn a_damaged_index_and_a_damaged_table_are_found_and_orphans_do_not_rest_on_the_index() {
    for major in MAJORS {
        let mut server = PgServer::start(major);
        server.create_database(DATABASE);
        server.psql(
            DATABASE,
            "CREATE EXTENSION amcheck; CREATE TABLE part (id bigint PRIMARY KEY); INSERT INTO part SELECT generate_series(1, 100);
             CREATE TABLE use_of (part bigint REFERENCES part); INSERT INTO use_of SELECT generate_series(1, 100); REINDEX TABLE part",
        );
        let report = look(&server, &options()).await;
        assert_eq!(lines(&report), [""; 0], "{major}");
        assert!(
            report.not_checked.is_empty() && report.checked.tables > 50 && report.checked.indexes > 50,
            "{report:?}"
        );

        // The only leaf of the index is its page 1; its first entry lies at the end of the page, before 16 bytes of the index's own.
        alter(&mut server, "part_pkey", 1, PAGE - 16 - 8, &[0, 0, 0, 0, 0, 0, 0, 0x7F]);
        let quick = look(&server, &options().with_quick(true)).await;
        assert_eq!(damage(&quick), ["damaged-index public.part_pkey  -"], "{major}");
        assert!(quick.checked.tables == 0 && quick.not_checked.len() == 1, "{quick:?}");
        let report = look(&server, &options()).await;
        assert_eq!(damage(&report), ["damaged-index public.part_pkey  -"], "{major}: rows are read from tables");
        assert!(
            report.findings.last().unwrap().message.contains("REINDEX INDEX CONCURRENTLY \"public\".\"part_pkey\"")
        );

        // The header of the first row of the table.
        alter(&mut server, "use_of", 0, PAGE - 32, &[0xFF; 24]);
        let report = look(&server, &options()).await;
        assert!(lines(&report).contains(&"damaged-table public.use_of  -".to_owned()), "{major}: {report:?}");
    }
}

#[tokio::test]
async fn wrong_checksums_are_known_for_as_long_as_the_statistics_are() {
    let mut server = PgServer::start(18);
    server.create_database(DATABASE);
    server.psql(DATABASE, "CREATE TABLE t AS SELECT 1 AS n; ANALYZE t");
    alter(&mut server, "t", 0, PAGE - 1, &[0x55]);
    assert!(server.try_psql(DATABASE, "SELECT * FROM t").is_err(), "PostgreSQL 18 has checksums by default");
    let report = look(&server, &options()).await;
    assert!(report.data_checksums, "{report:?}");
    assert!(lines(&report).iter().any(|line| line.starts_with("checksum-failures . ")), "{report:?}");
}
