//! Child processes of a throwaway server: started under its account, stopped by their own pid.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::super::launch::log_tail;
use super::{PostgresError, RunAs, file_error};

const TICK: Duration = Duration::from_millis(10);
/// How long a dropped server may take for an immediate shutdown before it is killed.
const DROP_TIMEOUT: Duration = Duration::from_secs(3);

/// A running child. Dropping it stops it, blocking for at most a few seconds.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    program: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts `program` in its own process group, with these variables and nothing of the caller's environment.
    pub(super) fn start(
        program: &Path,
        arguments: &[&str],
        environment: &[(OsString, OsString)],
        folder: &Path,
        log: &Path,
        account: Option<RunAs>,
    ) -> Result<Self, PostgresError> {
        let output = File::options().append(true).create(true).open(log).map_err(file_error(log, "open"))?;
        let errors = output.try_clone().map_err(file_error(log, "open"))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("HOME", folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // A Ctrl-C on the caller's terminal is the caller's to handle.
            .process_group(0);
        if let Some(account) = account {
            command.uid(account.uid).gid(account.gid);
        }
        let child = command.spawn().map_err(|source| PostgresError::Spawn { program: program.to_owned(), source })?;
        Ok(Self { child, program: program.to_owned(), log: log.to_owned() })
    }

    /// Returns the pid.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the exit status if the child has ended.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, PostgresError> {
        self.child.try_wait().map_err(|source| self.lost(source))
    }

    /// Waits until the child has ended; `None` when it did not within `timeout`.
    pub(super) async fn wait(&mut self, timeout: Duration) -> Result<Option<ExitStatus>, PostgresError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Sends a signal to the child itself.
    pub(super) fn signal(&self, signal: Signal) {
        // The child is not reaped before `child` says so: its pid cannot be anybody else's.
        let _ = kill_process(self.pid(), signal);
    }

    /// Describes a failure of the child by the end of its log.
    pub(super) fn failure(&self, status: &dyn fmt::Display) -> PostgresError {
        let program = self.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        PostgresError::Program { program, status: status.to_string(), stderr: log_tail(&self.log) }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn lost(&self, source: std::io::Error) -> PostgresError {
        PostgresError::Pipe { program: self.program.display().to_string(), source }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        self.signal(Signal::QUIT);
        let deadline = Instant::now() + DROP_TIMEOUT;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(TICK);
        }
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }
}
