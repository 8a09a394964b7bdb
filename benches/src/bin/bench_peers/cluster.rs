//! The cluster that both sides back up: tables of an ERP's kind, filled alike on every version.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::PgServerOptions;

pub(crate) const TABLES: usize = 16;
const DATABASE: &str = "erp";
/// Rows of a gigabyte of tables with their indexes.
const ROWS_A_GIGABYTE: f64 = 6_300_000.0;
const ARCHIVE_TIMEOUT: Duration = Duration::from_secs(120);

/// A running server whose relation files change only when a [`Change`](crate::changes::Change) is made.
pub(crate) struct Cluster {
    pub(crate) server: PgServer,
    /// While this file exists, WAL is archived by the peer; otherwise it is let go.
    archiving: PathBuf,
}

impl Cluster {
    /// Makes and fills a cluster of about so many gigabytes. `archive` is the peer's command line for a file `%p`.
    pub(crate) fn make(major: u32, gigabytes: f64, folder: &Path, archive: Option<&str>) -> Self {
        let settings = [
            ("wal_level", "minimal"),
            ("max_wal_senders", "0"),
            ("autovacuum", "off"),
            ("shared_buffers", "512MB"),
            ("max_wal_size", "2GB"),
            ("checkpoint_timeout", "1h"),
            ("max_parallel_workers_per_gather", "0"),
        ];
        let options = PgServerOptions::new(major);
        let options = settings.into_iter().fold(options, |options, (name, value)| options.setting(name, value));
        let mut cluster = Self { server: options.start(), archiving: folder.join("archiving") };
        cluster.fill((gigabytes * ROWS_A_GIGABYTE) as usize / TABLES);
        cluster.keep_wal(archive);
        cluster
    }

    /// Runs SQL in the database with the tables.
    pub(crate) fn psql(&self, sql: &str) -> String {
        self.server.psql(DATABASE, sql)
    }

    /// Returns what tells whether all rows are there: a line for each table.
    pub(crate) fn contents_query() -> String {
        let of = |table| format!("SELECT {table}, count(*), sum(amount), sum(id) FROM part_{table}");
        (1..=TABLES).map(of).collect::<Vec<_>>().join(" UNION ALL ") + " ORDER BY 1"
    }

    /// Brings all pages to rest, so that nothing but a change changes them.
    pub(crate) fn settle(&self) -> io::Result<()> {
        self.psql("VACUUM");
        self.psql("CHECKPOINT");
        self.wait_for_archiver()
    }

    /// Has the peer archive the WAL, or lets it go.
    pub(crate) fn archive(&self, on: bool) -> io::Result<()> {
        self.wait_for_archiver()?;
        match on {
            true => File::create(&self.archiving).map(drop),
            false => fs::remove_file(&self.archiving),
        }
    }

    /// Ends the current segment, and waits until the archiver has had all.
    pub(crate) fn wait_for_archiver(&self) -> io::Result<()> {
        self.psql("SELECT pg_switch_wal()");
        let deadline = Instant::now() + ARCHIVE_TIMEOUT;
        let waiting = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'";
        while self.psql(waiting) != "0" {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("WAL is not archived:\n{}", self.server.log())));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Fills the tables from two sessions. Nothing of it goes to the WAL.
    fn fill(&self, rows: usize) {
        self.server.create_database(DATABASE);
        thread::scope(|scope| {
            for session in 0..2 {
                scope.spawn(move || {
                    (1..=TABLES).filter(|table| table % 2 == session).for_each(|table| {
                        self.psql(&table_sql(table, rows));
                    });
                });
            }
        });
        self.psql("VACUUM (FREEZE, ANALYZE)");
    }

    fn keep_wal(&mut self, archive: Option<&str>) {
        let flag = self.archiving.display();
        let mut settings = vec![("wal_level", "replica".to_owned()), ("max_wal_senders", "4".to_owned())];
        match archive {
            Some(command) => {
                settings.push(("archive_mode", "on".to_owned()));
                // For the segments that are archived and fetched one by one.
                settings.push(("wal_keep_size", "1536MB".to_owned()));
                settings.push(("archive_command", format!("test ! -e {flag} || {command}")));
            }
            None => settings.push(("summarize_wal", "on".to_owned())),
        }
        for (name, value) in settings {
            self.psql(&format!("ALTER SYSTEM SET {name} = '{value}'"));
        }
        self.server.restart();
    }
}

/// Rows of some 120 bytes that compress about threefold, with room on each page as tables have that are updated.
fn table_sql(table: usize, rows: usize) -> String {
    format!(
        "BEGIN;
         CREATE TABLE part_{table} (id bigint, customer int, product int, created timestamptz, amount numeric(12,2),
             status text, reference text, note text) WITH (fillfactor = 90);
         INSERT INTO part_{table}
         SELECT n, h & 65535, (h >> 16) & 4095, '2024-01-01'::timestamptz + n * interval '7 seconds',
             (h & 1048575) / 100.0, (ARRAY['open', 'paid', 'sent', 'cancelled'])[1 + ((h >> 20) & 3)],
             'INV-' || to_hex(h), w.words[1 + (h & 15)] || ' ' || w.words[1 + ((h >> 4) & 15)] || ' '
                 || w.words[1 + ((h >> 8) & 15)] || ' of lot ' || ((h >> 24) & 63)
         FROM (SELECT n, hashint8extended(n, {table}) & 4611686018427387903 AS h FROM generate_series(1, {rows}) n) r,
             (SELECT string_to_array('steel copper timber valve bearing gasket sensor cable panel motor filter pump '
                 || 'bracket hinge spring washer', ' ') AS words) w;
         CREATE UNIQUE INDEX part_{table}_id ON part_{table} (id);
         COMMIT;"
    )
}
