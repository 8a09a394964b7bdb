//! A repository, and the tool as a program that can be killed. Both belong to the account under which servers run.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use erpgo_dr_core::repository::LEASE_TTL;
use erpgo_dr_testkit::postgres::{SUPERUSER, give_to_postgres};
use erpgo_dr_testkit::{PgServer, unprivileged};
use tempfile::TempDir;

/// A repository of its own, beside the server that is backed up.
#[derive(Debug)]
pub struct Site {
    folder: TempDir,
    program: PathBuf,
    connection: String,
    bin: PathBuf,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Whether a signal ended it.
    pub killed: bool,
    /// Whether it ended with 0.
    pub succeeded: bool,
    /// The result in its document.
    pub result: serde_json::Value,
    /// Its error and what it wrote to standard error.
    pub complaint: String,
}

impl Site {
    /// Makes a key and a repository.
    ///
    /// # Errors
    /// If the tool was not built, or fails.
    pub fn new(server: &PgServer) -> io::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("erpgo-dr");
        if !program.is_file() {
            return Err(io::Error::other("build the tool first: cargo build -p erpgo-dr-cli"));
        }
        let connection = format!("host={} port={} user={SUPERUSER}", server.socket_dir().display(), server.port());
        let folder = TempDir::with_prefix("erpgo-dr-soak-")?;
        give_to_postgres(folder.path());
        let site = Self { folder, program, connection, bin: server.bin().to_owned() };
        fs::write(site.path("erpgo-dr.toml"), "")?;
        let mut generate = site.bare();
        let made = generate.args(["key", "generate"]).arg(site.path("key.txt")).output()?;
        let text = String::from_utf8_lossy(&made.stdout).into_owned();
        let recipient = text.split(['"', ' ', '\n']).find(|word| word.starts_with("age1"));
        let complaint = || io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned());
        let recipient = recipient.ok_or_else(complaint)?.to_owned();
        let mut init = site.bare();
        init.arg("-r").arg(site.path("repository")).args(["init", "--recipient", &recipient]);
        match init.output()? {
            output if output.status.success() => Ok(site),
            output => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    /// Returns a path in the folder of the site.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the tool.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, arguments: &[&str]) -> io::Result<Child> {
        let mut command = self.bare();
        command.arg("-r").arg(self.path("repository")).arg("-i").arg(self.path("key.txt"));
        command.args(["-d", &self.connection]).arg("--bin-dir").arg(&self.bin).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    /// Runs the tool to its end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> io::Result<Ended> {
        ended(self.spawn(arguments)?)
    }

    /// Lets the leases of dead processes lapse: their age is what the file system says.
    ///
    /// # Errors
    /// If the file system does not let us.
    pub fn let_leases_lapse(&self) -> io::Result<()> {
        let long_ago = SystemTime::now() - 2 * LEASE_TTL;
        let Ok(leases) = fs::read_dir(self.path("repository/state/leases")) else { return Ok(()) };
        for lease in leases {
            File::options().write(true).open(lease?.path())?.set_modified(long_ago)?;
        }
        Ok(())
    }

    fn bare(&self) -> Command {
        let mut command = unprivileged(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ERPGO_DR_")) {
            command.env_remove(name);
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.args(["--json", "--config"]).arg(self.path("erpgo-dr.toml"));
        command
    }
}

/// Waits for a program.
///
/// # Errors
/// If it cannot be waited for.
pub fn ended(child: Child) -> io::Result<Ended> {
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
///
/// # Errors
/// If it cannot be waited for.
pub fn kill_after(mut child: Child, delay: Duration) -> io::Result<Ended> {
    std::thread::sleep(delay);
    // One that has ended already is not there to be killed.
    let _ = child.kill();
    ended(child)
}
