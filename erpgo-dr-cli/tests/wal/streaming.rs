//! A `wal stream` beside a server, and what it made possible.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use erpgo_dr_testkit::postgres::PgServer;

use crate::support::{Site, start_on, wait_for};

/// A `wal stream` at work; killed when it is dropped.
pub(crate) struct Stream {
    child: Option<Child>,
    errors: PathBuf,
}

impl Stream {
    pub(crate) fn start(site: &Site, server: &PgServer, options: &[&str]) -> Self {
        Self::start_at(site, &server.url("postgres"), options)
    }

    pub(crate) fn start_at(site: &Site, url: &str, options: &[&str]) -> Self {
        Self::start_without_slot(site, url, &[&["--slot", "erpgo", "--create-slot"], options].concat())
    }

    pub(crate) fn start_without_slot(site: &Site, url: &str, options: &[&str]) -> Self {
        let errors = site.path("stream.log");
        let (config, folder) = (site.path("erpgo-dr.toml").display().to_string(), site.path("incoming"));
        let folder = folder.display().to_string();
        let mut command = site.command(&["--config", &config, "-d", url, "--json", "wal", "stream"]);
        command.args(["--folder", &folder]).args(options);
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&errors).unwrap());
        Self { child: Some(command.spawn().unwrap()), errors }
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What it has told the operator so far.
    pub(crate) fn told(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap()
    }

    /// Tells it to stop, and returns what it reports.
    pub(crate) fn stop(self) -> serde_json::Value {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.end()
    }

    /// Waits until it ends by itself, and returns what it reports.
    pub(crate) fn end(mut self) -> serde_json::Value {
        let child = self.child.take().unwrap();
        let output = child.wait_with_output().unwrap();
        let errors = std::fs::read_to_string(&self.errors).unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}: {errors}", output.status))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

pub(crate) fn wait_until_streaming(server: &PgServer) {
    let question =
        "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'erpgo-dr' AND state = 'streaming'";
    wait_for("streaming", server, || server.psql("postgres", question) == "1");
}

/// From now on a commit returns only when the stream says that it is durable.
pub(crate) fn make_synchronous(server: &PgServer) {
    server.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '\"erpgo-dr\"'");
    server.psql("postgres", "SELECT pg_reload_conf()");
    let question = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    wait_for("a synchronous standby", server, || server.psql("postgres", question) == "1");
}

pub(crate) fn back_up(site: &Site, server: &PgServer) {
    let backup = site.json(&["-d", &server.url("postgres"), "cluster", "backup"]);
    assert_eq!(backup["ok"], true, "{backup}");
}

/// Brings back all that the repository has.
pub(crate) fn restore(site: &Site, major: u32) -> PgServer {
    let data = site.path("restored");
    let restored = site.json(&["cluster", "restore", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(restored["ok"], true, "{restored}");
    start_on(&data, major)
}

/// The words of a stream without a slot that ends at once.
pub(crate) fn stream_once(site: &Site, server: &PgServer) -> Vec<&'static str> {
    let folder = site.path("incoming").display().to_string();
    let words = ["-d", &server.url("postgres"), "wal", "stream", "--folder", &folder, "--until", "0/1000100"];
    let words = words.map(str::to_owned);
    words.into_iter().map(|word| &*word.leak()).collect()
}
