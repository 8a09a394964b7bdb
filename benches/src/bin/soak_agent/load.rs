//! pgbench, as long as there is a server.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use erpgo_dr_testkit::PgServer;

use crate::Outcome;
use crate::stage::DATABASE;

/// A thread that begins pgbench again whenever it ends.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn begin(server: &PgServer) -> Outcome<Self> {
        let made = server.client("pgbench").args(["--initialize", "--quiet", "--scale", "1", DATABASE]).output()?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned().into());
        }
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut command = server.client("pgbench");
        command.args(["--client", "2", "--time", "5", "--rate", "25", "--no-vacuum", DATABASE]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = thread::spawn(move || work(command, &stopped, &counted));
        Ok(Self { stop, rounds, thread: Some(thread) })
    }

    /// Returns how often pgbench came to its end.
    pub(crate) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::SeqCst)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(mut command: Command, stop: &AtomicBool, rounds: &AtomicU64) {
    while !stop.load(Ordering::SeqCst) {
        match command.status() {
            Ok(status) if status.success() => drop(rounds.fetch_add(1, Ordering::SeqCst)),
            // The server is gone, and comes again.
            _ => sleep(Duration::from_millis(500)),
        }
    }
}
