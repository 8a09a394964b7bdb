//! Our side: `erpgo-dr`, with what it does by default, at the level of compression that the peer has.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use erpgo_dr_benches::children::{self, Usage};
use erpgo_dr_benches::tool::Tool;
use serde_json::Value;

use crate::LEVEL;
use crate::cluster::Cluster;
use crate::folders::clear;
use crate::side::Side;

pub(crate) struct Ours {
    tool: Tool,
    folder: PathBuf,
    /// How incremental backups are to find what has changed: `comparison` or `summaries`.
    changes: &'static str,
}

impl Ours {
    /// Makes a folder with a key for it. An incremental backup that finds its `changes` otherwise is an error.
    pub(crate) fn new(folder: &Path, cluster: &Cluster, changes: &'static str) -> io::Result<Self> {
        fs::create_dir(folder)?;
        Ok(Self { tool: Tool::new(folder, &cluster.server)?, folder: folder.to_owned(), changes })
    }

    /// Builds the command that archives (`push`) or fetches a segment, without its name and path.
    pub(crate) fn segment(&self, name: &str, spool: Option<&Path>) -> Command {
        let mut command = self.tool.open();
        command.args(["wal", name]);
        if let Some(spool) = spool {
            command.arg("--spool").arg(spool);
        }
        command
    }

    /// Takes a full backup that the server sends.
    pub(crate) fn remote_full(&self) -> io::Result<Usage> {
        self.backup(&["--remote", "--full"]).map(|(usage, _)| usage)
    }

    /// Takes a backup, and returns what it says of itself.
    fn backup(&self, options: &[&str]) -> io::Result<(Usage, Value)> {
        let file = self.folder.join("report.json");
        let mut command = self.tool.open();
        command.arg("--json").args(["cluster", "backup", "--codec", &format!("zstd:{LEVEL}")]).args(options);
        command.stdout(File::create(&file)?);
        let usage = children::run(vec![command])?;
        Ok((usage, serde_json::from_reader(File::open(&file)?)?))
    }
}

impl Side for Ours {
    fn name(&self) -> &str {
        "erpgo-dr"
    }

    fn repository(&self) -> PathBuf {
        self.tool.repository()
    }

    fn begin(&self) -> io::Result<()> {
        clear(&self.repository())?;
        self.tool.init()
    }

    fn full(&self) -> io::Result<Usage> {
        self.backup(&["--full"]).map(|(usage, _)| usage)
    }

    fn incremental(&self) -> io::Result<Usage> {
        // Without summaries of the server's, the log would tell where it is short enough and still there.
        let how = if self.changes == "comparison" { "compare" } else { "auto" };
        let (usage, report) = self.backup(&["--changes", how])?;
        match report["result"]["changes"].as_str() {
            Some(found) if found == self.changes => Ok(usage),
            found => Err(io::Error::other(format!("changes were found by {found:?}, not by {}", self.changes))),
        }
    }

    fn restore(&self, target: &Path, delta: bool) -> io::Result<Usage> {
        let mut command = self.tool.open();
        command.args(["cluster", "restore", "latest", "--no-archive", "--immediate", "--data-dir"]).arg(target);
        command.args(delta.then_some("--delta"));
        children::run(vec![command])
    }
}
