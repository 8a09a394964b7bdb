//! etcd: where Patroni keeps who leads.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::http;
use crate::ports::Port;
use crate::process::Process;
use crate::programs::program;

/// A running etcd of one member.
#[derive(Debug)]
pub struct Etcd {
    _process: Process,
    _folder: TempDir,
    client: Port,
    _peer: Port,
}

impl Etcd {
    /// Starts a server.
    ///
    /// # Panics
    /// If `etcd` is not installed or does not come up.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("erpgo-dr-etcd-").expect("cannot make a temporary folder");
        let (client, peer) = (Port::take(), Port::take());
        let urls = [&client, &peer].map(|port| format!("http://127.0.0.1:{}", port.number));
        let mut command = Command::new(program("etcd"));
        command.arg("--data-dir").arg(folder.path().join("data")).args(["--name", "etcd"]);
        command.args(["--listen-client-urls", &urls[0], "--advertise-client-urls", &urls[0]]);
        command.args(["--listen-peer-urls", &urls[1], "--initial-advertise-peer-urls", &urls[1]]);
        command.args(["--initial-cluster", &format!("etcd={}", urls[1])]);
        let ready = || {
            let health = http::request(client.number, "GET", "/health", &[], "");
            health.is_ok_and(|(status, text)| status == 200 && text.contains("true"))
        };
        let process = Process::start("etcd", command, folder.path().join("etcd.log"), ready);
        // It has nothing that is worth keeping.
        let process = process.stopped_by(Signal::KILL, Duration::from_secs(10));
        Self { _process: process, _folder: folder, client, _peer: peer }
    }

    /// Returns where clients reach it: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.client.number)
    }

    /// Removes a key, which is given in base64, as etcd's gateway for JSON takes it.
    ///
    /// # Panics
    /// If the server does not answer, or refuses.
    pub fn delete(&self, key: &str) {
        let body = format!("{{\"key\": \"{key}\"}}");
        let answered = http::request(self.client.number, "POST", "/v3/kv/deleterange", &[], &body);
        let (status, text) = answered.expect("etcd is gone");
        assert_eq!(status, 200, "etcd does not remove {key}: {text}");
    }
}
