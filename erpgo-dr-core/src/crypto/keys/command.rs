//! External commands that wrap and unwrap keys: the door to a KMS, an HSM or an age plugin.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::crypto::CryptoError;

const STDERR_LIMIT: usize = 2 << 10;

/// A program and its arguments, run without a shell: input on its stdin, output from its stdout.
///
/// It inherits the environment. It runs in a process group of its own, which is killed as a whole when
/// time is up or when the caller gives up waiting.
#[derive(Debug, Clone)]
pub struct ExternalCommand {
    /// The program, looked up in `PATH` unless it is a path.
    pub program: OsString,
    /// Its arguments. They are public: other users of the host can read them.
    pub arguments: Vec<OsString>,
    /// How long it may take.
    pub timeout: Duration,
}

impl ExternalCommand {
    /// Creates a command that may take 30 seconds.
    pub fn new(program: impl Into<OsString>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.into(), arguments, timeout: Duration::from_secs(30) }
    }

    /// Runs the command with `input` and returns what it wrote, at most `limit` bytes.
    pub(super) async fn run(&self, input: &[u8], limit: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|source| self.not_run(source))?;
        // Held across the await: it also kills when this future is dropped.
        let mut group = ProcessGroup(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let ended = tokio::time::timeout(self.timeout, converse(child, input, limit)).await;
        let Ok(ended) = ended else {
            return Err(CryptoError::CommandTimedOut { program: self.name(), timeout: self.timeout });
        };
        let (status, stdout, stderr) = ended.map_err(|source| self.not_run(source))?;
        group.0 = None;
        if !status.success() {
            let status = status.to_string();
            return Err(CryptoError::CommandFailed { program: self.name(), status, stderr: readable(&stderr) });
        }
        if stdout.len() > limit {
            return Err(self.bad_output("it is too long"));
        }
        Ok(stdout)
    }

    /// Refuses what cannot be a wrapped form of `payload`.
    pub(super) fn check_wrapped(&self, wrapped: &[u8], payload: &[u8]) -> Result<(), CryptoError> {
        if wrapped.is_empty() {
            return Err(self.bad_output("it is empty"));
        }
        let digits = payload.trim_ascii_end();
        let digits = &digits[digits.len().saturating_sub(64)..];
        if memchr::memmem::find(&Zeroizing::new(wrapped.to_ascii_lowercase()), digits).is_some() {
            return Err(self.bad_output("it holds the key in the clear"));
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    fn not_run(&self, source: io::Error) -> CryptoError {
        CryptoError::CommandNotRun { program: self.name(), source }
    }

    fn bad_output(&self, reason: &'static str) -> CryptoError {
        CryptoError::CommandOutput { program: self.name(), reason }
    }
}

/// Kills a command and what it started, unless disarmed.
struct ProcessGroup(Option<Pid>);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It may have ended in the meantime.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

type Ended = (ExitStatus, Zeroizing<Vec<u8>>, Vec<u8>);

async fn converse(mut child: Child, input: &[u8], limit: usize) -> io::Result<Ended> {
    let stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let send = async {
        let Some(mut stdin) = stdin else { return Ok(()) };
        match stdin.write_all(input).await {
            // It need not read all, and its exit status says more than a broken pipe.
            Err(failure) if failure.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    };
    let receive = async {
        // One byte more than allowed tells what is too long; reserved once, so that growth leaves no copy.
        let mut kept = Zeroizing::new(Vec::with_capacity(limit + 1));
        if let Some(mut stdout) = stdout {
            (&mut stdout).take(limit as u64 + 1).read_to_end(&mut kept).await?;
            drain(stdout).await?;
        }
        Ok(kept)
    };
    let complain = async {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            (&mut stderr).take(STDERR_LIMIT as u64).read_to_end(&mut said).await?;
            drain(stderr).await?;
        }
        Ok(said)
    };
    let ((), stdout, stderr) = tokio::try_join!(send, receive, complain)?;
    Ok((child.wait().await?, stdout, stderr))
}

async fn drain(mut pipe: impl AsyncRead + Unpin) -> io::Result<()> {
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await.map(|_| ())
}

/// Returns one line of text. A run of hexadecimal digits that could be the key is left out.
fn readable(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        let longest = word.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
        if longest.unwrap_or(0) >= 32 {
            line.push_str("[left out]");
        } else {
            line.extend(word.chars().filter(|c| !c.is_control()));
        }
    }
    if line.is_empty() { "it said nothing".to_owned() } else { line }
}
