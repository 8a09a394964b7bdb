//! A restore does not begin where it would mix with, lose or miss something.

use erpgo_dr_core::postgres::{DumpOptions, PostgresError, RestoreOptions};
use erpgo_dr_testkit::PgServer;

use super::support::*;

#[tokio::test]
async fn a_database_in_use_is_not_restored_into() {
    let server = PgServer::start(17);
    create_sample(&server, "erp");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    let before = driver(&server).fingerprint_database("erp").await.unwrap();
    let outcome = restore(&server, &backup, &contents, RestoreOptions::new()).await;
    match outcome {
        Err(PostgresError::TargetNotEmpty { database, objects, .. }) => {
            assert_eq!(database, "erp");
            assert!(objects > 10);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(driver(&server).fingerprint_database("erp").await.unwrap(), before);

    for (name, sql) in [
        ("a", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
        ("b", "SELECT lo_create(0)"),
        ("c", "CREATE TYPE e AS ENUM ('x')"),
    ] {
        server.create_database(name);
        assert_eq!(driver(&server).inspector().count_user_objects(name).await.unwrap(), 0);
        server.psql(name, sql);
        let outcome = restore(&server, &backup, &contents, RestoreOptions::new().target(name)).await;
        assert!(matches!(outcome, Err(PostgresError::TargetNotEmpty { objects: 1, .. })), "{name}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_empty_database_and_extensions_are_no_obstacle() {
    let server = PgServer::start(15);
    create_sample(&server, "erp");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    server.create_database("there");
    let outcome = restore(&server, &backup, &contents, RestoreOptions::new().target("there").create(false)).await;
    assert_eq!(outcome.unwrap().databases, ["there"]);
    assert_equal(&server, "erp", &server, "there").await;
    let outcome = restore(&server, &backup, &contents, RestoreOptions::new().target("nowhere").create(false)).await;
    assert!(matches!(outcome, Err(PostgresError::NoSuchDatabase { .. })), "{outcome:?}");
}

#[tokio::test]
async fn options_that_exclude_each_other_are_refused() {
    let server = PgServer::start(17);
    create_sample(&server, "erp");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    for options in
        [RestoreOptions::new().jobs(2).single_transaction(true), RestoreOptions::new().rename("erp", "a").target("b")]
    {
        let outcome = restore(&server, &backup, &contents, options).await;
        assert!(matches!(outcome, Err(PostgresError::InvalidOptions(_))), "{outcome:?}");
    }
    let outcome = restore(&server, &backup, &contents, RestoreOptions::new().databases(vec!["other".into()])).await;
    assert!(matches!(outcome, Err(PostgresError::NotInBackup(_))), "{outcome:?}");
}

/// Roles that are not there make pg_restore fail, and what was made for the restore goes again.
#[tokio::test]
async fn a_failed_restore_leaves_no_half_database() {
    let (server, other) = (PgServer::start(17), PgServer::start(17));
    create_sample(&server, "erp");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    for jobs in [1, 3] {
        let outcome = restore(&other, &backup, &contents, RestoreOptions::new().jobs(jobs)).await;
        match outcome {
            Err(PostgresError::Program { program, stderr, .. }) => {
                assert_eq!(program, "pg_restore");
                assert!(stderr.contains("does not exist"), "{stderr}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(other.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'erp'"), "0");
    }
    let lenient = RestoreOptions::new().exit_on_error(false).no_owner(true);
    let outcome = restore(&other, &backup, &contents, lenient).await.unwrap();
    assert!(outcome.warnings.iter().any(|line| line.contains("erp_reader")), "{:?}", outcome.warnings);
    assert_eq!(
        other.psql("erp", "SELECT count(*) FROM erp.orders"),
        server.psql("erp", "SELECT count(*) FROM erp.orders")
    );
}

/// The role that restores keeps its password and its rights, whatever the backup says of it.
#[tokio::test]
async fn restoring_roles_does_not_lock_us_out() {
    let server = PgServer::start(17);
    let other = erpgo_dr_testkit::postgres::PgServerOptions::new(17).password("first").start();
    create_sample(&server, "erp");
    server.psql("postgres", "ALTER ROLE postgres PASSWORD 'other'; CREATE ROLE extra LOGIN PASSWORD 'x'");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    let driver = erpgo_dr_core::postgres::LogicalDriver::new(settings(&other).password("first".into()), programs())
        .restore_options(RestoreOptions::new().restore_globals(true));
    let no_progress = erpgo_dr_core::progress::NoProgress;
    let outcome = erpgo_dr_core::DatabaseDriver::restore(&driver, &backup, &contents, &no_progress).await.unwrap();
    assert!(outcome.warnings.iter().any(|line| line == "role \"postgres\" already exists"), "{:?}", outcome.warnings);
    assert_eq!(other.psql("postgres", "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'extra'"), "t");
}
