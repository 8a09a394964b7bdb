//! What a service manager, and a power switch, do to a host: as commands that a runbook names.
//!
//! Marks in the folder of the server say what is wrong with its host: `unreachable`, `does-not-start`, `no-power-switch`.

use std::fs;
use std::io;
use std::path::Path;

use super::server::Server;

/// The argument that makes a program carry such a command out: `on-host FILE WORD`.
pub const ON_HOST: &str = "on-host";

/// What describes the server that another is to follow.
const PRIMARY: &str = "primary.json";

impl Server {
    /// Returns the command by which a runbook acts on the server, as a value of a list.
    ///
    /// # Errors
    /// If the description of the server cannot be written.
    pub fn command_line(&self, word: &str) -> io::Result<String> {
        let file = self.folder.join("server.json");
        fs::write(&file, serde_json::to_vec(self)?)?;
        let program = std::env::current_exe()?;
        let line = [program.display().to_string(), ON_HOST.to_owned(), file.display().to_string(), word.to_owned()];
        Ok(serde_json::to_string(&line)?)
    }

    /// Returns the command by which a runbook starts the server as a standby of another.
    ///
    /// # Errors
    /// If the description of the other cannot be written.
    pub fn follow_line(&self, primary: &Self) -> io::Result<String> {
        fs::write(self.folder.join(PRIMARY), serde_json::to_vec(primary)?)?;
        self.command_line("follow")
    }

    /// Sets or removes a mark of what is wrong with its host.
    ///
    /// # Errors
    /// If the folder is not ours.
    pub fn mark(&self, mark: &str, set: bool) -> io::Result<()> {
        let file = self.folder.join(mark);
        match set {
            true => fs::write(file, ""),
            false if file.exists() => fs::remove_file(file),
            false => Ok(()),
        }
    }

    fn is_marked(&self, mark: &str) -> bool {
        self.folder.join(mark).exists()
    }
}

/// Carries a command out: `stop`, `stop-in-order`, `start`, `restart`, `follow` over the network, `switch-off` without it.
///
/// # Errors
/// As its host is marked; if the server does not start.
pub fn carry_out(file: &Path, word: &str) -> io::Result<()> {
    let server: Server = serde_json::from_slice(&fs::read(file)?)?;
    let says_no = |why: &str| Err(io::Error::other(format!("{}: {why}", server.host.name)));
    match word {
        "switch-off" if server.is_marked("no-power-switch") => says_no("its power switch does not answer"),
        "switch-off" => {
            server.kill();
            Ok(())
        }
        _ if server.is_marked("unreachable") => says_no("no route to host"),
        "start" | "restart" if server.is_marked("does-not-start") => says_no("it does not come up"),
        "stop-in-order" => server.stop(),
        "follow" => server.follow(&serde_json::from_slice(&fs::read(server.folder.join(PRIMARY))?)?),
        "start" => server.start(),
        "restart" => {
            server.kill();
            server.start()
        }
        "stop" => {
            server.kill();
            Ok(())
        }
        word => says_no(&format!("{word:?} is no command")),
    }
}
