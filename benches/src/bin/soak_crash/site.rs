//! The server, the folders, and what may be done to them from outside.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use erpgo_dr_core::Repository;
use erpgo_dr_core::crypto::keys::{Wrapper, generate_identity};
use erpgo_dr_core::repository::{InitOptions, LEASE_TTL};
use erpgo_dr_testkit::PgServer;
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use crate::Outcome;
use crate::job::{COMMITTED, Job, Operation, WORKER, environment};

/// Small parts: a backup then writes several objects, and may die between any two.
const PART_BYTES: u64 = 400_000;

/// A repository, in one folder or in two, beside the server that is backed up.
pub(crate) struct Site {
    folder: TempDir,
    identity: String,
    places: usize,
}

/// How a worker ended.
pub(crate) struct Ended {
    pub(crate) killed: bool,
    pub(crate) succeeded: bool,
    /// The backup that it said was committed.
    pub(crate) committed: Option<String>,
    pub(crate) complaint: String,
    pub(crate) took: Duration,
}

impl Site {
    /// Makes an empty repository in `places` folders.
    pub(crate) async fn new(places: usize, server: &PgServer) -> Outcome<Self> {
        let generated = generate_identity();
        let identity = generated.secret.expose_secret().to_owned();
        let site = Self { folder: TempDir::with_prefix("erpgo-dr-soak-")?, identity, places };
        let storage = site.job(Operation::Backup, server, 0).storage()?;
        let slots = [("owner".parse()?, Wrapper::Recipients(vec![generated.recipient]))];
        let options = InitOptions::default().with_part_bytes(PART_BYTES);
        Repository::init(storage, environment()?, &options, &slots).await?;
        Ok(site)
    }

    pub(crate) fn is_replicated(&self) -> bool {
        self.places > 1
    }

    pub(crate) fn place(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("place-{number}"))
    }

    pub(crate) fn job(&self, operation: Operation, server: &PgServer, keep: u32) -> Job {
        Job {
            operation,
            places: (0..self.places).map(|number| self.place(number)).collect(),
            identity: self.identity.clone(),
            url: server.url("erp"),
            programs: server.bin().to_owned(),
            keep,
        }
    }

    /// Lets the leases of dead processes lapse: their age is what the file system says.
    pub(crate) fn let_leases_lapse(&self) -> Outcome<()> {
        let long_ago = SystemTime::now() - 2 * LEASE_TTL;
        for number in 0..self.places {
            let folder = self.place(number).join("state/leases");
            let Ok(leases) = fs::read_dir(folder) else { continue };
            for lease in leases {
                File::options().write(true).open(lease?.path())?.set_modified(long_ago)?;
            }
        }
        Ok(())
    }

    /// Returns all files of a place, also those that are no objects.
    pub(crate) fn files(&self, number: usize) -> Outcome<Vec<String>> {
        let root = self.place(number);
        let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push(relative(&root, &path)),
                }
            }
        }
        files.sort();
        Ok(files)
    }
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// Runs a job as a process of its own, and kills it after `delay`.
pub(crate) fn run(job: &Job, delay: Option<Duration>) -> Outcome<Ended> {
    let started = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .arg(WORKER)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(serde_json::to_string(job)?.as_bytes())?;
    drop(stdin);
    if let Some(delay) = delay {
        sleep(delay.saturating_sub(started.elapsed()));
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(Ended {
        killed: output.status.signal() == Some(9),
        succeeded: output.status.success(),
        committed: said.lines().find_map(|line| line.strip_prefix(COMMITTED)).map(str::to_owned),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: started.elapsed(),
    })
}

/// Returns whether the server's sessions of a dead worker and of its pg_dump end within `patience`.
pub(crate) fn sessions_end(server: &PgServer, patience: Duration) -> bool {
    let others =
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let deadline = Instant::now() + patience;
    while server.psql("postgres", others) != "0" {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(50));
    }
    true
}

/// Removes every third file of backups from a place, as a damaged disk would.
pub(crate) fn damage(storage_root: &Path, files: &[String], start: usize) -> Outcome<usize> {
    let of_backups = files.iter().filter(|file| file.starts_with("dumps/") || file.starts_with("backups/"));
    let mut removed = 0;
    for file in of_backups.skip(start % 3).step_by(3) {
        fs::remove_file(storage_root.join(file))?;
        removed += 1;
    }
    Ok(removed)
}
