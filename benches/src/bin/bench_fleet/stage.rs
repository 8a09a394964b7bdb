//! The server, the repositories, the configurations, and the tool as a program.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use erpgo_dr_benches::tool::Tool;
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::{PgServerOptions, SUPERUSER};
use tempfile::TempDir;

use crate::Outcome;

/// Minutes from one backup to the next.
pub(crate) const EVERY: u64 = 5;
/// The most by which a backup is put off, in seconds: all but a minute of that time, so that clusters take turns.
pub(crate) const JITTER: u64 = EVERY * 60 - 60;
/// One of so many clusters is large.
const LARGE_EACH: u64 = 50;

/// What the agent works with.
pub(crate) struct Stage {
    server: PgServer,
    tool: Tool,
    folder: TempDir,
    clusters: u64,
    /// Where the agent serves what it knows.
    address: SocketAddr,
}

impl Stage {
    /// Makes the databases, a repository for each, and the configurations.
    pub(crate) fn set(clusters: u64) -> Outcome<Self> {
        let server = PgServerOptions::new(17).setting("fsync", "off").start();
        for (name, rows) in [("small", 2000), ("large", 200_000)] {
            server.create_database(name);
            let fill = format!(
                "CREATE TABLE orders AS SELECT n AS id, md5(n::text) AS reference, n % 97 AS customer, repeat(md5((n / 3)::text), 4) AS note
                 FROM generate_series(1, {rows}) n"
            );
            server.psql(name, &fill);
        }
        let folder = TempDir::with_prefix("erpgo-dr-bench-")?;
        let tool = Tool::new(folder.path(), &server)?;
        // The agent says nothing of a port that it was given by the system.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let stage = Self { server, tool, folder, clusters, address };
        fs::create_dir(stage.folder.path().join("clusters.d"))?;
        for (number, name) in stage.names().enumerate() {
            let template = if (number as u64).is_multiple_of(LARGE_EACH) { "large" } else { "small" };
            stage.server.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
            stage.tool.init_at(&stage.repository(&name).display().to_string())?;
            fs::write(stage.file(&name), stage.configuration(&name))?;
        }
        fs::write(
            stage.folder.path().join("erpgo-dr.toml"),
            format!("[monitor]\nlisten = \"{address}\"\nevery = \"1m\"\n"),
        )?;
        Ok(stage)
    }

    /// The names of the clusters.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> + use<> {
        (0..self.clusters).map(|number| format!("c{number:03}"))
    }

    /// Returns how large the databases are together.
    pub(crate) fn size(&self) -> String {
        self.server.psql(
            "postgres",
            "SELECT pg_size_pretty(sum(pg_database_size(oid))) FROM pg_database WHERE datname LIKE 'c%'",
        )
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.folder.path().join("repositories").join(name)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("clusters.d").join(format!("{name}.toml"))
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("agent.log")
    }

    fn configuration(&self, name: &str) -> String {
        format!(
            r#"repository = "{repository}"

[keys]
identities = ["{key}"]

[postgres]
connection = "host={host} port={port} user={SUPERUSER}"
bin_dirs = ["{bin}"]

[backup]
databases = ["{name}"]

[retention]
last = 3
daily = 0
weekly = 0
monthly = 0

[[agent.job]]
kind = "backup"
schedule = "*/{EVERY} * * * *"
jitter = "{JITTER}s"

[[agent.job]]
kind = "check"
schedule = "*/{EVERY} * * * *"
jitter = "{JITTER}s"

[[agent.job]]
kind = "prune"
schedule = "*/10 * * * *"
jitter = "9m"

[agent]
host = "{name}"
"#,
            repository = self.repository(name).display(),
            key = self.tool.identity().display(),
            host = self.server.socket_dir().display(),
            port = self.server.port(),
            bin = self.server.bin().display(),
        )
    }

    /// Starts the agent of all clusters.
    pub(crate) fn start(&self) -> Outcome<Child> {
        let mut command = self.tool.command();
        command.args(["fleet", "agent"]).arg(self.folder.path().join("clusters.d")).stderr(File::create(self.log())?);
        Ok(command.stdout(Stdio::null()).spawn()?)
    }

    /// Returns whether each cluster has a backup.
    pub(crate) fn has_backups(&self) -> bool {
        self.names().all(|name| {
            let backups = fs::read_dir(self.repository(&name).join("backups"));
            backups.is_ok_and(|mut backups| {
                backups.any(|backup| backup.is_ok_and(|backup| backup.path().join("summary").is_file()))
            })
        })
    }

    /// Asks for the page and the metrics, as somebody does who watches.
    pub(crate) fn ask(&self) -> Outcome<()> {
        let address = self.address;
        for path in ["/", "/metrics"] {
            let mut stream = TcpStream::connect(address)?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            if !answer.starts_with("HTTP/1.1 200") {
                return Err(format!("{path}: {}", answer.lines().next().unwrap_or_default()).into());
            }
        }
        Ok(())
    }

    /// Returns the last lines of the agent's log.
    pub(crate) fn log_end(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Returns what the history of a cluster has.
    pub(crate) fn history(&self, name: &str) -> Outcome<serde_json::Value> {
        let mut command = self.tool.configured(&self.file(name));
        command.args(["--json", "history", "backup", "--limit", "100000"]);
        let output = command.stdout(Stdio::piped()).output()?;
        let document: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        Ok(document["result"]["runs"].clone())
    }
}
