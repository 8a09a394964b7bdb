//! Backs up and restores a cluster of very many small relations, and prints the largest resident memory and the number of objects.
//!
//! `bench_relations [RELATIONS]`, by default 200,000: half of them tables with one row, half their indexes. They need some 25 KiB each
//! on the disk of the temporary folder, and a third more while they are restored.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use erpgo_dr_benches::children::{self, Usage};
use erpgo_dr_benches::tool::Tool;
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::PgServerOptions;
use tempfile::TempDir;

/// Tables that are made in one transaction: each holds locks.
const BATCH: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let relations = std::env::args().nth(1).map_or(Ok(200_000), |text| text.parse::<usize>())?;
    let mut out = io::stdout().lock();
    let server = make_server(relations / 2);
    let size = server.psql("postgres", "SELECT sum(pg_database_size(oid)) FROM pg_database").parse::<f64>()?;
    let count = server.psql("postgres", "SELECT count(*) FROM pg_class WHERE relfilenode <> 0");
    writeln!(out, "cluster of {:.0} MB, {count} relations with files", size / 1e6)?;
    let folder = TempDir::with_prefix("erpgo-dr-bench-")?;
    let tool = Tool::new(folder.path(), &server)?;
    tool.init()?;

    let full = run(&tool, &["cluster", "backup"])?;
    let stored = tool.stored_bytes()?;
    let objects = objects(&tool.repository())?;
    server.psql("postgres", "UPDATE t_1 SET n = n + 1");
    let incremental = run(&tool, &["cluster", "backup"])?;
    let data = folder.path().join("restored");
    let restore = run(&tool, &["cluster", "restore", "--data-dir", &data.display().to_string()])?;
    for (name, usage) in [("full", full), ("incremental", incremental), ("restore", restore)] {
        let (wall, cpu, peak) = (usage.wall, usage.cpu, mebibytes(usage.peak_rss));
        writeln!(out, "  {name:<12} {wall:>7.1} s ({cpu:>6.1} s CPU), at most {peak:.0} MB resident")?;
    }
    let peak = [full, incremental, restore].into_iter().map(|usage| usage.peak_rss).max().unwrap_or_default();
    writeln!(out, "stored_mb {:.0}", stored as f64 / 1e6)?;
    writeln!(out, "objects_of_16_mb {:.0}", (size / f64::from(16 << 20)).ceil())?;
    writeln!(out, "peak_rss_mb {:.0}", mebibytes(peak))?;
    writeln!(out, "objects {objects}")?;
    Ok(())
}

fn make_server(tables: usize) -> PgServer {
    let settings = [("autovacuum", "off"), ("max_wal_size", "4GB"), ("max_locks_per_transaction", "256")];
    let options =
        settings.into_iter().fold(PgServerOptions::new(17), |options, (name, value)| options.setting(name, value));
    let server = options.start();
    for first in (1..=tables).step_by(BATCH) {
        let last = (first + BATCH - 1).min(tables);
        let make = format!(
            "DO $$ BEGIN FOR i IN {first}..{last} LOOP
                 EXECUTE format('CREATE TABLE t_%s (n int PRIMARY KEY)', i);
                 EXECUTE format('INSERT INTO t_%s VALUES (%s)', i, i);
             END LOOP; END $$"
        );
        server.psql("postgres", &make);
    }
    server.psql("postgres", "CHECKPOINT");
    server
}

fn run(tool: &Tool, arguments: &[&str]) -> io::Result<Usage> {
    let mut command = tool.open();
    command.args(arguments);
    children::run(vec![command])
}

/// Counts the files of a repository.
fn objects(folder: &Path) -> io::Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        count += if entry.file_type()?.is_dir() { objects(&entry.path())? } else { 1 };
    }
    Ok(count)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
