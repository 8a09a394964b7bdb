//! Runs the binary in a folder of its own, with an environment of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use erpgo_dr_testkit::postgres::PgServer;
use serde_json::Value;

/// A folder with a configuration, and a key that opens the repository it names.
pub(crate) struct Desk {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) recipient: String,
    variables: Vec<(String, String)>,
}

/// What a run of the binary gave.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Desk {
    /// Makes a key, and a configuration for a repository in the folder.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let mut desk = Self { folder, recipient: String::new(), variables: Vec::new() };
        let made = desk.json(&["key", "generate", "key.txt"]);
        desk.recipient = made["result"]["recipient"].as_str().unwrap().to_owned();
        desk.configure("");
        desk
    }

    /// Starts a server with the sample database `erp`, and makes the repository.
    pub(crate) fn with_server(major: u32) -> (Self, PgServer) {
        let server = PgServer::start(major);
        server.create_sample("erp", 1);
        let mut desk = Self::new();
        desk.set("ERPGO_DR_CONNECTION", &server.url("erp"));
        desk.set("ERPGO_DR_BIN_DIR", &server.bin().display().to_string());
        desk.ok(&["init", "--recipient", &desk.recipient.clone()]);
        (desk, server)
    }

    /// Writes the configuration: repository and key, and then `more`.
    pub(crate) fn configure(&self, more: &str) {
        let text = format!(
            "repository = \"{}\"\n[keys]\nidentities = [\"{}\"]\n{more}",
            self.path("repository").display(),
            self.path("key.txt").display()
        );
        std::fs::write(self.path("erpgo-dr.toml"), text).unwrap();
    }

    /// Sets a variable for all runs from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Builds a command that sees only what this desk says.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_erpgo-dr"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.folder.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).envs(coverage());
        command.stdin(std::process::Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(&self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
        run.stdout
    }

    /// Runs a command with `--json` that must succeed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        serde_json::from_str(&self.ok(&all)).unwrap()
    }

    /// Runs a command that must fail in this way, once as text and once as JSON.
    pub(crate) fn fails(&self, arguments: &[&str], code: i32, kind: &str, hint: &str) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.code, code, "{arguments:?}: {}{}", run.stdout, run.stderr);
        assert!(run.stderr.contains("error: "), "{}", run.stderr);
        assert!(run.stderr.contains("hint: ") && run.stderr.contains(hint), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "a failure prints no result");
        let mut all = arguments.to_vec();
        all.push("--json");
        let document = self.run(&all);
        assert_eq!(document.code, code, "{}{}", document.stdout, document.stderr);
        let document: Value = serde_json::from_str(&document.stdout).unwrap();
        let error = &document["error"];
        assert_eq!((document["ok"].as_bool(), error["kind"].as_str()), (Some(false), Some(kind)), "{document}");
        assert_eq!(error["exit_code"], code);
        assert!(error["hint"].as_str().unwrap().contains(hint), "{document}");
        run
    }
}

/// Where a run that is measured for coverage notes what it reached: without this it would leave a file in its folder.
fn coverage() -> Option<(&'static str, std::ffi::OsString)> {
    std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file))
}

impl Run {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// Lists the files under a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// The rows of every table of the sample, counted and hashed.
pub(crate) fn content(server: &PgServer, database: &str) -> String {
    let tables = server.psql(
        database,
        "SELECT format('SELECT %L, count(*), sum(hashtextextended(t::text, 0)::numeric) FROM %s t', c.oid::regclass, \
         c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'm') \
         AND nspname !~ '^pg_|information_schema' ORDER BY nspname, relname",
    );
    tables.lines().map(|query| server.psql(database, query)).collect::<Vec<_>>().join("\n")
}
