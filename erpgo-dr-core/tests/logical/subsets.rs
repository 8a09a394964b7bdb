//! Single tables and schemas come back, without the rest of the stream being read.

use erpgo_dr_core::postgres::{BackupSource, DumpOptions, PostgresError, RestoreOptions, TableName, compare_tables};
use erpgo_dr_testkit::PgServer;

use super::support::*;

#[tokio::test]
async fn a_table_comes_back_into_the_database_that_lost_it() {
    let server = PgServer::start(15);
    create_sample(&server, "erp");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    let before = driver(&server).fingerprint_database("erp").await.unwrap();
    server.psql("postgres", "CREATE DATABASE reference TEMPLATE erp");
    server.psql("erp", "DROP TABLE erp.documents");
    let table = TableName::new("erp", "documents");
    let options = RestoreOptions::new().tables(vec![table]).allow_non_empty(true);
    backup.take_read();
    let outcome = restore(&server, &backup, &contents, options).await.unwrap();
    let stream = backup.streams().last().unwrap().bytes;
    let read = backup.take_read();
    assert!(read < stream / 2 && read > 0, "{read} of {stream} bytes were read");
    assert!(outcome.bytes <= read);
    compare_tables(&before, &driver(&server).fingerprint_database("erp").await.unwrap()).unwrap();
    for catalogue in ["pg_policies", "pg_indexes"] {
        let sql = format!(
            "SELECT string_agg(t::text, '|' ORDER BY t::text) FROM {catalogue} t WHERE tablename = 'documents'"
        );
        let text = server.psql("erp", &sql);
        assert!(!text.is_empty());
        assert_eq!(text, server.psql("reference", &sql));
    }
    let constraints = "SELECT string_agg(pg_get_constraintdef(oid), '; ' ORDER BY oid::text) FROM pg_constraint
        WHERE conrelid = 'erp.documents'::regclass AND contype = 'f'";
    assert!(server.psql("erp", constraints).contains("REFERENCES erp.customers"));
}

#[tokio::test]
async fn a_table_comes_back_into_a_new_database_with_what_it_needs() {
    let server = PgServer::start(17);
    create_sample(&server, "erp");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    let before = driver(&server).fingerprint_database("erp").await.unwrap();
    for jobs in [1, 2] {
        let name = format!("part{jobs}");
        let tables = vec![TableName::new("erp", "orders"), TableName::new("audit", "log")];
        let options = RestoreOptions::new().tables(tables).target(&name).jobs(jobs);
        restore(&server, &backup, &contents, options).await.unwrap();
        let found = driver(&server).fingerprint_database(&name).await.unwrap();
        let names: Vec<&str> =
            found.iter().map(|table| table.name.as_str()).filter(|name| !name.contains("log")).collect();
        assert!(names.contains(&"orders") && !names.contains(&"customers"), "{names:?}");
        let expected: Vec<_> = before
            .iter()
            .filter(|table| found.iter().any(|other| (&other.schema, &other.name) == (&table.schema, &table.name)))
            .cloned()
            .collect();
        compare_tables(&expected, &found).unwrap();
        assert_eq!(server.psql(&name, "SELECT count(*) > 0 FROM audit.log"), "t");
        // The identity goes on where it stood.
        let next = "SELECT last_value FROM erp.orders_id_seq";
        assert_eq!(server.psql(&name, next), server.psql("erp", next));
    }
}

#[tokio::test]
async fn a_schema_comes_back_alone() {
    let server = PgServer::start(18);
    create_sample(&server, "erp");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    let options = RestoreOptions::new().schemas(vec!["Sch'ema; \"x\"".into()]).target("part");
    restore(&server, &backup, &contents, options).await.unwrap();
    let found = driver(&server).fingerprint_database("part").await.unwrap();
    assert_eq!(found.iter().map(|table| table.rows).collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn what_is_not_in_the_backup_is_refused_before_anything_is_made() {
    let server = PgServer::start(15);
    create_sample(&server, "erp");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    for options in [
        RestoreOptions::new().tables(vec![TableName::new("erp", "nowhere")]),
        RestoreOptions::new().schemas(vec!["nowhere".into()]),
    ] {
        let outcome = restore(&server, &backup, &contents, options.target("part")).await;
        assert!(matches!(outcome, Err(PostgresError::NotInBackup(_))), "{outcome:?}");
        assert_eq!(server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'part'"), "0");
    }
}

#[tokio::test]
async fn filters_take_part_of_a_database_and_never_nothing() {
    let server = PgServer::start(17);
    create_sample(&server, "erp");
    let options = DumpOptions::new().database("erp").globals(false);
    let filtered = options.clone().exclude_schemas(vec!["audit".into()]).exclude_table_data(vec!["erp.orders".into()]);
    let (_, contents) = back_up(&server, filtered).await;
    let tables = &contents.databases[0].tables;
    assert!(tables.iter().any(|table| table.name == "customers"));
    assert!(tables.iter().all(|table| table.schema != "audit" && table.name != "orders"), "{tables:?}");

    let mut sink = erpgo_dr_core::conformance::driver::MemoryBackup::new();
    let nothing = driver(&server).dump_options(options.include_tables(vec!["erp.ordres".into()]));
    let outcome =
        erpgo_dr_core::DatabaseDriver::back_up(&nothing, &mut sink, &erpgo_dr_core::progress::NoProgress).await;
    assert!(matches!(&outcome, Err(PostgresError::Program { stderr, .. }) if stderr.contains("ordres")), "{outcome:?}");
}
