//! The folder of a throwaway server, and the sweep of those whose owner was killed.
//!
//! Each run has a folder `pg-XXXXXX` under the scratch folder, with a file `owner` that the running
//! process keeps locked. The lock, unlike a pid, cannot outlive its process nor be taken for another's.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use super::{PostgresError, RunAs, blocking, file_error};

const PREFIX: &str = "pg-";
const OWNER: &str = "owner";
const OWNER_DRAFT: &str = "owner.new";
/// A folder without an owner file may be one that is being made this instant.
const UNOWNED_GRACE: Duration = Duration::from_secs(600);
/// `sun_path` of `sockaddr_un` holds 108 bytes with the final zero on Linux, 104 on the BSDs.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
const SOCKET_NAME: &str = ".s.PGSQL.65535";

/// The folder of one run. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub(super) struct RunFolder {
    path: PathBuf,
    /// Holds the lock; the children do not inherit it.
    _owner: File,
}

impl RunFolder {
    /// Makes a folder under `scratch` that only `account` can enter.
    pub(super) fn create(scratch: &Path, account: Option<RunAs>) -> Result<Self, PostgresError> {
        fs::create_dir_all(scratch).map_err(file_error(scratch, "create the folder"))?;
        let scratch = scratch.canonicalize().map_err(file_error(scratch, "resolve the folder"))?;
        check_socket_length(&scratch)?;
        if let Some(account) = account {
            check_reachable(&scratch, account)?;
        }
        let path = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&scratch)
            .map_err(file_error(&scratch, "create a folder in it"))?
            .keep();
        let owner = claim(&path).inspect_err(|_| {
            let _ = fs::remove_dir_all(&path);
        })?;
        let folder = Self { path, _owner: owner };
        folder.give_to(account)?;
        Ok(folder)
    }

    /// Returns the folder, which is also that of the socket.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where the cluster lies.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Returns where `initdb` and the server write their messages.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    fn give_to(&self, account: Option<RunAs>) -> Result<(), PostgresError> {
        let Some(account) = account else { return Ok(()) };
        chown(&self.path, Some(account.uid), Some(account.gid)).map_err(file_error(&self.path, "change the owner"))
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "a throwaway server's folder stays behind");
        }
    }
}

/// What [`sweep`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepReport {
    /// Folders of killed runs that were removed.
    pub removed: Vec<PathBuf>,
    /// Folders of runs that are alive, or so young that they may be.
    pub in_use: Vec<PathBuf>,
    /// Servers that a killed run had left running, and that were stopped, by their pid.
    pub stopped: Vec<u32>,
}

/// Removes from `scratch` what killed runs left there, and stops the servers that they left running.
///
/// Only folders that a run of this user has made and whose lock is free are touched. A server is stopped only if its working
/// directory is the left folder's own cluster.
///
/// # Errors
/// [`PostgresError::File`] for what cannot be read or removed, [`PostgresError::Throwaway`] for a server
/// that does not stop. A scratch folder that is not there is clean.
pub async fn sweep(scratch: &Path) -> Result<SweepReport, PostgresError> {
    let scratch = scratch.to_owned();
    blocking(move || sweep_now(&scratch)).await
}

/// Lists the folders under `scratch` that [`sweep`] would remove, and touches nothing.
///
/// # Errors
/// [`PostgresError::File`] where the scratch folder cannot be listed.
pub async fn leftovers(scratch: &Path) -> Result<Vec<PathBuf>, PostgresError> {
    let scratch = scratch.to_owned();
    blocking(move || {
        let mut left = Vec::new();
        for path in candidates(&scratch)? {
            if !matches!(claim_of(&path)?, Claim::Held) {
                left.push(path);
            }
        }
        Ok(left)
    })
    .await
}

fn sweep_now(scratch: &Path) -> Result<SweepReport, PostgresError> {
    let mut report = SweepReport::default();
    for path in candidates(scratch)? {
        // The lock is held until the folder is gone.
        let _lock = match claim_of(&path)? {
            Claim::Held => {
                report.in_use.push(path);
                continue;
            }
            Claim::Dead(lock) => Some(lock),
            Claim::Unborn => None,
        };
        report.stopped.extend(stop_leftover(&path.join("data"))?);
        fs::remove_dir_all(&path).map_err(file_error(&path, "remove"))?;
        report.removed.push(path);
    }
    Ok(report)
}

/// Lists the folders that runs of this user may have made, by their names and what lies in them.
fn candidates(scratch: &Path) -> Result<Vec<PathBuf>, PostgresError> {
    let entries = match fs::read_dir(scratch) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file_error(scratch, "list")(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(file_error(scratch, "list"))?;
        let name = entry.file_name();
        let drawn = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let is_named = drawn.is_some_and(|drawn| drawn.len() == 6 && drawn.bytes().all(|b| b.is_ascii_alphanumeric()));
        if is_named && entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_ours(&entry.path()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Whether a folder is one of a run of this user: by its owner file, or as it is before it has one. The scratch folder may be one
/// that everybody writes to.
fn is_ours(folder: &Path) -> bool {
    let me = rustix::process::geteuid().as_raw();
    match fs::symlink_metadata(folder.join(OWNER)) {
        Ok(metadata) => metadata.is_file() && metadata.uid() == me,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let is_bare = fs::read_dir(folder)
                .is_ok_and(|entries| entries.flatten().all(|entry| entry.file_name().to_str() == Some(OWNER_DRAFT)));
            is_bare && fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.uid() == me)
        }
        Err(_) => false,
    }
}

/// Whether the run that a folder is of lives.
enum Claim {
    /// It does, or may.
    Held,
    /// It does not, and the lock is ours now.
    Dead(File),
    /// It was killed before it had an owner file.
    Unborn,
}

/// Writes and locks the owner file. It gets its name only when it is locked, so that no sweep sees it free.
fn claim(folder: &Path) -> Result<File, PostgresError> {
    let (draft, path) = (folder.join(OWNER_DRAFT), folder.join(OWNER));
    let mut file = File::create_new(&draft).map_err(file_error(&draft, "create"))?;
    file.lock().map_err(file_error(&draft, "lock"))?;
    writeln!(file, "{}", std::process::id()).map_err(file_error(&draft, "write"))?;
    fs::rename(&draft, &path).map_err(file_error(&path, "create"))?;
    Ok(file)
}

/// Locks a folder whose owner is gone.
fn claim_of(folder: &Path) -> Result<Claim, PostgresError> {
    let path = folder.join(OWNER);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(if older_than(folder, UNOWNED_GRACE) { Claim::Unborn } else { Claim::Held });
        }
        Err(error) => return Err(file_error(&path, "open")(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Claim::Dead(file)),
        Err(TryLockError::WouldBlock) => Ok(Claim::Held),
        Err(TryLockError::Error(error)) => Err(file_error(&path, "lock")(error)),
    }
}

fn older_than(folder: &Path, age: Duration) -> bool {
    let modified = fs::metadata(folder).and_then(|m| m.modified());
    modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|passed| passed > age))
}

/// Stops the server that still runs on `data`, and returns its pid.
pub(super) fn stop_leftover(data: &Path) -> Result<Option<u32>, PostgresError> {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return Ok(None) };
    let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).and_then(Pid::from_raw);
    let Some(pid) = pid.filter(|pid| works_in(*pid, data)) else { return Ok(None) };
    for (signal, patience) in [(Signal::QUIT, Duration::from_secs(5)), (Signal::KILL, Duration::from_secs(5))] {
        let _ = kill_process(pid, signal);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if !works_in(pid, data) {
                return Ok(Some(pid.as_raw_nonzero().get().unsigned_abs()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Err(PostgresError::Throwaway(format!("the server in {} does not stop", data.display())))
}

/// A server's working directory is its cluster: a pid that was given to another process is not taken for it.
pub(super) fn works_in(pid: Pid, data: &Path) -> bool {
    let link = format!("/proc/{}/cwd", pid.as_raw_nonzero());
    match (fs::read_link(link), data.canonicalize()) {
        (Ok(working), Ok(data)) => working == data,
        _ => false,
    }
}

fn check_socket_length(scratch: &Path) -> Result<(), PostgresError> {
    let longest = scratch.as_os_str().len() + "/pg-XXXXXX/".len() + SOCKET_NAME.len();
    if longest <= SOCKET_PATH_LIMIT {
        return Ok(());
    }
    Err(PostgresError::InvalidOptions(format!(
        "the scratch folder's path is {} bytes too long for a Unix socket under it: {}",
        longest - SOCKET_PATH_LIMIT,
        scratch.display()
    )))
}

/// Checks that `account` can pass through all folders above and including `folder`.
fn check_reachable(folder: &Path, account: RunAs) -> Result<(), PostgresError> {
    for step in folder.ancestors() {
        let metadata = fs::metadata(step).map_err(file_error(step, "look at"))?;
        let bit = match () {
            () if metadata.uid() == account.uid => 0o100,
            () if metadata.gid() == account.gid => 0o010,
            () => 0o001,
        };
        if metadata.mode() & bit == 0 {
            return Err(PostgresError::Throwaway(format!(
                "account {} cannot enter {}; choose another scratch folder",
                account.uid,
                step.display()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_run_left_goes() {
        let scratch = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = scratch.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let age = |path: &Path| {
            let hour_ago = SystemTime::now() - Duration::from_secs(3600);
            File::open(path).unwrap().set_modified(hour_ago).unwrap();
        };
        let dead = make("pg-DeAd01");
        drop(claim(&dead).unwrap());
        fs::create_dir(dead.join("data")).unwrap();
        let alive = make("pg-aLive1");
        let _lock = claim(&alive).unwrap();
        let unborn = make("pg-unborn");
        fs::write(unborn.join(OWNER_DRAFT), "").unwrap();
        age(&unborn);
        let young = make("pg-young1");
        // Of somebody else, though by its name it could be ours.
        let foreign = make("pg-backup");
        fs::write(foreign.join("dump"), "dear").unwrap();
        age(&foreign);
        let longer = make("pg-dumps-of-2024");
        age(&longer);

        let listed = candidates(scratch.path()).unwrap();
        assert_eq!(listed.len(), 4, "{listed:?}");
        let mut report = sweep_now(scratch.path()).unwrap();
        report.removed.sort();
        report.in_use.sort();
        assert_eq!(report.removed, [dead, unborn]);
        assert_eq!(report.in_use, [alive, young]);
        assert!(foreign.join("dump").exists() && longer.exists());
        assert_eq!(sweep_now(&scratch.path().join("none")).unwrap(), SweepReport::default());
    }
}
