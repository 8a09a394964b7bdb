//! What is backed up comes back: by one job and by several, under any name, on the same and a newer version.

use erpgo_dr_core::conformance;
use erpgo_dr_core::postgres::{DatabaseDriver, DumpOptions, RestoreOptions, Scope, StreamKind};
use erpgo_dr_testkit::PgServer;

use super::support::*;

async fn round_trip(major: u32) {
    let server = PgServer::start(major);
    create_sample(&server, "erp");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    assert_eq!(contents.dumped_with, major);
    assert!(contents.databases[0].snapshot.is_some());
    assert!(contents.databases[0].properties.large_objects > 0);
    for (name, jobs) in [("one", 1), ("four", 4)] {
        let options = RestoreOptions::new().target(name).jobs(jobs);
        let outcome = restore(&server, &backup, &contents, options).await.unwrap();
        assert_eq!((outcome.databases, outcome.warnings), (vec![name.to_owned()], vec![]));
        assert_equal(&server, "erp", &server, name).await;
        driver(&server).check(&backup, &contents, erpgo_dr_core::postgres::CheckDepth::Contents).await.unwrap();
    }
    let options = RestoreOptions::new().target("whole").single_transaction(true);
    restore(&server, &backup, &contents, options).await.unwrap();
    assert_equal(&server, "erp", &server, "whole").await;
}

#[tokio::test]
async fn version_15_comes_back() {
    round_trip(15).await;
}

#[tokio::test]
async fn version_17_comes_back() {
    round_trip(17).await;
}

#[tokio::test]
async fn version_18_comes_back() {
    round_trip(18).await;
}

#[tokio::test]
async fn a_whole_server_moves_to_a_newer_version() {
    let (old, new) = (PgServer::start(15), PgServer::start(18));
    create_sample(&old, "erp");
    old.psql("postgres", &format!("CREATE DATABASE \"{}\" OWNER erp_reader", HOSTILE_DATABASE.replace('"', "\"\"")));
    psql(&old, HOSTILE_DATABASE, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");
    old.psql(
        "erp",
        r#"ALTER DATABASE erp SET search_path TO "$user", erp, "Odd, ""path""";
           ALTER DATABASE erp SET default_transaction_read_only TO on;
           ALTER ROLE erp_reader IN DATABASE erp SET work_mem TO '5MB';
           SET default_transaction_read_only TO off;
           COMMENT ON DATABASE erp IS 'it''s \ odd';
           REVOKE CONNECT ON DATABASE erp FROM PUBLIC;
           GRANT CREATE ON DATABASE erp TO erp_reader WITH GRANT OPTION;
           ALTER DATABASE erp CONNECTION LIMIT 50;
           ALTER DATABASE erp OWNER TO "Mixed ""Case"" -- role""#,
    );
    let (backup, contents) = back_up(&old, DumpOptions::new()).await;
    let names: Vec<&str> = contents.databases.iter().map(|database| database.database.as_str()).collect();
    assert_eq!(names, [HOSTILE_DATABASE, "erp", "postgres"]);
    assert!(matches!(erpgo_dr_core::postgres::BackupSource::streams(&backup)[0].kind, StreamKind::Globals));

    let options = RestoreOptions::new().restore_globals(true).jobs(2).rename("erp", "erp 2");
    let outcome = restore(&new, &backup, &contents, options).await.unwrap();
    assert_eq!(outcome.databases, [HOSTILE_DATABASE, "erp 2", "postgres"]);
    assert_equal(&old, "erp", &new, "erp 2").await;
    assert_eq!(psql(&new, HOSTILE_DATABASE, "SELECT count(*), sum(n) FROM t"), "1000|500500");

    let properties = "SELECT pg_get_userbyid(datdba), datconnlimit, shobj_description(oid, 'pg_database'),
        (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(datacl) a),
        (SELECT string_agg(setrole::regrole::text || ' ' || setconfig::text, '; ' ORDER BY setrole)
         FROM pg_db_role_setting WHERE setdatabase = d.oid)
        FROM pg_database d WHERE datname = ";
    let before = old.psql("postgres", &format!("{properties} 'erp'"));
    assert!(before.contains("Odd") && before.contains("work_mem"), "{before}");
    assert_eq!(before, new.psql("postgres", &format!("{properties} 'erp 2'")));
    let password = "SELECT rolpassword FROM pg_authid WHERE rolname LIKE 'Mixed%'";
    assert!(old.psql("postgres", password).starts_with("SCRAM-SHA-256$"));
    assert_eq!(old.psql("postgres", password), new.psql("postgres", password));
}

#[tokio::test]
async fn the_encoding_and_locale_of_a_database_come_back() {
    let server = PgServer::start(17);
    server.psql("postgres", "CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'");
    server
        .psql("postgres", "CREATE DATABASE built TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'");
    server.psql("latin", "CREATE TABLE t AS SELECT 'é'::text AS c");
    server.psql("built", "CREATE TABLE t AS SELECT 'é'::text AS c");
    let (backup, contents) = back_up(&server, DumpOptions::new()).await;
    let options = RestoreOptions::new().rename("latin", "latin2").rename("built", "built2");
    let options = options.databases(vec!["latin".into(), "built".into()]);
    restore(&server, &backup, &contents, options).await.unwrap();
    let like = "SELECT encoding, datlocprovider, datcollate, datctype, datlocale FROM pg_database WHERE datname = ";
    for name in ["latin", "built"] {
        let of = |name: &str| server.psql("postgres", &format!("{like} '{name}'"));
        assert_eq!(of(name), of(&format!("{name}2")));
    }
    assert_eq!(
        server.psql("latin2", "SELECT octet_length(c), c FROM t"),
        server.psql("latin", "SELECT octet_length(c), c FROM t")
    );
}

#[tokio::test]
async fn definitions_and_data_can_be_taken_apart() {
    let server = PgServer::start(15);
    create_sample(&server, "erp");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    let definitions = RestoreOptions::new().target("copy").scope(Scope::Schema);
    restore(&server, &backup, &contents, definitions.clone()).await.unwrap();
    assert_eq!(server.psql("copy", "SELECT count(*) FROM erp.orders"), "0");
    assert!(backup.take_read() > 0);
    let data = RestoreOptions::new().target("copy").scope(Scope::Data).disable_triggers(true).allow_non_empty(true);
    restore(&server, &backup, &contents, data).await.unwrap();
    server.psql("copy", "REFRESH MATERIALIZED VIEW erp.revenue_by_month");
    assert_equal(&server, "erp", &server, "copy").await;

    // And as two backups.
    let (schema, schema_contents) = back_up(&server, DumpOptions::new().database("erp").scope(Scope::Schema)).await;
    let (rows, row_contents) = back_up(&server, DumpOptions::new().database("erp").scope(Scope::Data)).await;
    assert!(schema_contents.databases[0].tables.is_empty() && !row_contents.databases[0].tables.is_empty());
    restore(&server, &schema, &schema_contents, RestoreOptions::new().target("two")).await.unwrap();
    let data = RestoreOptions::new().target("two").scope(Scope::Data).disable_triggers(true).allow_non_empty(true);
    restore(&server, &rows, &row_contents, data.jobs(3)).await.unwrap();
    server.psql("two", "REFRESH MATERIALIZED VIEW erp.revenue_by_month");
    assert_equal(&server, "erp", &server, "two").await;
}

#[tokio::test]
async fn cleaning_replaces_what_was_there() {
    let server = PgServer::start(18);
    create_sample(&server, "erp");
    // PostgreSQL refuses to drop the keys of partitions, which pg_restore does not know.
    server.psql("erp", "DROP SCHEMA audit CASCADE");
    let (backup, contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    server.psql("postgres", "CREATE DATABASE reference TEMPLATE erp");
    server.psql("erp", "DELETE FROM erp.order_items; DROP VIEW erp.open_orders; CREATE TABLE public.extra (a int)");
    let options = RestoreOptions::new().clean(true).single_transaction(true).terminate_sessions(true);
    restore(&server, &backup, &contents, options).await.unwrap();
    assert_eq!(server.psql("erp", "SELECT count(*) FROM public.extra"), "0");
    server.psql("erp", "DROP TABLE public.extra");
    assert_equal(&server, "reference", &server, "erp").await;
}

/// The time zone and the output of bytea are settings of a server: a fingerprint must not depend on them.
#[tokio::test]
async fn a_fingerprint_is_the_same_on_a_server_with_other_settings() {
    let server = PgServer::start(17);
    create_sample(&server, "erp");
    let before = driver(&server).fingerprint_database("erp").await.unwrap();
    server.psql(
        "erp",
        "ALTER DATABASE erp SET timezone TO 'Asia/Kolkata'; ALTER DATABASE erp SET bytea_output TO escape;
         ALTER DATABASE erp SET datestyle TO 'German'; ALTER DATABASE erp SET intervalstyle TO 'iso_8601';
         ALTER DATABASE erp SET extra_float_digits TO 0; ALTER DATABASE erp SET statement_timeout TO '1ms'",
    );
    let after = driver(&server).fingerprint_database("erp").await.unwrap();
    erpgo_dr_core::postgres::compare_tables(&before, &after).unwrap();
    server.psql("erp", "SET statement_timeout TO 0; ALTER TABLE public.dropped REPLICA IDENTITY FULL; UPDATE public.dropped SET z = z + interval '1 microsecond' WHERE a = 7");
    let changed = driver(&server).fingerprint_database("erp").await.unwrap();
    let error = erpgo_dr_core::postgres::compare_tables(&before, &changed).unwrap_err();
    assert!(error.to_string().contains("table public.dropped has other contents in its 50 rows"), "{error}");
}

#[tokio::test]
async fn the_driver_passes_the_suite_for_drivers() {
    let server = PgServer::start(17);
    create_sample(&server, "erp");
    let source = driver(&server).dump_options(DumpOptions::new().database("erp"));
    let target = async || {
        server.psql("postgres", "DROP DATABASE IF EXISTS copy");
        let driver = driver(&server).restore_options(RestoreOptions::new().target("copy"));
        Box::new(driver) as Box<dyn DatabaseDriver>
    };
    let is_restored = async || {
        assert_equal(&server, "erp", &server, "copy").await;
        true
    };
    conformance::driver::run(&source, target, is_restored).await;
    assert_eq!(source.probe().await.unwrap().system_identifier, {
        let text = server.psql("postgres", "SELECT system_identifier FROM pg_control_system()");
        Some(text.parse().unwrap())
    });
}
