//! A server as a child process: started, waited for, stopped by its own pid.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);
const LOG_TAIL: usize = 40;

/// A running server and its log file.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    stop_signal: Signal,
    grace: Duration,
}

impl Process {
    /// Starts `command` with both outputs in the file `log`, and waits until `ready` says so.
    ///
    /// # Panics
    /// If the program cannot be started, ends early, or is not ready after a minute: with the end of its log.
    pub(crate) fn start(name: &'static str, mut command: Command, log: PathBuf, ready: impl Fn() -> bool) -> Self {
        let out = File::options().create(true).append(true).open(&log).expect("cannot make the log file");
        let err = out.try_clone().expect("cannot share the log file");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let mut process = Self { name, child, log, stop_signal: Signal::KILL, grace: Duration::from_secs(20) };
        process.wait_until_ready(ready);
        process
    }

    /// Sends `signal` to stop the server when dropped, and kills it if it is still there after `grace`.
    pub(crate) fn stopped_by(mut self, signal: Signal, grace: Duration) -> Self {
        self.stop_signal = signal;
        self.grace = grace;
        self
    }

    fn wait_until_ready(&mut self, ready: impl Fn() -> bool) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !ready() {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} ended ({status}) before it was ready; its log ends:\n{}", self.name, self.log_tail());
            }
            if Instant::now() > deadline {
                panic!("{} was not ready in {START_TIMEOUT:?}; its log ends:\n{}", self.name, self.log_tail());
            }
            sleep(POLL);
        }
    }

    /// Sends `signal` and waits for the end, with the hardest signal after the grace period.
    pub(crate) fn stop(&mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        let deadline = Instant::now() + self.grace;
        loop {
            match self.child.try_wait().expect("cannot wait for our own child") {
                Some(status) => return status,
                None if Instant::now() > deadline => self.signal(Signal::KILL),
                None => {}
            }
            sleep(POLL / 5);
        }
    }

    fn signal(&mut self, signal: Signal) {
        // Not after the child was waited for: the number could be somebody else's by then.
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), Pid::from_raw(self.child.id() as i32)) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Returns the process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop(self.stop_signal);
    }
}
