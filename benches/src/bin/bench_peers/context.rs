//! What else people copy clusters with, for the scale of things: no incremental backups, no archive. And ours, when the server sends the files.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use erpgo_dr_benches::children;

use crate::cluster::Cluster;
use crate::folders::{Stored, clear};
use crate::ours::Ours;
use crate::side::Side as _;
use crate::table::Table;
use crate::{LEVEL, PROCESSES};

/// Copies the cluster by PostgreSQL's own tool and by a pipe of shell tools. Neither syncs a file, or encrypts but the last.
pub(crate) fn measure(table: &mut Table, cluster: &Cluster, ours: &Ours, folder: &Path) -> io::Result<()> {
    let copy = folder.join("copy");
    let mut walls = Vec::new();
    for (name, options) in [
        ("pg_basebackup, plain", vec!["-Fp".to_owned()]),
        (
            "pg_basebackup, zstd by the server",
            vec!["-Ft".to_owned(), format!("--compress=server-zstd:level={LEVEL},workers={PROCESSES}")],
        ),
    ] {
        let mut command = cluster.server.client("pg_basebackup");
        command.args(["--checkpoint=fast", "--no-sync", "-D"]).arg(&copy).args(options);
        let usage = children::run(vec![command])?;
        table.add("full", name, usage, Some(Stored::of(&copy)?));
        walls.push(usage.wall);
        clear(&copy)?;
    }
    ours.begin()?;
    let sent = ours.remote_full()?;
    table.add("full", "erpgo-dr --remote", sent, Some(ours.stored()?));
    table.ratio("remote_ratio_to_pg_basebackup_zstd", sent.wall / walls[1]);
    fs::create_dir(&copy)?;
    let usage = children::run(pipe(&cluster.server.data_dir(), &copy.join("cluster.tar.zst.enc"))?)?;
    table.add("full", "tar | zstd | openssl, no backup mode", usage, Some(Stored::of(&copy)?));
    clear(&copy)
}

fn pipe(data: &Path, file: &Path) -> io::Result<Vec<Command>> {
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(data).args(["--exclude=./pg_wal/*", "--exclude=./postmaster.*", "-cf", "-", "."]);
    let mut zstd = Command::new("zstd");
    zstd.args(["-q", &format!("-{LEVEL}"), &format!("-T{PROCESSES}")]);
    let mut openssl = Command::new("openssl");
    openssl.args(["enc", "-aes-256-cbc", "-salt", "-pbkdf2", "-pass", "env:PASSPHRASE"]);
    openssl.env("PASSPHRASE", "a passphrase of the benchmark").stdout(File::create(file)?);
    tar.stdin(Stdio::null());
    Ok(vec![tar, zstd, openssl])
}
