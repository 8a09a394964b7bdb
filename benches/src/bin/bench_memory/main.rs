//! Backs up and restores databases of several sizes, and prints the largest resident memory of each.
//!
//! `bench_memory [GIGABYTES]...`, by default 1, 4 and 8. A database of N gigabytes needs about three times that on
//! the disk of the temporary folder while it is measured. What is counted is the `erpgo-dr` process: `pg_dump` and
//! `pg_restore` are PostgreSQL's own, and keep the rows of one table at most.

use std::error::Error;
use std::io::{self, Write};

use erpgo_dr_benches::tool::Tool;
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::PgServerOptions;
use tempfile::TempDir;

const DATABASE: &str = "erp";
const TARGET: &str = "erp_again";
const TABLES: usize = 8;
/// Rows of a gigabyte in each of [`TABLES`]: four fill a page of 8 KiB.
const ROWS: usize = (1 << 30) / TABLES / 2048;
/// Different rows: more bytes than a frame has, so that no frame holds one twice.
const POOL: usize = 2048;

/// What backup and restore of one database needed, in bytes.
struct Peaks {
    gigabytes: usize,
    backup: u64,
    restore: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut sizes = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<Vec<usize>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![1, 4, 8];
    }
    let mut out = io::stdout().lock();
    let mut all = Vec::new();
    for gigabytes in sizes {
        all.push(measure(&mut out, gigabytes)?);
    }
    writeln!(out)?;
    for peaks in all {
        writeln!(out, "peak_rss_mb_{}gb {:.0}", peaks.gigabytes, mebibytes(peaks.backup.max(peaks.restore)))?;
    }
    Ok(())
}

/// A server of its own for each size: it takes all that it wrote along when it ends.
fn measure(out: &mut impl Write, gigabytes: usize) -> Result<Peaks, Box<dyn Error>> {
    let server = make_server(gigabytes);
    let size = server.psql(DATABASE, "SELECT pg_size_pretty(pg_database_size(current_database()))");
    let folder = TempDir::with_prefix("erpgo-dr-bench-")?;
    let tool = Tool::new(folder.path(), &server)?;
    tool.init()?;
    let backup = tool.backup(DATABASE)?;
    let restore = tool.restore(TARGET, 1)?;
    let count = "SELECT count(*), sum(id) FROM part_1";
    let (there, back) = (server.psql(DATABASE, count), server.psql(TARGET, count));
    if there != back {
        return Err(format!("{back} came back of {there}").into());
    }
    writeln!(out, "database of {size}, {:.0} MB stored", mebibytes(tool.stored_bytes()?))?;
    for (name, usage) in [("backup", backup), ("restore", restore)] {
        let (wall, cpu, peak) = (usage.wall, usage.cpu, mebibytes(usage.peak_rss));
        writeln!(out, "  {name:<8} {wall:>7.1} s ({cpu:>6.1} s CPU), at most {peak:.0} MB resident")?;
    }
    out.flush()?;
    Ok(Peaks { gigabytes, backup: backup.peak_rss, restore: restore.peak_rss })
}

/// Fills tables with bytes that no codec shrinks, by the size they have on disk.
fn make_server(gigabytes: usize) -> PgServer {
    let settings = [("wal_level", "minimal"), ("max_wal_senders", "0"), ("autovacuum", "off")];
    let options =
        settings.into_iter().fold(PgServerOptions::new(17), |options, (name, value)| options.setting(name, value));
    let server = options.start();
    server.create_database(DATABASE);
    // 61 hashes of 32 bytes: the longest row of which four fit on a page.
    let pool = format!(
        "CREATE TABLE pool AS SELECT n, (SELECT string_agg(sha256(convert_to(n || '/' || i, 'UTF8')), '')
             FROM generate_series(1, 61) i) AS noise FROM generate_series(0, {}) n",
        POOL - 1
    );
    server.psql(DATABASE, &pool);
    for table in 1..=TABLES {
        // In the transaction that makes the table nothing goes to the WAL.
        let fill = format!(
            "BEGIN; CREATE TABLE part_{table} (id bigint, noise bytea);
             INSERT INTO part_{table} SELECT r * {POOL} + p.n, p.noise FROM generate_series(1, {}) r, pool p; COMMIT;",
            ROWS * gigabytes / POOL
        );
        server.psql(DATABASE, &fill);
    }
    server.psql(DATABASE, "DROP TABLE pool");
    server.psql(DATABASE, "CHECKPOINT");
    server
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
