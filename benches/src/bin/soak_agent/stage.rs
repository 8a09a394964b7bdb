//! The servers, the places, the configuration, and the tool as a program.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use erpgo_dr_testkit::postgres::{PgServerOptions, SUPERUSER, give_to_postgres};
use erpgo_dr_testkit::{FaultProxy, PgServer, SeaweedFs, unprivileged};
use tempfile::TempDir;

use crate::Outcome;
use crate::missed::JOBS;

const BUCKET: &str = "soak";
/// The slot of the stream, which is to stay.
pub(crate) const SLOT: &str = "soak";
/// The database that is worked on and backed up.
pub(crate) const DATABASE: &str = "erp";

/// What the agent works with.
pub(crate) struct Stage {
    pub(crate) server: PgServer,
    pub(crate) store: SeaweedFs,
    pub(crate) proxy: FaultProxy,
    folder: TempDir,
    program: PathBuf,
}

impl Stage {
    /// Starts the servers, and makes a key and a repository at two places.
    pub(crate) fn set(webhook: &str) -> Outcome<Self> {
        let program = std::env::current_exe()?.with_file_name("erpgo-dr");
        if !program.is_file() {
            return Err("build the tool first: cargo build -p erpgo-dr-cli".into());
        }
        let server = PgServerOptions::new(17)
            .wal_segment_mib(1)
            .setting("checkpoint_timeout", "30s")
            .setting("wal_keep_size", "64MB")
            .setting("summarize_wal", "on")
            .start();
        let store = SeaweedFs::start();
        store.create_bucket(BUCKET);
        let proxy = FaultProxy::start(store.port());
        let folder = TempDir::with_prefix("erpgo-dr-soak-")?;
        give_to_postgres(folder.path());
        let stage = Self { server, store, proxy, folder, program };
        for name in ["second", "scratch", "incoming"] {
            fs::create_dir(stage.path(name))?;
            give_to_postgres(&stage.path(name));
        }
        fs::write(stage.path("webhook"), webhook)?;
        stage.server.create_database(DATABASE);
        stage.configure(Pace::Busy)?;
        let key = stage.run(&["key", "generate", &stage.path("key.txt").display().to_string()])?;
        let recipient = key["recipient"].as_str().ok_or("no key was made")?.to_owned();
        stage.run(&["init", "--recipient", &recipient])?;
        Ok(stage)
    }

    /// Returns a path in the folder of the soak.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, pace: Pace) -> Outcome<()> {
        let jobs: String = JOBS
            .iter()
            .map(|job| {
                let schedule = if pace == Pace::Busy { job.schedule } else { "0 0 1 1 *" };
                format!("[[agent.job]]\nname = \"{}\"\nschedule = \"{schedule}\"\n{}\nretries = 8\nbackoff = \"2s\"\nwindow = \"60s\"\nlimit = \"5m\"\n\n", job.name, job.keys)
            })
            .collect();
        let text = format!(
            r#"repository = "s3://{BUCKET}/erp"

[keys]
identities = ["{key}"]

[storage.s3]
endpoint = "{endpoint}"
region = "{region}"

[[replica]]
address = "{second}"

[postgres]
connection = "host={host} port={port} user={SUPERUSER}"
bin_dirs = ["{bin}"]

[backup]
databases = ["{DATABASE}"]

[verify]
scratch = "{scratch}"

[wal]
stream = "{incoming}"

[retention]
last = 3
daily = 0
weekly = 0
monthly = 0

[status]
max_age = "5m"

[agent]
host = "soak"
lease = "15s"
tick = "2s"
grace = "60s"

[agent.notify]
webhook_file = "{webhook}"

{jobs}"#,
            key = self.path("key.txt").display(),
            endpoint = self.proxy.url(),
            region = SeaweedFs::REGION,
            second = self.path("second").display(),
            host = self.server.socket_dir().display(),
            port = self.server.port(),
            bin = self.server.bin().display(),
            scratch = self.path("scratch").display(),
            incoming = self.path("incoming").display(),
            webhook = self.path("webhook").display(),
        );
        Ok(fs::write(self.path("erpgo-dr.toml"), text)?)
    }

    /// Starts the tool, with what it says in a file.
    pub(crate) fn spawn(&self, arguments: &[&str], log: &Path) -> Outcome<Child> {
        let out = File::create(log)?;
        let mut command = self.tool();
        command.args(arguments).stdout(Stdio::null()).stderr(out);
        Ok(command.spawn()?)
    }

    /// Runs the tool to its end, and returns the result in its document.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome<serde_json::Value> {
        let output = self.tool().arg("--json").args(arguments).output()?;
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if document["result"].is_null() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{arguments:?}: {} {}{complaint}", output.status, document["error"]).into());
        }
        Ok(document["result"].clone())
    }

    fn tool(&self) -> Command {
        let mut command = unprivileged(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ERPGO_DR_")) {
            command.env_remove(name);
        }
        command.env("AWS_ACCESS_KEY_ID", SeaweedFs::ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SeaweedFs::SECRET_KEY);
        command.env("XDG_STATE_HOME", self.path("incoming")).current_dir(self.folder.path()).stdin(Stdio::null());
        command.arg("--config").arg(self.path("erpgo-dr.toml"));
        command
    }
}

/// How often jobs are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As [`JOBS`] has it.
    Busy,
    /// Once a year.
    Rest,
}
