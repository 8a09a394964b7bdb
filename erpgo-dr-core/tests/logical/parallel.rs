//! Several connections read the tables of one database: what comes out is the archive that one pg_dump would have made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use erpgo_dr_core::conformance::driver::MemoryBackup;
use erpgo_dr_core::postgres::{
    BackupContents, BackupSink, BackupSource, BoxError, CheckDepth, DatabaseDriver, DumpOptions, PostgresError,
    RestoreOptions, Scope, SegmentSink, StreamKind, TableContents, TableName, compare_tables,
};
use erpgo_dr_core::progress::NoProgress;
use erpgo_dr_testkit::PgServer;

use super::support::*;

/// Two pages: even the tables of the sample are cut.
const SEGMENT: u64 = 16 << 10;

/// What a session may set that changes the text of values, and tables that pg_dump reads in other ways than by their name.
const ODDITIES: &str = r#"
ALTER DATABASE erp SET DateStyle = 'SQL, DMY';
ALTER DATABASE erp SET IntervalStyle = 'iso_8601';
ALTER DATABASE erp SET extra_float_digits = -5;
ALTER DATABASE erp SET bytea_output = 'escape';
ALTER DATABASE erp SET TimeZone = 'Asia/Kolkata';
ALTER DATABASE erp SET search_path = erp, public;
ALTER DATABASE erp SET row_security = on;
CREATE TABLE public.texts AS
    SELECT n, n / 3.0::float8 AS f, n / 3.0::real AS r, n * interval '1 day 01:02:03' AS i,
           timestamptz '2026-03-29 01:30:00+00' + n * interval '1 hour' AS t, date '4000-01-01 BC' + n AS d,
           decode(md5(n::text), 'hex') AS b, ARRAY[n, NULL] AS a, E'\\.\t\n' || n AS s
    FROM generate_series(1, 2000) AS n;
CREATE TABLE public."a.b*(c)|[d]$ ""e"" \" (
    id int GENERATED ALWAYS AS IDENTITY, "select" text, gone int, twice int GENERATED ALWAYS AS (length("select") * 2) STORED
);
ALTER TABLE public."a.b*(c)|[d]$ ""e"" \" DROP COLUMN gone;
INSERT INTO public."a.b*(c)|[d]$ ""e"" \" ("select") SELECT repeat('y', n % 500) FROM generate_series(1, 2000) AS n;
CREATE TABLE public."A.B" AS SELECT * FROM public.texts;
CREATE TABLE public."a.b*(c)" AS SELECT * FROM public.texts;
CREATE TABLE public.parent (a int, filler text);
CREATE TABLE public.child (b int) INHERITS (public.parent);
INSERT INTO public.parent SELECT n, repeat('p', 200) FROM generate_series(1, 500) AS n;
INSERT INTO public.child SELECT n, repeat('c', 200), -n FROM generate_series(1, 500) AS n;
CREATE UNLOGGED TABLE public.fast AS SELECT n FROM generate_series(1, 5000) AS n;
CREATE TABLE public.wide (n int, filler text, t text);
ALTER TABLE public.wide ALTER COLUMN t SET STORAGE EXTERNAL;
INSERT INTO public.wide SELECT n, repeat('f', 400), repeat('w', 10000) FROM generate_series(1, 100) AS n;
CREATE TABLE public.circle (id int PRIMARY KEY, next int REFERENCES public.circle, filler text);
INSERT INTO public.circle SELECT n, 3000 - n, repeat('o', 100) FROM generate_series(1, 2999) AS n;
CREATE TYPE public.colour AS ENUM ('red', 'green', 'blue');
CREATE TABLE public.by_colour (c public.colour, filler text) PARTITION BY HASH (c);
CREATE TABLE public.by_colour_0 PARTITION OF public.by_colour FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.by_colour_1 PARTITION OF public.by_colour FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO public.by_colour SELECT (ARRAY['red', 'green', 'blue'])[n % 3 + 1]::public.colour, repeat('h', 100)
    FROM generate_series(1, 1000) AS n;
CREATE TABLE public.by_number (n int, filler text) PARTITION BY HASH (n);
CREATE TABLE public.by_number_0 PARTITION OF public.by_number FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.by_number_1 PARTITION OF public.by_number FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO public.by_number SELECT n, repeat('h', 100) FROM generate_series(1, 1000) AS n;
CREATE TABLE public.of_extension AS SELECT n FROM generate_series(1, 5000) AS n;
ALTER EXTENSION plpgsql ADD TABLE public.of_extension;
CREATE TABLE public.guarded AS SELECT n, n % 2 AS tenant FROM generate_series(1, 5000) AS n;
ALTER TABLE public.guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.guarded FORCE ROW LEVEL SECURITY;
CREATE POLICY odd ON public.guarded USING (tenant = 1);
CREATE FUNCTION public.note_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''ddl''; END';
CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION public.note_ddl();
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no rows from now on''; END';
CREATE TRIGGER refuse BEFORE INSERT ON public.texts FOR EACH ROW EXECUTE FUNCTION public.refuse();
SELECT pg_catalog.lo_from_bytea(0, decode(repeat('ab', 100000), 'hex'));
"#;

fn create_odd_sample(server: &PgServer) {
    create_sample(server, "erp");
    server.psql("erp", ODDITIES);
    if server.major() >= 18 {
        server.psql(
            "erp",
            "CREATE TABLE public.virtual (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL, c text);
             INSERT INTO public.virtual (a, c) SELECT n, repeat('v', 50) FROM generate_series(1, 2000) AS n",
        );
    }
}

fn parallel() -> DumpOptions {
    DumpOptions::new().database("erp").jobs(3).segment_bytes(SEGMENT)
}

fn tables(contents: &BackupContents) -> &[TableContents] {
    &contents.databases[0].tables
}

fn cut<'a>(contents: &'a BackupContents, name: &str) -> &'a TableContents {
    let table = tables(contents).iter().find(|table| table.name == name).unwrap();
    assert!(!table.cuts.is_empty(), "{name} is read in slices");
    table
}

/// Lets the server's own pg_restore read the stream as a file.
fn pg_restore(server: &PgServer, archive: &Bytes, arguments: &[&str]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), archive).unwrap();
    let output = server.client("pg_restore").args(arguments).arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn without_versions(script: &str) -> String {
    script.lines().filter(|line| !line.contains("restrict ") && !line.starts_with("--")).collect::<Vec<_>>().join("\n")
}

async fn round_trip(major: u32) {
    let server = PgServer::start(major);
    create_odd_sample(&server);
    let (alone, alone_contents) = back_up(&server, DumpOptions::new().database("erp")).await;
    let (backup, contents) = back_up(&server, parallel()).await;
    let serial = &alone_contents.databases[0];
    assert_eq!(contents.databases[0].toc_entries, serial.toc_entries);
    compare_tables(&serial.tables, tables(&contents)).unwrap();
    for name in ["texts", "wide", "a.b*(c)|[d]$ \"e\" \\", "circle", "guarded", "child", "by_number_0"] {
        cut(&contents, name);
    }
    // What pg_dump must read itself comes first.
    let place = |name: &str| tables(&contents).iter().position(|table| table.name == name).unwrap();
    for name in ["by_colour_0", "fast"] {
        assert!(tables(&contents)[place(name)].cuts.is_empty() && place(name) < place("BLOBS"), "{name}");
    }
    driver(&server).check(&backup, &contents, CheckDepth::Contents).await.unwrap();

    // To pg_restore it is an archive as any other.
    let (stream, serial_stream) = (backup.streams().last().unwrap(), alone.streams().last().unwrap());
    assert_eq!(backup.streams().len(), alone.streams().len());
    let (archive, alone) = (backup.stream(stream.number as usize), alone.stream(serial_stream.number as usize));
    let schema = |archive| without_versions(&pg_restore(&server, archive, &["--schema-only", "--file=-"]));
    assert_eq!(schema(archive), schema(alone));
    let sorted = |archive| {
        let script = pg_restore(&server, archive, &["--data-only", "--file=-"]);
        let mut lines: Vec<String> =
            script.lines().filter(|line| !line.contains("restrict ")).map(str::to_owned).collect();
        lines.retain(|line| !line.starts_with("--"));
        lines.sort();
        lines
    };
    assert_eq!(sorted(archive), sorted(alone));

    for (name, options) in [
        ("one", RestoreOptions::new()),
        ("four", RestoreOptions::new().jobs(4)),
        ("whole", RestoreOptions::new().single_transaction(true)),
    ] {
        let outcome = restore(&server, &backup, &contents, options.target(name)).await.unwrap();
        assert_eq!((outcome.databases, outcome.warnings), (vec![name.to_owned()], vec![]));
        // Rows find their partition by the OIDs of the labels, which are others in each database.
        let move_colours = "CREATE TABLE public.colours AS TABLE public.by_colour; DROP TABLE public.by_colour";
        server.psql(name, move_colours);
        if name == "one" {
            server.psql("erp", move_colours);
        }
        assert_equal(&server, "erp", &server, name).await;
        assert_eq!(server.psql(name, "SELECT max(id) FROM public.\"a.b*(c)|[d]$ \"\"e\"\" \\\""), "2000");
    }
    let objects = "SELECT sum(length(lo_get(oid))) FROM pg_largeobject_metadata";
    assert_eq!(server.psql("four", objects), server.psql("erp", objects));
}

#[tokio::test]
async fn version_15_in_parallel_is_what_pg_dump_alone_gives() {
    round_trip(15).await;
}

#[tokio::test]
async fn version_17_in_parallel_is_what_pg_dump_alone_gives() {
    round_trip(17).await;
}

#[tokio::test]
async fn version_18_in_parallel_is_what_pg_dump_alone_gives() {
    round_trip(18).await;
}

#[tokio::test]
async fn a_part_of_it_comes_back_without_the_rest() {
    let server = PgServer::start(17);
    create_odd_sample(&server);
    // Rows find their partition by the OIDs of the labels, which are others when the type is made anew.
    server.psql("erp", "DROP TABLE public.by_colour");
    let (backup, contents) = back_up(&server, parallel()).await;
    let expected = driver(&server).fingerprint_database("erp").await.unwrap();
    let stream = backup.streams().last().unwrap().bytes;
    server.psql("postgres", "CREATE DATABASE reference TEMPLATE erp; ALTER DATABASE erp RESET ALL");
    let lost = cut(&contents, "wide").clone();
    for jobs in [1, 3] {
        server.psql("erp", "DROP TABLE public.wide");
        backup.take_read();
        let table = TableName::new("public", "wide");
        let options = RestoreOptions::new().tables(vec![table]).allow_non_empty(true).jobs(jobs);
        restore(&server, &backup, &contents, options).await.unwrap();
        let read = backup.take_read();
        assert!((lost.length..stream / 2).contains(&read), "{read} of {stream} bytes for {}", lost.length);
        compare_tables(&expected, &driver(&server).fingerprint_database("erp").await.unwrap()).unwrap();
    }
    // Into tables that are there, with keys that refer to the table itself.
    server.psql("erp", "TRUNCATE public.circle, public.guarded");
    let tables = vec![TableName::new("public", "circle"), TableName::new("public", "guarded")];
    let options = RestoreOptions::new().tables(tables).scope(Scope::Data).allow_non_empty(true).jobs(3);
    restore(&server, &backup, &contents, options.clone()).await.unwrap();
    compare_tables(&expected, &driver(&server).fingerprint_database("erp").await.unwrap()).unwrap();
    server.psql("erp", "TRUNCATE public.circle, public.guarded");
    restore(&server, &backup, &contents, options.disable_triggers(true)).await.unwrap();
    assert_equal(&server, "reference", &server, "erp").await;
    // And over all that is there.
    server.psql("erp", "TRUNCATE public.wide; DROP VIEW erp.open_orders");
    let options = RestoreOptions::new().clean(true).jobs(2).terminate_sessions(true);
    restore(&server, &backup, &contents, options).await.unwrap();
    assert_equal(&server, "reference", &server, "erp").await;
}

#[tokio::test]
async fn filters_hold_for_tables_that_are_read_beside_pg_dump() {
    let server = PgServer::start(15);
    create_odd_sample(&server);
    type Filter = fn(DumpOptions) -> DumpOptions;
    let filters: [Filter; 4] = [
        |options| options.exclude_tables(vec!["*.texts".into(), "erp.order*".into()]),
        |options| {
            options.exclude_table_data(vec!["TEXTS".into(), "public.\"a.b*(c)\"".into(), "erp.(orders|docu*)".into()])
        },
        |options| options.include_tables(vec!["public.wide".into(), "\"A.B\"".into(), "public.texts".into()]),
        |options| options.include_schemas(vec!["public".into()]).exclude_table_data(vec!["*.c*".into()]),
    ];
    for filter in filters {
        let (_, alone) = back_up(&server, filter(DumpOptions::new().database("erp"))).await;
        let (backup, contents) = back_up(&server, filter(parallel())).await;
        assert_eq!(contents.databases[0].toc_entries, alone.databases[0].toc_entries);
        compare_tables(tables(&alone), tables(&contents)).unwrap();
        cut(&contents, "wide");
        driver(&server).check(&backup, &contents, CheckDepth::Contents).await.unwrap();
    }
    // Nothing is read beside pg_dump where it would read nothing, or in an order of its own.
    for scope in [Scope::Schema, Scope::Data] {
        let (_, contents) = back_up(&server, parallel().scope(scope)).await;
        assert!(tables(&contents).iter().all(|table| table.cuts.is_empty()));
    }
    server.psql("postgres", "CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'");
    server.psql("latin", "CREATE TABLE t AS SELECT repeat('é', 1000) AS c FROM generate_series(1, 100)");
    let (_, contents) = back_up(&server, parallel().database("latin")).await;
    assert!(tables(&contents)[0].cuts.is_empty() && tables(&contents)[0].rows == 100);
}

/// Transfers between accounts while they are dumped: in no moment is the sum another.
#[tokio::test]
async fn all_connections_see_one_moment() {
    let server = Arc::new(PgServer::start(18));
    server.create_database("erp");
    server.psql(
        "erp",
        "CREATE TABLE accounts (id int PRIMARY KEY, balance int, filler text);
         CREATE TABLE postings (id int GENERATED ALWAYS AS IDENTITY, debit int, credit int, amount int, filler text);
         INSERT INTO accounts SELECT n, 1000, repeat('a', 200) FROM generate_series(0, 4999) AS n;",
    );
    let ended = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (server, ended) = (Arc::clone(&server), Arc::clone(&ended));
            std::thread::spawn(move || {
                let transfer = format!(
                    "DO $$ DECLARE a int; b int; n int := 0; BEGIN LOOP
                         a := floor(random() * 5000); b := floor(random() * 5000); n := n + 1;
                         IF a % 3 = {writer} AND b % 3 = {writer} AND a <> b THEN
                             UPDATE accounts SET balance = balance - 7 WHERE id = a;
                             UPDATE accounts SET balance = balance + 7 WHERE id = b;
                             INSERT INTO postings (debit, credit, amount, filler) VALUES (a, b, 7, repeat('p', 100));
                             COMMIT;
                         END IF;
                         EXIT WHEN n > 500;
                     END LOOP; END $$"
                );
                while !ended.load(Ordering::SeqCst) {
                    server.psql("erp", &transfer);
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut backups = Vec::new();
    for _ in 0..4 {
        backups.push(back_up(&server, parallel()).await);
    }
    ended.store(true, Ordering::SeqCst);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let mut postings = Vec::new();
    for (number, (backup, contents)) in backups.iter().enumerate() {
        cut(contents, "accounts");
        let name = format!("copy{number}");
        restore(&server, backup, contents, RestoreOptions::new().target(&name).jobs(2)).await.unwrap();
        let sums = "SELECT count(*), sum(balance), sum(abs(balance - 1000
                - coalesce((SELECT sum(amount) FROM postings WHERE credit = a.id), 0)
                + coalesce((SELECT sum(amount) FROM postings WHERE debit = a.id), 0))) FROM accounts AS a";
        server.psql(&name, "CREATE INDEX ON postings (credit); CREATE INDEX ON postings (debit); ANALYZE");
        assert_eq!(server.psql(&name, sums), "5000|5000000|0");
        postings.push(server.psql(&name, "SELECT count(*) FROM postings").parse::<u64>().unwrap());
    }
    assert!(postings[0] > 0 && postings.windows(2).all(|pair| pair[0] < pair[1]), "{postings:?}");
}

/// Does something once, when the first bytes of a segment come, before it takes them.
struct OnSegment<F> {
    backup: MemoryBackup,
    action: Arc<Mutex<Option<F>>>,
}

struct Watched<F> {
    segment: Box<dyn SegmentSink>,
    action: Arc<Mutex<Option<F>>>,
}

impl<F: FnOnce() + Send> OnSegment<F> {
    fn new(action: F) -> Self {
        Self { backup: MemoryBackup::new(), action: Arc::new(Mutex::new(Some(action))) }
    }
}

#[async_trait]
impl<F: FnOnce() + Send + 'static> BackupSink for OnSegment<F> {
    async fn begin(&mut self, kind: &StreamKind) -> Result<(), BoxError> {
        self.backup.begin(kind).await
    }

    async fn write(&mut self, data: Bytes) -> Result<(), BoxError> {
        self.backup.write(data).await
    }

    async fn segment(&mut self) -> Result<Box<dyn SegmentSink>, BoxError> {
        let segment = self.backup.segment().await?;
        Ok(Box::new(Watched { segment, action: Arc::clone(&self.action) }))
    }

    async fn end(&mut self) -> Result<(), BoxError> {
        self.backup.end().await
    }
}

#[async_trait]
impl<F: FnOnce() + Send + 'static> SegmentSink for Watched<F> {
    async fn write(&mut self, data: Bytes) -> Result<(), BoxError> {
        let action = self.action.lock().unwrap().take();
        if let Some(action) = action {
            tokio::task::spawn_blocking(action).await?;
        }
        self.segment.write(data).await
    }

    async fn end(self: Box<Self>) -> Result<(), BoxError> {
        self.segment.end().await
    }
}

fn create_large(server: &PgServer) {
    server.create_database("erp");
    server.psql("erp", "CREATE TABLE t AS SELECT n, repeat('x', 1000) AS filler FROM generate_series(1, 60000) AS n");
}

#[tokio::test]
async fn a_connection_that_is_ended_fails_the_backup() {
    let server = Arc::new(PgServer::start(17));
    create_large(&server);
    let killer = Arc::clone(&server);
    let mut sink = OnSegment::new(move || {
        let killed = killer.psql(
            "erp",
            "SELECT count(pg_terminate_backend(pid)) FROM (
                 SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT%' AND state = 'active' LIMIT 1) AS a",
        );
        assert_eq!(killed, "1");
    });
    let driver = driver(&server).dump_options(parallel().segment_bytes(8 << 20));
    let error = driver.back_up(&mut sink, &NoProgress).await.unwrap_err();
    match &error {
        PostgresError::Query { action, .. } => assert_eq!(action, "read table public.t"),
        other => panic!("{other:?}"),
    }
    assert!(sink.backup.streams().len() <= 1, "the stream was never ended");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'erp' AND pid <> pg_backend_pid()";
    for _ in 0..200 {
        if server.psql("erp", sessions) == "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("sessions stay behind");
}

/// A change of a table that waits for the dump must not be waited for by the dump.
#[tokio::test]
async fn a_table_that_somebody_waits_to_change_is_read_to_its_end() {
    let server = Arc::new(PgServer::start(15));
    create_large(&server);
    // Smaller, so that it is read when the other has been.
    server.psql("erp", "CREATE TABLE u AS SELECT n, repeat('u', 1000) AS filler FROM generate_series(1, 9000) AS n");
    let waiting = Arc::new(Mutex::new(None));
    let (changer, handle) = (Arc::clone(&server), Arc::clone(&waiting));
    let mut sink = OnSegment::new(move || {
        let waiter = Arc::clone(&changer);
        let thread = std::thread::spawn(move || waiter.psql("erp", "ALTER TABLE u ADD COLUMN more int; TRUNCATE u"));
        *handle.lock().unwrap() = Some(thread);
        let waits = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted";
        while changer.psql("postgres", waits) == "0" {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let driver = driver(&server).dump_options(parallel().segment_bytes(1 << 20));
    let dump = driver.back_up(&mut sink, &NoProgress);
    let contents = tokio::time::timeout(Duration::from_secs(60), dump).await.expect("nobody waits for ever").unwrap();
    assert_eq!(cut(&contents, "u").rows, 9000);
    waiting.lock().unwrap().take().unwrap().join().unwrap();
    assert_eq!(server.psql("erp", "SELECT count(*) FROM u"), "0");
    restore(&server, &sink.backup, &contents, RestoreOptions::new().target("copy").jobs(2)).await.unwrap();
    assert_eq!(server.psql("copy", "SELECT count(*), count(DISTINCT n) FROM u"), "9000|9000");
}

/// As without other connections: pg_dump waits for as long as it was told, for a table that it needs and for no other.
#[tokio::test]
async fn a_locked_table_is_left_to_pg_dump() {
    let server = PgServer::start(18);
    create_odd_sample(&server);
    let client = settings(&server).database("erp").connect().await.unwrap();
    client.batch_execute("BEGIN; LOCK TABLE public.texts IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let options = parallel().lock_timeout(Some(Duration::from_millis(300)));
    let outcome = driver(&server).dump_options(options.clone()).back_up(&mut MemoryBackup::new(), &NoProgress).await;
    assert!(
        matches!(&outcome, Err(PostgresError::Program { stderr, .. }) if stderr.contains("timeout")),
        "{outcome:?}"
    );
    let (_, contents) = back_up(&server, options.exclude_tables(vec!["public.texts".into()])).await;
    cut(&contents, "wide");
}

#[tokio::test]
async fn a_parallel_backup_passes_the_suite_of_drivers() {
    let server = PgServer::start(17);
    create_sample(&server, "erp");
    let driver = |server| driver(server).dump_options(parallel().globals(false));
    let number = std::sync::atomic::AtomicU32::new(0);
    let target = async || {
        let name = format!("target{}", number.fetch_add(1, Ordering::SeqCst) + 1);
        let options = RestoreOptions::new().target(name).jobs(2);
        Box::new(driver(&server).restore_options(options)) as Box<dyn DatabaseDriver>
    };
    let is_restored = async || {
        let name = format!("target{}", number.load(Ordering::SeqCst));
        assert_equal(&server, "erp", &server, &name).await;
        true
    };
    erpgo_dr_core::conformance::driver::run(&driver(&server), target, is_restored).await;
}
