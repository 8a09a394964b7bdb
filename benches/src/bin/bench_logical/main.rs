//! Backs an ERP up by `erpgo-dr backup`, by the old scripts' pipe and by a parallel `pg_dump`, in one run on one server, restores
//! it by us and by `pg_restore`, and prints the ratios.
//!
//! `bench_logical [MEGABYTES] [ROUNDS]`. Ours is the whole process with its defaults: zstd 3, encrypted, its seals
//! verified after the write. A round is `pg_dump --format=plain`, ours, `pg_dump -Fd -j2 -Z1` and `pg_dump -Fc | openssl enc`,
//! one after the other, and then the restores by two jobs; what is printed is the median of the rounds' ratios. The pipe's pg_dump compresses as it does
//! by itself; with the scripts' `--compress=9`, which is slower, it runs once, for `logical_time_ratio_compress_9`.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use erpgo_dr_benches::children::{self, Usage};
use erpgo_dr_benches::measure::median;
use erpgo_dr_benches::tool::Tool;
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::PgServerOptions;
use tempfile::TempDir;

const DATABASE: &str = "erp";
/// What is restored.
const COPY: &str = "erp_copy";
/// The folder of the parallel dump.
const DIRECTORY: &str = "directory";
/// What a step of the sample's scale adds to the database.
const MEGABYTES_A_STEP: f64 = 1.93;
/// For the pipe's openssl, which reads it from its environment.
const PASSPHRASE: &str = "a passphrase of the benchmark";
/// Of the parallel dump and of the restores.
const JOBS: usize = 2;

/// One backup: what it took, and the bytes it left.
struct Taken {
    usage: Usage,
    bytes: u64,
}

/// One after the other on the same data.
struct Round {
    plain: Usage,
    ours: Taken,
    parallel: Usage,
    pipe: Taken,
    restored: Usage,
    restored_by_ours: Usage,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let megabytes: f64 = arguments.next().map_or(Ok(600.0), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let mut out = io::stdout().lock();
    let server = make_server(megabytes);
    let size = server.psql(DATABASE, "SELECT pg_size_pretty(pg_database_size(current_database()))");
    writeln!(out, "PostgreSQL {}, database of {size}, seconds by the wall clock (CPU) and bytes", server.major())?;
    let folder = TempDir::with_prefix("erpgo-dr-bench-")?;
    let tool = Tool::new(folder.path(), &server)?;
    // The first reader of a new table marks its rows as committed, which none should pay for.
    plain(&server)?;
    let mut taken = Vec::new();
    for number in 1..=rounds.max(1) {
        let round = measure(&server, &tool, folder.path())?;
        print_round(&mut out, number, &round)?;
        taken.push(round);
    }
    let slow = pipe(&server, folder.path(), &["--compress=9"])?;
    line(&mut out, "pg_dump -Fc --compress=9 | openssl", slow.usage, Some(slow.bytes))?;
    print_ratios(&mut out, &taken, &slow)
}

fn make_server(megabytes: f64) -> PgServer {
    let settings = [("shared_buffers", "512MB"), ("max_wal_size", "4GB")];
    let options =
        settings.into_iter().fold(PgServerOptions::new(17), |options, (name, value)| options.setting(name, value));
    let server = options.start();
    server.create_sample(DATABASE, (megabytes / MEGABYTES_A_STEP).max(1.0) as u32);
    server.psql(DATABASE, "VACUUM (ANALYZE)");
    server.psql(DATABASE, "CHECKPOINT");
    server
}

fn measure(server: &PgServer, tool: &Tool, folder: &Path) -> io::Result<Round> {
    let plain = plain(server)?;
    tool.init()?;
    let usage = tool.backup(DATABASE)?;
    let ours = Taken { usage, bytes: tool.stored_bytes()? };
    let parallel = parallel(server, folder)?;
    let pipe = pipe(server, folder, &[])?;
    let restored = restore(server, || pg_restore(server, folder))?;
    let restored_by_ours = restore(server, || tool.restore(COPY, JOBS))?;
    Ok(Round { plain, ours, parallel, pipe, restored, restored_by_ours })
}

fn parallel(server: &PgServer, folder: &Path) -> io::Result<Usage> {
    let target = folder.join(DIRECTORY);
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    let mut dump = server.client("pg_dump");
    dump.args(["--format=directory", "--compress=1", "--jobs", &JOBS.to_string(), "--file"]).arg(target).arg(DATABASE);
    children::run(vec![dump])
}

/// Makes the database itself, as ours does.
fn pg_restore(server: &PgServer, folder: &Path) -> io::Result<Usage> {
    let mut create = server.client("createdb");
    create.args(["--template=template0", COPY]);
    let mut restore = server.client("pg_restore");
    restore.args(["--exit-on-error", "--jobs", &JOBS.to_string(), "--dbname", COPY]).arg(folder.join(DIRECTORY));
    let (create, restore) = (children::run(vec![create])?, children::run(vec![restore])?);
    Ok(Usage { wall: create.wall + restore.wall, cpu: create.cpu + restore.cpu, ..restore })
}

/// Takes what was restored away again, and leaves nothing for the next to write.
fn restore(server: &PgServer, work: impl FnOnce() -> io::Result<Usage>) -> io::Result<Usage> {
    let usage = work()?;
    server.psql("postgres", &format!("DROP DATABASE {COPY}"));
    server.psql("postgres", "CHECKPOINT");
    Ok(usage)
}

fn plain(server: &PgServer) -> io::Result<Usage> {
    let mut dump = server.client("pg_dump");
    dump.args(["--format=plain", DATABASE]).stdout(Stdio::null());
    children::run(vec![dump])
}

/// Does what the old scripts did.
fn pipe(server: &PgServer, folder: &Path, compression: &[&str]) -> io::Result<Taken> {
    let file = folder.join("old.enc");
    let mut dump = server.client("pg_dump");
    dump.args(["--format=custom", "--no-owner", "--no-privileges"]).args(compression).arg(DATABASE);
    let mut openssl = Command::new("openssl");
    openssl.args(["enc", "-aes-256-cbc", "-salt", "-pbkdf2", "-pass", "env:PASSPHRASE"]);
    openssl.env("PASSPHRASE", PASSPHRASE).stdout(File::create(&file)?);
    let usage = children::run(vec![dump, openssl])?;
    Ok(Taken { usage, bytes: fs::metadata(&file)?.len() })
}

fn print_round(out: &mut impl Write, number: usize, round: &Round) -> io::Result<()> {
    writeln!(out, "round {number}")?;
    line(out, "pg_dump --format=plain >/dev/null", round.plain, None)?;
    line(out, "erpgo-dr backup", round.ours.usage, Some(round.ours.bytes))?;
    line(out, "pg_dump -Fd -j2 -Z1", round.parallel, None)?;
    line(out, "pg_dump -Fc | openssl", round.pipe.usage, Some(round.pipe.bytes))?;
    line(out, "pg_restore -j2", round.restored, None)?;
    line(out, "erpgo-dr restore --jobs 2", round.restored_by_ours, None)?;
    writeln!(
        out,
        "  peak memory of ours: backup {}, restore {} bytes",
        round.ours.usage.peak_rss, round.restored_by_ours.peak_rss
    )
}

fn line(out: &mut impl Write, name: &str, usage: Usage, bytes: Option<u64>) -> io::Result<()> {
    let bytes = bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
    writeln!(out, "  {name:<36}{:>8.2} ({:>6.2}){bytes:>12}", usage.wall, usage.cpu)
}

fn print_ratios(out: &mut impl Write, rounds: &[Round], slow: &Taken) -> Result<(), Box<dyn Error>> {
    let of = |ratio: fn(&Round) -> f64| median(rounds.iter().map(ratio).collect());
    let ours = of(|round| round.ours.usage.wall);
    writeln!(out)?;
    writeln!(out, "logical_time_ratio {:.2}", of(|round| round.ours.usage.wall / round.pipe.usage.wall))?;
    writeln!(out, "logical_time_ratio_compress_9 {:.2}", ours / slow.usage.wall)?;
    writeln!(out, "logical_size_ratio {:.2}", of(|round| round.ours.bytes as f64 / round.pipe.bytes as f64))?;
    writeln!(out, "logical_parallel_ratio {:.2}", of(|round| round.ours.usage.wall / round.parallel.wall))?;
    writeln!(out, "logical_restore_ratio {:.2}", of(|round| round.restored_by_ours.wall / round.restored.wall))?;
    writeln!(out, "logical_plain_ratio {:.2}", of(|round| round.ours.usage.wall / round.plain.wall))?;
    Ok(())
}
