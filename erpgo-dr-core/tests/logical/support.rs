//! Servers, drivers and comparisons that the stories share.

use erpgo_dr_core::conformance::driver::MemoryBackup;
use erpgo_dr_core::postgres::{
    BackupContents, ClientPrograms, ConnectionSettings, DatabaseDriver, DumpOptions, LogicalDriver, RestoreOptions,
    RestoreOutcome,
};
use erpgo_dr_core::progress::NoProgress;
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::{MAJORS, SUPERUSER, postgres_bin};

/// A database with names, roles and settings that break whoever does not quote.
pub(crate) const HOSTILE_DATABASE: &str = "Od\"d 'db' = \\x; -- \nnew=line é";

/// Finds the programs of all versions under test.
pub(crate) fn programs() -> ClientPrograms {
    MAJORS.iter().fold(ClientPrograms::new(), |programs, major| programs.folder(postgres_bin(*major)))
}

pub(crate) fn settings(server: &PgServer) -> ConnectionSettings {
    let host = server.socket_dir().to_str().unwrap();
    ConnectionSettings::new(host).port(server.port()).user(SUPERUSER)
}

pub(crate) fn driver(server: &PgServer) -> LogicalDriver {
    LogicalDriver::new(settings(server), programs())
}

pub(crate) async fn back_up(server: &PgServer, options: DumpOptions) -> (MemoryBackup, BackupContents) {
    let mut backup = MemoryBackup::new();
    let driver = driver(server).dump_options(options);
    let contents = driver.back_up(&mut backup, &NoProgress).await.unwrap();
    (backup, contents)
}

pub(crate) async fn restore(
    server: &PgServer,
    backup: &MemoryBackup,
    contents: &BackupContents,
    options: RestoreOptions,
) -> Result<RestoreOutcome, erpgo_dr_core::postgres::PostgresError> {
    driver(server).restore_options(options).restore(backup, contents, &NoProgress).await
}

/// Makes the sample, and beside it what the sample leaves out.
pub(crate) fn create_sample(server: &PgServer, database: &str) {
    server.create_sample(database, 1);
    server.psql(database, EXTRAS);
}

const EXTRAS: &str = r#"
CREATE ROLE "Mixed ""Case"" -- role" LOGIN PASSWORD 'se''cret';
CREATE SCHEMA "Sch'ema; ""x""" AUTHORIZATION "Mixed ""Case"" -- role";
CREATE TABLE "Sch'ema; ""x"""."two
lines -- ; \" ("co""l
umn" text PRIMARY KEY, "ünïcödé 🐘" int);
INSERT INTO "Sch'ema; ""x"""."two
lines -- ; \" VALUES (E'back\\slash\ttab\nnewline', 1), ('\.', 2), ('', NULL);
COMMENT ON TABLE "Sch'ema; ""x"""."two
lines -- ; \" IS E'--\n; DROP TABLE x; \\';
CREATE TABLE public.empty (a int, b text);
CREATE TABLE public.nothing ();
CREATE TABLE public.ring_a (id int PRIMARY KEY, b int);
CREATE TABLE public.ring_b (id int PRIMARY KEY, a int REFERENCES public.ring_a);
ALTER TABLE public.ring_a ADD FOREIGN KEY (b) REFERENCES public.ring_b;
INSERT INTO public.ring_a VALUES (1, NULL), (2, NULL);
INSERT INTO public.ring_b VALUES (1, 1), (2, 2);
UPDATE public.ring_a SET b = id;
CREATE TABLE public.dropped (a int, gone text, z timestamptz DEFAULT now());
ALTER TABLE public.dropped DROP COLUMN gone;
INSERT INTO public.dropped SELECT n, '2026-03-29 01:30:00+00'::timestamptz + n * interval '1 hour' FROM generate_series(1, 50) n;
CREATE PUBLICATION everything FOR ALL TABLES;
"#;

/// Asserts that two databases have the same definitions and the same rows.
pub(crate) async fn assert_equal(a: &PgServer, database_a: &str, b: &PgServer, database_b: &str) {
    let fingerprint_a = driver(a).fingerprint_database(database_a).await.unwrap();
    let fingerprint_b = driver(b).fingerprint_database(database_b).await.unwrap();
    assert!(fingerprint_a.iter().map(|table| table.rows).sum::<u64>() > 0, "an empty database proves nothing");
    erpgo_dr_core::postgres::compare_tables(&fingerprint_a, &fingerprint_b).unwrap();
    // Both by the newer server's pg_dump. Versions write the same view in other words: there, names are compared.
    let by = if a.major() > b.major() { a } else { b };
    if a.major() != b.major() {
        let names = |text: String| {
            let mut names: Vec<String> =
                text.lines().filter(|line| line.starts_with("-- Name: ")).map(str::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(names(schema(a, database_a, by)), names(schema(b, database_b, by)));
        return;
    }
    let (schema_a, schema_b) = (schema(a, database_a, by), schema(b, database_b, by));
    assert!(schema_a.len() > 1000);
    if schema_a != schema_b {
        let context =
            |text: &str, at: usize| text.lines().skip(at.saturating_sub(6)).take(12).collect::<Vec<_>>().join("\n");
        let at = schema_a.lines().zip(schema_b.lines()).take_while(|(a, b)| a == b).count();
        panic!("definitions differ:\n{}\n======\n{}", context(&schema_a, at), context(&schema_b, at));
    }
}

fn schema(server: &PgServer, database: &str, by: &PgServer) -> String {
    let mut command = server.client(by.bin().join("pg_dump").to_str().unwrap());
    let output = command.arg("--schema-only").arg("-d").arg(conninfo(database)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let varies = |line: &&str| {
        !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict") && !line.starts_with("-- Dumped")
    };
    let text = text.lines().filter(varies).collect::<Vec<_>>().join("\n");
    // A mark that PostgreSQL 15.20 keeps with each column, and that only its own pg_dump leaves out.
    text.split_inclusive(";\n").filter(|statement| !statement.contains("pg_attver=")).collect()
}

pub(crate) fn conninfo(database: &str) -> String {
    ConnectionSettings::default().database(database).conninfo()
}

/// Runs SQL in a database whatever its name is.
pub(crate) fn psql(server: &PgServer, database: &str, sql: &str) -> String {
    server.psql(&conninfo(database), sql)
}
