//! The server, the repository, and the tool as a program that can be killed.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use erpgo_dr_core::repository::LEASE_TTL;
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::SUPERUSER;
use tempfile::TempDir;

use crate::Outcome;

/// A repository of its own, beside the server that is backed up.
pub(crate) struct Site {
    folder: TempDir,
    program: PathBuf,
    connection: String,
    bin: PathBuf,
}

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) killed: bool,
    pub(crate) succeeded: bool,
    pub(crate) result: serde_json::Value,
    pub(crate) complaint: String,
}

impl Site {
    pub(crate) fn new(server: &PgServer) -> Outcome<Self> {
        let program = std::env::current_exe()?.with_file_name("erpgo-dr");
        if !program.is_file() {
            return Err("build the tool first: cargo build -p erpgo-dr-cli".into());
        }
        let connection = format!("host={} port={} user={SUPERUSER}", server.socket_dir().display(), server.port());
        // The throwaway servers' account must get to its scratch folder.
        let folder = TempDir::with_prefix("erpgo-dr-soak-")?;
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
        let site = Self { folder, program, connection, bin: server.bin().to_owned() };
        File::create(site.path("erpgo-dr.toml"))?;
        let mut generate = site.bare();
        let made = generate.args(["key", "generate"]).arg(site.path("key.txt")).output()?;
        let text = String::from_utf8_lossy(&made.stdout).into_owned();
        let recipient = text.split(['"', ' ', '\n']).find(|word| word.starts_with("age1"));
        let recipient = recipient.ok_or("no key was made")?.to_owned();
        let mut init = site.bare();
        init.arg("-r").arg(site.path("repository")).args(["init", "--recipient", &recipient]);
        match init.output()? {
            output if output.status.success() => Ok(site),
            output => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the tool.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> io::Result<Child> {
        let mut command = self.bare();
        command.arg("-r").arg(self.path("repository")).arg("-i").arg(self.path("key.txt"));
        command.args(["-d", &self.connection]).arg("--bin-dir").arg(&self.bin).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    /// Runs the tool to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome<Ended> {
        ended(self.spawn(arguments)?)
    }

    /// Lets the leases of dead processes lapse: their age is what the file system says.
    pub(crate) fn let_leases_lapse(&self) -> Outcome<()> {
        let long_ago = SystemTime::now() - 2 * LEASE_TTL;
        let Ok(leases) = fs::read_dir(self.path("repository/state/leases")) else { return Ok(()) };
        for lease in leases {
            File::options().write(true).open(lease?.path())?.set_modified(long_ago)?;
        }
        Ok(())
    }

    fn bare(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ERPGO_DR_")) {
            command.env_remove(name);
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.args(["--json", "--config"]).arg(self.path("erpgo-dr.toml"));
        command
    }
}

/// Waits for a program.
pub(crate) fn ended(child: Child) -> Outcome<Ended> {
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    let document: serde_json::Value = serde_json::from_slice(&stdout).unwrap_or_default();
    Ok(Ended {
        killed: status.signal().is_some(),
        succeeded: status.success(),
        result: document["result"].clone(),
        complaint: format!("{status}: {}{}", document["error"], String::from_utf8_lossy(&stderr)),
    })
}

/// Kills a program after a while, unless it has ended.
pub(crate) fn kill_after(mut child: Child, delay: Duration) -> Outcome<Ended> {
    std::thread::sleep(delay);
    // One that has ended already is not there to be killed.
    let _ = child.kill();
    ended(child)
}
