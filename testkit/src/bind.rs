//! BIND: a name server that takes signed updates of a zone, and one that keeps answers of another.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::ports::Port;
use crate::process::Process;
use crate::programs::{is_root, missing};

/// A running `named`.
#[derive(Debug)]
pub struct Bind {
    _process: Process,
    _folder: TempDir,
    port: Port,
}

impl Bind {
    /// The zone that the server has.
    pub const ZONE: &'static str = "ex.test.";
    /// The name in it that has the address 192.0.2.1, which may be kept for two seconds.
    pub const NAME: &'static str = "app.ex.test.";
    /// The keys that may change the zone: their names, and what they are for.
    pub const KEYS: [(&'static str, &'static str); 2] = [("drkey", "hmac-sha256"), ("drkey512", "hmac-sha512")];
    /// What both of them are, in base64.
    pub const SECRET: &'static str = "ZXJwZ28tZHIgdGVzdGtpdDogbm90IGEgc2VjcmV0IQ==";

    /// Starts a server of the zone.
    ///
    /// # Panics
    /// If `named` is not installed or does not come up.
    pub fn start() -> Self {
        let grants = Self::KEYS.map(|(name, _)| format!("grant {name} zonesub ANY;")).join(" ");
        let zone = format!("zone \"ex.test\" {{ type master; file \"ex.test.zone\"; update-policy {{ {grants} }}; }};");
        Self::launch("recursion no;", &zone)
    }

    /// Starts a server that asks another one, and keeps its answers as long as they may be kept.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn resolver_of(other: &Self) -> Self {
        let port = other.port.number;
        let forward = format!("recursion yes; forward only; forwarders {{ 127.0.0.1 port {port}; }};");
        Self::launch(&forward, "")
    }

    /// Returns where it listens: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number)
    }

    /// Returns what `dig` says that the server answers, in the order of the alphabet.
    pub fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        dig(self.port.number, name, kind)
    }

    fn launch(options: &str, zone: &str) -> Self {
        let folder = TempDir::with_prefix("erpgo-dr-bind-").expect("cannot make a temporary folder");
        let port = Port::take();
        // A copy: AppArmor knows the original by its path, and has it read nothing here.
        let program = folder.path().join("named");
        fs::copy(system_program("named"), &program).expect("cannot copy named");
        write_files(folder.path(), port.number, options, zone);
        let mut command = as_bind(&program);
        command.args(["-f", "-n", "1", "-c"]).arg(folder.path().join("named.conf"));
        let ready = || listens(port.number) && !dig(port.number, Self::ZONE, "SOA").is_empty();
        let process = Process::start("named", command, folder.path().join("named.log"), ready);
        let process = process.stopped_by(Signal::TERM, Duration::from_secs(10));
        Self { _process: process, _folder: folder, port }
    }
}

fn write_files(folder: &Path, port: u16, options: &str, zone: &str) {
    let keys = Bind::KEYS.map(|(name, algorithm)| {
        format!("key \"{name}\" {{ algorithm {algorithm}; secret \"{}\"; }};\n", Bind::SECRET)
    });
    let place = folder.display();
    let text = format!(
        "{}options {{ directory \"{place}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
           pid-file \"{place}/named.pid\"; session-keyfile \"{place}/session.key\"; managed-keys-directory \"{place}\";
           dnssec-validation no; notify no; {options} }};
         controls {{ }};
         {zone}\n",
        keys.concat()
    );
    fs::write(folder.join("named.conf"), text).expect("cannot write named.conf");
    let zone = "$TTL 2
@ IN SOA ns.ex.test. root.ex.test. 1 3600 600 86400 2
@ IN NS ns.ex.test.
ns IN A 127.0.0.1
app IN A 192.0.2.1
";
    fs::write(folder.join("ex.test.zone"), zone).expect("cannot write the zone");
    if is_root() {
        let status = Command::new("chown").args(["-R", "bind:bind"]).arg(folder).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot give {place} to the user bind");
    }
}

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn dig(port: u16, name: &str, kind: &str) -> Vec<String> {
    let mut command = Command::new("dig");
    command.args(["@127.0.0.1", "-p", &port.to_string(), "+short", "+tries=1", "+time=2", name, kind]);
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|_| missing("dig"));
    // What went wrong stands behind semicolons.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<String> = text.lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Finds a program where Debian puts those for administrators, which may not be on `PATH`.
fn system_program(name: &str) -> PathBuf {
    let path = Path::new("/usr/sbin").join(name);
    if path.is_file() { path } else { missing(name) }
}

fn as_bind(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=bind", "--regid=bind", "--init-groups"]).arg(program);
    command
}
