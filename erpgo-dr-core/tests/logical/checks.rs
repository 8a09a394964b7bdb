//! A check finds what is not as it was recorded; queries about a server are answered.

use erpgo_dr_core::postgres::{CheckDepth, DatabaseDriver, DumpOptions, PostgresError};
use erpgo_dr_testkit::PgServer;

use super::support::*;

#[tokio::test]
async fn a_changed_backup_is_found() {
    let server = PgServer::start(15);
    create_sample(&server, "erp");
    let (mut backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    let driver = driver(&server);
    for depth in [CheckDepth::List, CheckDepth::Contents] {
        driver.check(&backup, &contents, depth).await.unwrap();
    }
    backup.take_read();
    driver.check(&backup, &contents, CheckDepth::List).await.unwrap();
    let total: usize = (0..2).map(|stream| backup.stream(stream).len()).sum();
    assert!(backup.take_read() < total as u64 / 2, "a look at the list reads the head only");

    let mut other = contents.clone();
    other.databases[0].toc_entries += 1;
    let outcome = driver.check(&backup, &other, CheckDepth::List).await;
    assert!(matches!(outcome, Err(PostgresError::ContentsDiffer(_))), "{outcome:?}");

    // In the middle of a table's rows, where no structure is.
    let orders = contents.databases[0].tables.iter().find(|table| table.name == "orders").unwrap();
    backup.flip_bit(1, usize::try_from(orders.offset + orders.length / 2).unwrap());
    driver.check(&backup, &contents, CheckDepth::List).await.unwrap();
    let outcome = driver.check(&backup, &contents, CheckDepth::Contents).await;
    assert!(matches!(&outcome, Err(PostgresError::ContentsDiffer(text)) if text.contains("orders")), "{outcome:?}");
}

#[tokio::test]
async fn a_server_answers_what_operations_ask() {
    let server = PgServer::start(18);
    create_sample(&server, "erp");
    let inspector = driver(&server).inspector();
    assert_eq!(inspector.list_databases().await.unwrap(), ["erp", "postgres"]);
    assert!(inspector.database_exists("erp").await.unwrap());
    assert!(!inspector.database_exists("nope").await.unwrap());
    assert!(inspector.database_size("erp").await.unwrap() > 1 << 20);
    let outcome = inspector.database_size("nope").await;
    assert!(matches!(outcome, Err(PostgresError::NoSuchDatabase { .. })), "{outcome:?}");
    let info = inspector.probe().await.unwrap();
    assert_eq!((info.major(), info.in_recovery), (18, false));
}

#[tokio::test]
async fn a_check_passes_by_one_true() {
    let server = PgServer::start(15);
    let inspector = driver(&server).inspector();
    let check = async |sql: &'static str| inspector.run_check("postgres", sql).await;
    assert!(check("SELECT count(*) > 0 FROM pg_class").await.unwrap().passed);
    for (sql, detail) in [
        ("SELECT false", "false"),
        ("SELECT NULL::boolean", "null"),
        ("SELECT 1", "a column of type int4 instead of boolean"),
        ("SELECT true WHERE false", "0 rows instead of one"),
        ("VALUES (true), (true)", "2 rows instead of one"),
        ("SELECT", "a row without columns"),
    ] {
        let outcome = check(sql).await.unwrap();
        assert_eq!((outcome.passed, outcome.detail.as_str()), (false, detail), "{sql}");
    }
    for sql in ["SELECT tru", "CREATE TABLE t (a int)", "SELECT true; SELECT true"] {
        let outcome = check(sql).await;
        assert!(matches!(outcome, Err(PostgresError::Query { .. })), "{sql}: {outcome:?}");
    }
}
