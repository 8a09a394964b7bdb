//! Servers and questions to them that the stories share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use erpgo_dr_core::postgres::physical::{BackupSession, ClusterFacts, ClusterListing, ClusterReader, PageHasher};
use erpgo_dr_core::postgres::{ConnectionSettings, PostgresError};
use erpgo_dr_core::types::Lsn;
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::{PgServerOptions, SUPERUSER, give_to_postgres};

pub(crate) fn settings(server: &PgServer) -> ConnectionSettings {
    let host = server.socket_dir().to_str().unwrap();
    ConnectionSettings::new(host).port(server.port()).user(SUPERUSER)
}

/// Runs a program of the server's version to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Starts a server of `major` whose pages have checksums, with nothing going on by itself.
pub(crate) fn with_checksums(major: u32) -> PgServer {
    let mut server = PgServerOptions::new(major).setting("autovacuum", "off").start();
    if server.psql("postgres", "SHOW data_checksums") == "off" {
        server.stop();
        run(Command::new(server.bin().join("pg_checksums")).arg("--enable").arg("-D").arg(server.data_dir()));
        server.restart();
    }
    server
}

/// Makes an empty folder beside the data directory that the server may write to.
pub(crate) fn folder_for(server: &PgServer, name: &str) -> PathBuf {
    let path = server.socket_dir().join(name);
    fs::create_dir(&path).unwrap();
    give_to_postgres(&path);
    path
}

/// Waits until `ready`, for half a minute.
pub(crate) fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ready() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) async fn begin(server: &PgServer) -> BackupSession {
    BackupSession::start(&settings(server), "a backup", true).await.unwrap()
}

/// Lists a server's data directory, and makes a reader of it.
pub(crate) fn open(server: &PgServer, session: &BackupSession) -> (ClusterListing, ClusterReader) {
    let root = server.data_dir();
    let listing = ClusterListing::read(&root, &session.facts().version_folder).unwrap();
    (listing, reader_of(&root, session.facts(), session.start_lsn()).unwrap())
}

/// Makes a reader that hashes with some key.
pub(crate) fn reader_of(root: &Path, facts: &ClusterFacts, start: Lsn) -> Result<ClusterReader, PostgresError> {
    ClusterReader::new(root, facts, start, PageHasher::new(&[7; 32]))
}

/// Copies a data directory with all that is in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}
