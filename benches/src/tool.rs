//! The command line tool as a program: built for release, beside the benchmarks.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::SUPERUSER;

use crate::children::{self, Usage};

/// `erpgo-dr` with a key and a repository of its own in a folder, over a server.
#[derive(Debug)]
pub struct Tool {
    program: PathBuf,
    folder: PathBuf,
    connection: String,
    programs: PathBuf,
    recipient: String,
    environment: Vec<(&'static str, &'static str)>,
}

impl Tool {
    /// Makes a key in `folder`, for repositories in it.
    ///
    /// # Errors
    /// If the tool was not built, or fails.
    pub fn new(folder: &Path, server: &PgServer) -> io::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("erpgo-dr");
        if !program.is_file() {
            return Err(io::Error::other("build the tool first: cargo build --release -p erpgo-dr-cli"));
        }
        let connection = format!("host={} port={} user={SUPERUSER}", server.socket_dir().display(), server.port());
        let (folder, programs) = (folder.to_owned(), server.bin().to_owned());
        let mut tool =
            Self { program, folder, connection, programs, recipient: String::new(), environment: Vec::new() };
        // Not the settings of whoever runs this.
        File::create(tool.folder.join("erpgo-dr.toml"))?;
        let output = tool.command().args(["key", "generate"]).arg(tool.identity()).stdout(Stdio::piped()).output()?;
        tool.recipient = String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .find(|word| word.starts_with("age1"))
            .ok_or_else(|| io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))?
            .to_owned();
        Ok(tool)
    }

    /// Sets variables for all commands, such as the credentials of a store.
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Makes a repository at an address where there is none.
    ///
    /// # Errors
    /// If the tool fails.
    pub fn init_at(&self, address: &str) -> io::Result<()> {
        let mut command = self.command();
        command.args(["-r", address, "init", "--recipient", &self.recipient]);
        children::run(vec![command]).map(drop)
    }

    /// Makes a repository in place of the one that was there.
    ///
    /// # Errors
    /// If the tool fails.
    pub fn init(&self) -> io::Result<()> {
        if self.repository().exists() {
            fs::remove_dir_all(self.repository())?;
        }
        self.init_at(&self.repository().display().to_string())
    }

    /// Backs up one database, with the defaults: zstd 3, encrypted, each MAC verified afterwards.
    ///
    /// # Errors
    /// If the tool fails.
    pub fn backup(&self, database: &str) -> io::Result<Usage> {
        let mut command = self.open();
        command.args(["backup", "--database", database]);
        children::run(vec![command])
    }

    /// Restores the latest backup into a database of another name, by so many jobs.
    ///
    /// # Errors
    /// If the tool fails.
    pub fn restore(&self, target: &str, jobs: usize) -> io::Result<Usage> {
        let mut command = self.open();
        command.args(["restore", "latest", "--target-database", target, "--jobs", &jobs.to_string()]);
        children::run(vec![command])
    }

    /// Adds up the bytes of all files in the repository.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn stored_bytes(&self) -> io::Result<u64> {
        let (mut bytes, mut folders) = (0, vec![self.repository()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                match entry.file_type()?.is_dir() {
                    true => folders.push(entry.path()),
                    false => bytes += entry.metadata()?.len(),
                }
            }
        }
        Ok(bytes)
    }

    /// Builds a command over the repository, the key and the server, of which the subcommand is still missing.
    pub fn open(&self) -> Command {
        self.open_at(&self.repository().display().to_string())
    }

    /// Builds a command over a repository elsewhere.
    pub fn open_at(&self, address: &str) -> Command {
        let mut command = self.command();
        command.args(["-r", address]).arg("-i").arg(self.identity());
        command.args(["-d", &self.connection]).arg("--bin-dir").arg(&self.programs);
        command
    }

    /// Builds a command over what the configuration in the folder says, of which the subcommand is still missing.
    pub fn command(&self) -> Command {
        self.configured(&self.folder.join("erpgo-dr.toml"))
    }

    /// As [`Tool::command`], with another configuration.
    pub fn configured(&self, file: &Path) -> Command {
        let mut command = Command::new(&self.program);
        let foreign = std::env::vars_os().map(|(name, _)| name);
        foreign.filter(|name| name.to_string_lossy().starts_with("ERPGO_DR_")).for_each(|name| {
            command.env_remove(name);
        });
        command.envs(self.environment.iter().copied());
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null());
        command.args(["--quiet", "--config"]).arg(file);
        command
    }

    /// Returns the file of the key.
    pub fn identity(&self) -> PathBuf {
        self.folder.join("key.txt")
    }

    /// Returns the folder of the repository.
    pub fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }
}
