//! ministack: the parts of AWS that SeaweedFS has not (Glacier's thaw). It checks no signatures.

use std::process::Command;

use tempfile::TempDir;

use crate::http;
use crate::ports::Port;
use crate::process::Process;
use crate::programs::program;

/// A running ministack.
#[derive(Debug)]
pub struct Ministack {
    _process: Process,
    _folder: TempDir,
    port: Port,
}

impl Ministack {
    /// Starts a server.
    ///
    /// # Panics
    /// If `ministack` is not installed or does not come up.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("erpgo-dr-ministack-").expect("cannot make a temporary folder");
        let port = Port::take();
        let mut command = Command::new(program("ministack"));
        command.current_dir(folder.path()).env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.number.to_string());
        let process =
            Process::start("ministack", command, folder.path().join("ministack.log"), || http::answers(port.number));
        Self { _process: process, _folder: folder, port }
    }

    /// Returns the address for every AWS service: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number)
    }

    /// Makes an empty bucket.
    pub fn create_bucket(&self, name: &str) {
        let (status, body) =
            http::request(self.port.number, "PUT", &format!("/{name}"), &[], "").expect("ministack is gone");
        assert!(status < 300, "cannot make bucket {name}: {status} {body}");
    }
}
