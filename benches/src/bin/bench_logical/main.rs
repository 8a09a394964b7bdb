//! Backs an ERP up by `erpgo-dr backup` and by the old scripts' pipe, in one run on one server, and prints the ratios.
//!
//! `bench_logical [MEGABYTES] [ROUNDS]`. Ours is the whole process with its defaults: zstd 3, encrypted, its seals
//! verified after the write. A round is `pg_dump --format=plain`, ours, and `pg_dump -Fc | openssl enc`, one
//! after the other; what is printed is the median of the rounds' ratios. The pipe's pg_dump compresses as it does
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
/// What a step of the sample's scale adds to the database.
const MEGABYTES_A_STEP: f64 = 1.93;
/// For the pipe's openssl, which reads it from its environment.
const PASSPHRASE: &str = "a passphrase of the benchmark";

/// One backup: what it took, and the bytes it left.
struct Taken {
    usage: Usage,
    bytes: u64,
}

/// One after the other on the same data.
struct Round {
    plain: Usage,
    ours: Taken,
    pipe: Taken,
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
    let settings =
        [("shared_buffers", "512MB"), ("wal_level", "minimal"), ("max_wal_senders", "0"), ("max_wal_size", "4GB")];
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
    Ok(Round { plain, ours, pipe: pipe(server, folder, &[])? })
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
    line(out, "pg_dump -Fc | openssl", round.pipe.usage, Some(round.pipe.bytes))
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
    writeln!(out, "logical_plain_ratio {:.2}", of(|round| round.ours.usage.wall / round.plain.wall))?;
    Ok(())
}
