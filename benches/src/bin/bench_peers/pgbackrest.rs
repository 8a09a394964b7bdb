//! The peer: pgBackRest, Debian's or the one that `PGBACKREST` names.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use erpgo_dr_benches::children::{self, Usage};
use erpgo_dr_testkit::postgres::SUPERUSER;

use crate::cluster::Cluster;
use crate::folders::clear;
use crate::side::Side;
use crate::{LEVEL, PROCESSES};

const STANZA: &str = "bench";
const PASSPHRASE: &str = "a passphrase of the benchmark";

pub(crate) struct PgBackRest {
    program: PathBuf,
    folder: PathBuf,
    name: String,
    blocks: bool,
}

impl PgBackRest {
    /// Finds the program, and makes a folder for it.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let program = std::env::var_os("PGBACKREST").map_or_else(|| PathBuf::from("pgbackrest"), PathBuf::from);
        let output = Command::new(&program).arg("version").output();
        let output = output.map_err(|error| io::Error::other(format!("{}: {error}", program.display())))?;
        let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        // Block incremental, its best mode, came with 2.46 and needs bundles.
        let blocks = std::env::var_os("PGBACKREST").is_some();
        fs::create_dir(folder)?;
        Ok(Self { program, folder: folder.to_owned(), name, blocks })
    }

    /// Returns the command line for `archive_command`.
    pub(crate) fn archive_command(&self) -> String {
        let (program, config) = (self.program.display(), self.config());
        format!("{program} --config={} --stanza={STANZA} archive-push %p", config.display())
    }

    /// Writes the configuration, the passphrase in it: not into an argument.
    pub(crate) fn configure(&self, cluster: &Cluster) -> io::Result<()> {
        let folder = self.folder.display();
        let server = &cluster.server;
        let blocks = if self.blocks { "repo1-bundle=y\nrepo1-block=y\n" } else { "" };
        let text = format!(
            "[global]\nrepo1-path={folder}/repository\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass={PASSPHRASE}\n\
             repo1-retention-full=9\n{blocks}compress-type=zst\ncompress-level={LEVEL}\nprocess-max={PROCESSES}\n\
             start-fast=y\nlog-level-console=off\nlog-level-file=off\nlog-level-stderr=warn\nlock-path={folder}/lock\n\
             log-path={folder}\nspool-path={folder}/spool\n\
             [{STANZA}]\npg1-path={data}\npg1-socket-path={socket}\npg1-port={port}\npg1-user={SUPERUSER}\n",
            data = server.data_dir().display(),
            socket = server.socket_dir().display(),
            port = server.port(),
        );
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.config())?.write_all(text.as_bytes())
    }

    /// Builds the command that archives or fetches a segment, without its path.
    pub(crate) fn segment(&self, name: &str, data: &Path, background: bool) -> Command {
        let mut command = self.command();
        command.arg(format!("--pg1-path={}", data.display()));
        command.args(background.then_some("--archive-async")).arg(name);
        command
    }

    /// Builds a command, of which options and name are still missing.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(format!("--config={}", self.config().display())).arg(format!("--stanza={STANZA}"));
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Returns the folder in which it keeps what it pushes and fetches ahead.
    pub(crate) fn spool(&self) -> PathBuf {
        self.folder.join("spool")
    }

    fn config(&self) -> PathBuf {
        self.folder.join("pgbackrest.conf")
    }

    fn backup(&self, kind: &str) -> io::Result<Usage> {
        let mut command = self.command();
        command.args(["backup", &format!("--type={kind}")]);
        children::run(vec![command])
    }

    /// Returns how many backups of a kind there are.
    fn count(&self, kind: &str) -> io::Result<usize> {
        let file = self.folder.join("info.json");
        let mut command = self.command();
        command.args(["info", "--output=json"]).stdout(File::create(&file)?);
        children::run(vec![command])?;
        let info: serde_json::Value = serde_json::from_reader(File::open(&file)?)?;
        let backups = info[0]["backup"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(backups.iter().filter(|backup| backup["type"] == kind).count())
    }
}

impl Side for PgBackRest {
    fn name(&self) -> &str {
        &self.name
    }

    fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    fn begin(&self) -> io::Result<()> {
        clear(&self.repository())?;
        clear(&self.spool())?;
        let mut command = self.command();
        command.arg("stanza-create");
        children::run(vec![command]).map(drop)
    }

    fn full(&self) -> io::Result<Usage> {
        self.backup("full")
    }

    fn incremental(&self) -> io::Result<Usage> {
        let before = self.count("incr")?;
        let usage = self.backup("incr")?;
        // Without a full one it takes a full one.
        if self.count("incr")? > before { Ok(usage) } else { Err(io::Error::other("no incremental backup was taken")) }
    }

    fn restore(&self, target: &Path, delta: bool) -> io::Result<Usage> {
        fs::create_dir_all(target)?;
        let mut command = self.command();
        command.arg(format!("--pg1-path={}", target.display())).arg("restore");
        command.args(["--type=immediate", "--target-action=promote", "--archive-mode=off"]);
        command.args(delta.then_some("--delta"));
        children::run(vec![command])
    }
}
