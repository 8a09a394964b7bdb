//! A mail server that keeps what it gets, instead of sending it on.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::ports::Port;
use crate::process::Process;
use crate::programs::{missing, python};

/// A running mail server. It refuses mail for `nobody`, wherever.
#[derive(Debug)]
pub struct SmtpServer {
    _process: Process,
    folder: TempDir,
    port: Port,
}

impl SmtpServer {
    /// Who may log in, where logging in is asked for.
    pub const USER: &'static str = "dr";
    /// The password for that.
    pub const PASSWORD: &'static str = "mail-and-nothing-else";

    /// Starts a server that takes everything, and knows no TLS.
    ///
    /// # Panics
    /// If `aiosmtpd` is not installed or does not come up.
    pub fn start() -> Self {
        Self::launch(false)
    }

    /// Starts a server that takes mail only behind `STARTTLS`, of those who have logged in.
    ///
    /// # Panics
    /// As [`start`](Self::start), and without `openssl`.
    pub fn start_protected() -> Self {
        Self::launch(true)
    }

    /// Returns where it listens, by the name that its certificate has: `localhost:PORT`.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port.number)
    }

    /// Returns the file with the certificate to trust.
    pub fn authorities(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    /// Returns what it has got: headers and text of each message, with the recipients as `X-Recipients`.
    pub fn messages(&self) -> Vec<String> {
        let files = (0..).map(|number| self.folder.path().join(format!("message-{number}")));
        files.map_while(|file| fs::read_to_string(file).ok()).collect()
    }

    fn launch(protected: bool) -> Self {
        let folder = TempDir::with_prefix("erpgo-dr-smtp-").expect("cannot make a temporary folder");
        let port = Port::take();
        let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
        let mut command = Command::new(python());
        command.args(["-c", include_str!("smtp_sink.py")]).arg(folder.path()).arg(port.number.to_string());
        match protected {
            true => {
                make_certificate(&certificate, &key);
                command.arg(certificate).arg(key);
            }
            false => {
                command.args(["", ""]);
            }
        }
        command.args([Self::USER, Self::PASSWORD]);
        let ready = || greets(port.number);
        let process = Process::start("aiosmtpd", command, folder.path().join("smtp.log"), ready);
        Self { _process: process, folder, port }
    }
}

fn make_certificate(certificate: &Path, key: &Path) {
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        // Not a CA: rustls does not take a CA's certificate for a server's.
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(certificate)
        .arg("-keyout")
        .arg(key);
    let output = command.output().unwrap_or_else(|_| missing("openssl"));
    assert!(output.status.success(), "openssl failed: {}", String::from_utf8_lossy(&output.stderr));
}

fn greets(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return false };
    let mut line = String::new();
    let patient = stream.set_read_timeout(Some(Duration::from_secs(5))).is_ok();
    let greeted = patient && stream.try_clone().is_ok_and(|half| BufReader::new(half).read_line(&mut line).is_ok());
    let _ = stream.write_all(b"QUIT\r\n");
    greeted && line.starts_with("220 ")
}
