//! A child process that is always waited for, and whose end of standard error explains its failure.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::super::throwaway::RunAs;
use super::super::{ConnectionSettings, PostgresError};

/// What is kept of standard error, in bytes.
const STDERR_LIMIT: usize = 64 * 1024;
/// The most that an unprivileged process gets for a pipe by default, in bytes.
#[cfg(target_os = "linux")]
const PIPE_SIZE: usize = 1 << 20;

/// A program with its arguments and its whole environment.
#[derive(Debug)]
pub(crate) struct Invocation {
    program: PathBuf,
    arguments: Vec<OsString>,
    // Not in `Debug`: may hold a password.
    environment: Environment,
    account: Option<RunAs>,
}

struct Environment(Vec<(OsString, OsString)>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Invocation {
    pub(crate) fn new(program: &Path) -> Self {
        Self { program: program.to_owned(), arguments: Vec::new(), environment: Environment(Vec::new()), account: None }
    }

    /// Adds an argument.
    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub(crate) fn arguments<S: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable; the last one of a name counts.
    pub(crate) fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.0.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs the program as an account; only root can.
    pub(crate) fn account(mut self, account: Option<RunAs>) -> Self {
        self.account = account;
        self
    }

    /// Tells the program how to reach a server.
    pub(crate) fn connection(mut self, settings: &ConnectionSettings) -> Self {
        self.environment.0.extend(settings.client_environment());
        self
    }

    /// Starts the program, with standard input closed unless `with_stdin`.
    pub(crate) fn spawn(self, with_stdin: bool) -> Result<RunningProgram, PostgresError> {
        let (mut running, stderr) = self.start(with_stdin)?;
        running.stderr = tokio::spawn(read_tail(stderr));
        Ok(running)
    }

    fn start(self, with_stdin: bool) -> Result<(RunningProgram, Option<ChildStderr>), PostgresError> {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy().into_owned();
        let mut command = Command::new(&self.program);
        if let Some(account) = self.account {
            command.uid(account.uid()).gid(account.gid());
        }
        let mut child = command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.0.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(if with_stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: pg_restore's workers end with it, and a terminal's Ctrl-C reaches only us.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| PostgresError::Spawn { program: self.program.clone(), source })?;
        let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let stderr = child.stderr.take();
        let stdout = child.stdout.take();
        let stdin = child.stdin.take();
        enlarge(stdin.as_ref());
        enlarge(stdout.as_ref());
        let unread = tokio::spawn(async { String::new() });
        Ok((RunningProgram { name, child, group, stdin, stdout, stderr: unread }, stderr))
    }

    /// Starts the program, and hands its standard error out: nothing of it explains a failure then.
    #[cfg(feature = "evidence")]
    pub(crate) fn spawn_with_stderr(self) -> Result<(RunningProgram, ChildStderr), PostgresError> {
        let (running, stderr) = self.start(false)?;
        let stderr = stderr.ok_or_else(|| running.pipe_error()(std::io::ErrorKind::BrokenPipe.into()))?;
        Ok((running, stderr))
    }

    /// Runs the program to its end, and returns what it wrote to standard output.
    pub(crate) async fn output(self) -> Result<Vec<u8>, PostgresError> {
        let mut running = self.spawn(false)?;
        let mut output = Vec::new();
        if let Some(mut stdout) = running.take_stdout() {
            stdout.read_to_end(&mut output).await.map_err(running.pipe_error())?;
        }
        running.finish().await?;
        Ok(output)
    }
}

/// A program that runs. Dropping it kills it and all that it started.
#[derive(Debug)]
pub(crate) struct RunningProgram {
    name: String,
    child: Child,
    group: Option<Pid>,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: JoinHandle<String>,
}

impl RunningProgram {
    /// Takes the pipe to its standard input, once.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// Takes the pipe from its standard output, once.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    /// Makes the error of a broken pipe to or from the program.
    pub(crate) fn pipe_error(&self) -> impl Fn(std::io::Error) -> PostgresError + 'static {
        let program = self.name.clone();
        move |source| PostgresError::Pipe { program: program.clone(), source }
    }

    /// Waits for its end, and returns what it wrote to standard error (the last 64 KiB).
    ///
    /// # Errors
    /// [`PostgresError::Program`] when it fails or is killed.
    pub(crate) async fn finish(mut self) -> Result<String, PostgresError> {
        drop((self.stdin.take(), self.stdout.take()));
        let status = self.child.wait().await.map_err(self.pipe_error())?;
        // It has been reaped: its number may belong to another process from now on.
        self.group = None;
        let stderr = (&mut self.stderr).await.unwrap_or_default();
        if status.success() {
            return Ok(stderr);
        }
        Err(PostgresError::Program { program: self.name.clone(), status: describe(status), stderr })
    }

    /// Kills it, and waits for its end.
    pub(crate) async fn kill(mut self) {
        self.signal_group();
        let _ = self.child.wait().await;
        self.group = None;
    }

    fn signal_group(&self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        self.signal_group();
        self.stderr.abort();
    }
}

/// Makes a pipe as large as the kernel allows. It may refuse; the default of 64 KiB works too.
#[cfg(target_os = "linux")]
fn enlarge(pipe: Option<impl std::os::fd::AsFd>) {
    let _ = pipe.map(|pipe| rustix::pipe::fcntl_setpipe_size(pipe, PIPE_SIZE));
}

#[cfg(not(target_os = "linux"))]
fn enlarge<T>(_pipe: Option<T>) {}

fn describe(status: ExitStatus) -> String {
    // "exit status: 1", "signal: 9 (SIGKILL)"
    status.to_string()
}

/// Reads to the end, keeping the last [`STDERR_LIMIT`] bytes.
async fn read_tail(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let mut tail = VecDeque::with_capacity(4096);
    let mut chunk = vec![0; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
        tail.extend(&chunk[..read]);
        tail.drain(..tail.len().saturating_sub(STDERR_LIMIT));
    }
    let text = String::from_utf8_lossy(tail.make_contiguous()).trim_end().to_owned();
    text.lines().map(redact).collect::<Vec<_>>().join("\n")
}

/// Cuts a line off behind `password '` or `password=`: pg_restore repeats the statement that failed, and
/// that of a user mapping or a subscription holds one.
fn redact(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let mut from = 0;
    while let Some(at) = lower[from..].find("password") {
        let end = from + at + "password".len();
        let rest = lower[end..].trim_start();
        if rest.starts_with(['\'', '=']) {
            return format!("{} [REDACTED]", &line[..end]);
        }
        from = end;
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_carries_the_end_of_standard_error() {
        let script = "yes 0123456789 | head -c 200000 >&2; echo the end >&2; exit 3";
        let running = Invocation::new(Path::new("/bin/sh")).arguments(["-c", script]).variable("PATH", "/usr/bin:/bin");
        match running.spawn(false).unwrap().finish().await {
            Err(PostgresError::Program { program, status, stderr }) => {
                assert_eq!((program.as_str(), status.as_str()), ("sh", "exit status: 3"));
                assert!(stderr.len() <= STDERR_LIMIT && stderr.ends_with("the end"), "{} bytes", stderr.len());
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_dropped_program_dies_with_its_children() {
        let script = "sleep 600 & echo $!; wait";
        let invocation =
            Invocation::new(Path::new("/bin/sh")).arguments(["-c", script]).variable("PATH", "/usr/bin:/bin");
        let mut running = invocation.spawn(false).unwrap();
        let mut stdout = running.take_stdout().unwrap();
        let mut text = [0; 16];
        let read = stdout.read(&mut text).await.unwrap();
        let grandchild: u32 = std::str::from_utf8(&text[..read]).unwrap().trim().parse().unwrap();
        drop(running);
        let dead = || match std::fs::read_to_string(format!("/proc/{grandchild}/status")) {
            Ok(status) => status.contains("State:\tZ"),
            Err(_) => true,
        };
        for _ in 0..200 {
            if dead() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("process {grandchild} lives on");
    }

    #[test]
    fn statements_lose_their_passwords() {
        assert_eq!(redact("OPTIONS (user 'a', password 'hunter2');"), "OPTIONS (user 'a', password [REDACTED]");
        assert_eq!(redact("CONNECTION 'host=h password=hunter2'"), "CONNECTION 'host=h password [REDACTED]");
        let kept = "FATAL:  password authentication failed for user \"a\"";
        assert_eq!(redact(kept), kept);
    }
}
