//! Records of real servers, one by one as `pg_waldump` shows them, and what they change as the server's own summaries tell.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use erpgo_dr_core::postgres::physical::{ChangedBlocks, ForkChanges, WalSummarizer};
use erpgo_dr_core::postgres::wal::SegmentHeader;
use erpgo_dr_core::postgres::wal::records::{
    BlockReference, LogPlace, RecordReader, RelationFork, TransactionEnd, WalRecord,
};
use erpgo_dr_core::types::{Lsn, TimelineId, WalSegmentName, WalSegmentSize};
use erpgo_dr_testkit::postgres::{MAJORS, PgServer, PgServerOptions};

/// Resource managers by their numbers, as `pg_waldump` names them.
const MANAGERS: [&str; 22] = [
    "XLOG",
    "Transaction",
    "Storage",
    "CLOG",
    "Database",
    "Tablespace",
    "MultiXact",
    "RelMap",
    "Standby",
    "Heap2",
    "Heap",
    "Btree",
    "Hash",
    "Gin",
    "Gist",
    "Sequence",
    "SPGist",
    "BRIN",
    "CommitTs",
    "ReplicationOrigin",
    "Generic",
    "LogicalMessage",
];

const FORKS: [&str; 4] = ["main", "fsm", "vm", "init"];

fn server(major: u32, segment_mib: u32) -> PgServer {
    let mut options = PgServerOptions::new(major)
        .wal_segment_mib(segment_mib)
        .setting("wal_keep_size", "4GB")
        .setting("max_wal_size", "4GB")
        .setting("min_wal_size", "80MB")
        .setting("max_prepared_transactions", "4")
        .setting("wal_log_hints", "on");
    if major >= 17 {
        options = options.setting("summarize_wal", "on");
    }
    options.start()
}

/// Everything that leaves traces of its own kind in the log. Each runs by itself.
fn work(server: &PgServer, tablespace: &std::path::Path) {
    server.create_database("other");
    server.psql("other", "CREATE TABLE there AS SELECT n FROM generate_series(1, 1000) AS n");
    let space = format!("CREATE TABLESPACE apart LOCATION '{}'", tablespace.display());
    let compression = if server.psql("postgres", "SHOW server_version_num").starts_with("15") { "lz4" } else { "pglz" };
    let compressed = format!("SET wal_compression = {compression}; UPDATE kept SET t = 'again' WHERE n % 70 = 0");
    for statement in [
        "CREATE TABLE kept AS SELECT n, repeat(md5(n::text), 4) AS t, point(n % 100, n % 77) AS p FROM generate_series(1, 20000) AS n",
        "CREATE INDEX ON kept (n); CREATE INDEX ON kept USING hash (n); CREATE INDEX ON kept USING brin (n)",
        "CREATE INDEX ON kept USING gist (p); CREATE INDEX ON kept USING spgist (p)",
        "CREATE INDEX ON kept USING gin (string_to_array(t, 'a'))",
        "CREATE TABLE cut AS SELECT n, repeat('x', 100) AS t FROM generate_series(1, 20000) AS n",
        "CREATE TABLE gone AS SELECT n FROM generate_series(1, 20000) AS n",
        "CREATE UNLOGGED TABLE unlogged AS SELECT n FROM generate_series(1, 1000) AS n",
        "CREATE TABLE large (n int, t text)",
        &space,
        "CHECKPOINT",
        "UPDATE kept SET t = 'changed', p = point(1, 1) WHERE n % 50 = 0; DELETE FROM kept WHERE n BETWEEN 5000 AND 6000",
        "VACUUM kept",
        "CHECKPOINT",
        &compressed,
        "DELETE FROM cut WHERE n > 4000",
        "VACUUM cut",
        "INSERT INTO cut SELECT n, 'back' FROM generate_series(1, 3000) AS n",
        "TRUNCATE unlogged; DROP TABLE gone",
        "BEGIN; CREATE TABLE never (n int); INSERT INTO never VALUES (1); SAVEPOINT s; TRUNCATE cut; ROLLBACK TO s; ROLLBACK",
        "BEGIN; CREATE TABLE twice (n int); INSERT INTO twice VALUES (1); DROP TABLE large; PREPARE TRANSACTION 'one'",
        "COMMIT PREPARED 'one'",
        "BEGIN; CREATE TABLE thrice (n int); PREPARE TRANSACTION 'two'",
        "ROLLBACK PREPARED 'two'",
        "CREATE TABLE renewed (n int); INSERT INTO renewed VALUES (1); TRUNCATE renewed; INSERT INTO renewed VALUES (2)",
        "CREATE INDEX by_n ON cut (n)",
        "CLUSTER cut USING by_n",
        "VACUUM FULL pg_class",
        "ALTER TABLE unlogged SET LOGGED",
        "CREATE TABLE apart (n int, t text) TABLESPACE apart; INSERT INTO apart VALUES (1, 'x')",
        "ALTER TABLE kept SET TABLESPACE apart",
        "CREATE SEQUENCE counter; SELECT nextval('counter'), nextval('counter')",
        "SELECT pg_logical_emit_message(true, 'test', repeat('m', 3000000))",
        "CREATE DATABASE copied TEMPLATE other STRATEGY file_copy",
        "CREATE DATABASE logged TEMPLATE other STRATEGY wal_log TABLESPACE apart",
        "SELECT pg_switch_wal()",
        "DROP DATABASE copied",
        "CREATE MATERIALIZED VIEW seen AS SELECT n FROM kept",
        "REFRESH MATERIALIZED VIEW seen",
        "ANALYZE; SELECT count(*) FROM kept",
    ] {
        server.psql("postgres", statement);
    }
}

/// A stretch of a server's log, as it lies in its folder.
struct Stretch {
    name: WalSegmentName,
    bytes: Vec<u8>,
    size: WalSegmentSize,
    place: LogPlace,
    start: Lsn,
    end: Lsn,
}

impl Stretch {
    fn read(server: &PgServer, start: Lsn, end: Lsn) -> Self {
        let size = server.psql("postgres", "SELECT pg_size_bytes(current_setting('wal_segment_size'))");
        let size = WalSegmentSize::new(size.parse().unwrap()).unwrap();
        let name = WalSegmentName::containing(TimelineId::FIRST, start, size);
        let (mut bytes, mut next) = (Vec::new(), name);
        while next.start(size).unwrap() < end {
            bytes.extend(std::fs::read(server.data_dir().join("pg_wal").join(next.to_string())).unwrap());
            next = next.next(size).unwrap();
        }
        let header = SegmentHeader::parse("it", &bytes).unwrap();
        Self { name, bytes, size, place: LogPlace::new(&header, TimelineId::FIRST).unwrap(), start, end }
    }

    fn each(&self, piece: usize, mut visit: impl FnMut(&WalRecord<'_>)) {
        let mut reader = RecordReader::new(self.place, self.start);
        let begin = reader.position().0 - self.name.start(self.size).unwrap().0;
        for piece in self.bytes[begin as usize..].chunks(piece) {
            let outcome = reader.feed(piece, &mut |record| match record.at >= self.end {
                true => {
                    assert_eq!(record.at, self.end, "a record begins where a checkpoint counts from");
                    ControlFlow::Break(())
                }
                false => {
                    visit(record);
                    ControlFlow::Continue(())
                }
            });
            if outcome.unwrap().is_break() {
                return;
            }
        }
        panic!("the end was not reached");
    }
}

/// Makes a checkpoint, and returns the position from which on it counts: where a record begins.
fn checkpoint(server: &PgServer) -> Lsn {
    server.psql("postgres", "CHECKPOINT");
    server.psql("postgres", "SELECT redo_lsn FROM pg_control_checkpoint()").parse().unwrap()
}

/// A record, in the words of `pg_waldump`.
fn described(record: &WalRecord<'_>) -> String {
    let blocks: Vec<String> = record.blocks.iter().map(block).collect();
    format!(
        "{} {} {} {} {} {}",
        MANAGERS[usize::from(record.manager)],
        record.length,
        record.transaction,
        record.at.0,
        record.previous.0,
        blocks.join(", ")
    )
}

fn block(reference: &BlockReference) -> String {
    let RelationFork { tablespace, database, number, fork } = reference.relation;
    let image = if reference.has_image { " FPW" } else { "" };
    format!("{tablespace}/{database}/{number} {} {}{image}", FORKS[usize::from(fork)], reference.block)
}

/// What `pg_waldump` prints of a stretch, in the same words.
fn dumped(server: &PgServer, start: Lsn, end: Lsn) -> Vec<String> {
    let mut dump = erpgo_dr_testkit::unprivileged(&server.bin().join("pg_waldump"));
    dump.arg("-p").arg(server.data_dir().join("pg_wal")).args(["-s", &start.to_string(), "-e", &end.to_string()]);
    let output = dump.current_dir("/").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(line).collect()
}

fn line(line: &str) -> String {
    let between = |from: &str, to: &str| {
        let rest = line.split_once(from).unwrap_or_else(|| panic!("{line}")).1;
        rest.split_once(to).unwrap_or((rest, "")).0.trim().to_owned()
    };
    let lsn = |text: String| text.parse::<Lsn>().unwrap().0;
    let (manager, length) = (between("rmgr: ", " "), between("len (rec/tot):", ","));
    let length = length.split_once('/').unwrap().1.trim().to_owned();
    let (transaction, at, previous) = (between("tx:", ","), lsn(between("lsn: ", ",")), lsn(between("prev ", ",")));
    let blocks: Vec<String> = line.split("blkref #").skip(1).map(dumped_block).collect();
    format!("{manager} {length} {transaction} {at} {previous} {}", blocks.join(", "))
}

/// Reads `0: rel 1663/5/1249 fork vm blk 0 FPW, `, of which the fork and the image may be missing.
fn dumped_block(text: &str) -> String {
    let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let after = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1].trim_end_matches(';'));
    let image = if words.contains(&"FPW") { " FPW" } else { "" };
    format!("{} {} {}{image}", after("rel").unwrap(), after("fork").unwrap_or("main"), after("blk").unwrap())
}

/// What may have changed, as a set of blocks and a limit for each fork, and the databases that are all new.
type Changes = (BTreeMap<RelationFork, ForkChanges>, BTreeSet<(u32, u32)>);

fn normal(changed: &ChangedBlocks) -> Changes {
    let forks = changed.forks().map(|(fork, changes)| {
        let mut changes = changes.clone();
        if let Some(limit) = changes.limit {
            changes.blocks.remove_range(limit..);
        }
        (fork, changes)
    });
    (forks.collect(), changed.databases().collect())
}

fn server_summary(server: &PgServer, start: Lsn, end: Lsn) -> ChangedBlocks {
    let ranges = format!("FROM pg_available_wal_summaries() AS r WHERE end_lsn > '{start}' AND start_lsn < '{end}'");
    let deadline = Instant::now() + Duration::from_secs(120);
    while server.psql("postgres", &format!("SELECT coalesce(max(end_lsn) >= '{end}', false) {ranges}")) != "t" {
        assert!(Instant::now() < deadline, "the server does not summarize: {}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let bounds = server.psql("postgres", &format!("SELECT min(start_lsn), max(end_lsn) {ranges}"));
    assert_eq!(bounds, format!("{start}|{end}"));
    let rows = server.psql(
        "postgres",
        &format!(
            "SELECT reltablespace, reldatabase, relfilenode, relforknumber, relblocknumber, is_limit_block::int
             FROM (SELECT tli, start_lsn, end_lsn {ranges}) AS r, pg_wal_summary_contents(tli, start_lsn, end_lsn)"
        ),
    );
    let mut changed = ChangedBlocks::default();
    for row in rows.lines() {
        let fields: Vec<u32> = row.split('|').map(|field| field.parse().unwrap()).collect();
        let [tablespace, database, number, fork, block, is_limit] = fields[..] else { panic!("{row}") };
        let fork = RelationFork { tablespace, database, number, fork: fork as u8 };
        match (number, is_limit) {
            (0, _) => changed.renew(tablespace, database),
            (_, 1) => changed.cut(fork, block),
            _ => changed.mark(fork, block),
        }
    }
    changed
}

#[test]
fn records_and_summaries_are_those_of_the_server() {
    for (major, segment_mib) in MAJORS.into_iter().zip([1, 16, 2]) {
        let server = server(major, segment_mib);
        let tablespace = tempfile::tempdir().unwrap();
        erpgo_dr_testkit::postgres::give_to_postgres(tablespace.path());
        let start = checkpoint(&server);
        work(&server, tablespace.path());
        let end = checkpoint(&server);
        let stretch = Stretch::read(&server, start, end);
        let mut found = Vec::new();
        let mut summarizer = WalSummarizer::new(TimelineId::FIRST);
        stretch.each(usize::MAX, |record| {
            found.push(described(record));
            summarizer.add(record).unwrap();
        });
        let expected = dumped(&server, start, end);
        assert!(expected.len() > 20_000, "{major}: {}", expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{major}");
        }
        assert_eq!(found.len(), expected.len(), "{major}");
        let managers: BTreeSet<&str> = found.iter().map(|text| text.split(' ').next().unwrap()).collect();
        for manager in
            ["Gin", "Gist", "SPGist", "BRIN", "Hash", "Btree", "Storage", "Database", "Sequence", "LogicalMessage"]
        {
            assert!(managers.contains(manager), "{major}: {manager}");
        }
        let mut count = 0;
        stretch.each(1000, |record| {
            assert_eq!(described(record), found[count]);
            count += 1;
        });
        let changed = normal(&summarizer.finish());
        assert!(changed.0.len() > 50 && changed.1.len() > 2, "{major}: {changed:?}");
        if major >= 17 {
            let (forks, databases) = normal(&server_summary(&server, start, end));
            assert_eq!(changed.1, databases, "{major}");
            for fork in forks.keys().chain(changed.0.keys()) {
                assert_eq!(changed.0.get(fork), forks.get(fork), "{major}: {fork:?}");
            }
        }
    }
}

#[test]
fn a_commit_says_when_it_was() {
    for major in MAJORS {
        let server = server(major, 16);
        let start = checkpoint(&server);
        server.psql("postgres", "CREATE TABLE t (n int)");
        let before = server.psql("postgres", "SELECT extract(epoch FROM clock_timestamp())").parse::<f64>().unwrap();
        server.psql("postgres", "INSERT INTO t VALUES (1)");
        let after = server.psql("postgres", "SELECT extract(epoch FROM clock_timestamp())").parse::<f64>().unwrap();
        let end = checkpoint(&server);
        let mut times = Vec::new();
        Stretch::read(&server, start, end).each(8192, |record| {
            if let Some(end) = TransactionEnd::of(record).unwrap() {
                times.push((end.committed, end.at.unwrap().timestamp_micros() as f64 / 1e6));
            }
        });
        let within = |(committed, at): &&(bool, f64)| *committed && (before - 0.001..=after + 0.001).contains(at);
        assert_eq!(times.iter().filter(within).count(), 1, "{major}: {before} {after} {times:?}");
    }
}
