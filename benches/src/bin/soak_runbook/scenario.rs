//! The places that runbooks work in: real servers, files instead of an application, and what must be there in the end.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use erpgo_dr_core::Repository;
use erpgo_dr_core::crypto::keys::{Wrapper, generate_identity};
use erpgo_dr_core::ops::{self, BackupOptions};
use erpgo_dr_core::postgres::{ClientPrograms, ConnectionSettings, DumpOptions, LogicalDriver};
use erpgo_dr_core::progress::NoProgress;
use erpgo_dr_core::repository::{Environment, InitOptions};
use erpgo_dr_core::storage::LocalStorage;
use erpgo_dr_testkit::postgres::{PgServer, standby_of};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use crate::Outcome;
use crate::worker::Job;

/// The runbooks that are gone through.
pub(crate) const RUNBOOKS: [&str; 4] = ["backup-restore", "database-failure", "region-failover", "security-breach"];

/// A place for one run.
pub(crate) struct Scenario {
    pub(crate) runbook: &'static str,
    pub(crate) job: Job,
    folder: TempDir,
    server: PgServer,
    standby: Option<PgServer>,
    /// Where an application of the other region says that it is well.
    health: String,
}

/// Starts a web server that answers every request with 200, for as long as this process lives.
fn healthy() -> Outcome<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = format!("http://{}/health", listener.local_addr()?);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A request without a body is over with its first packet.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    Ok(address)
}

impl Scenario {
    /// Makes the place, and breaks what the runbook is to mend.
    pub(crate) async fn prepare(runbook: &'static str) -> Outcome<Self> {
        let folder = TempDir::with_prefix("erpgo-dr-soak-runbook-")?;
        let generated = generate_identity();
        let identity = generated.secret.expose_secret().to_owned();
        let server = PgServer::start(17);
        let job = Job {
            repository: folder.path().join("repository"),
            identity,
            programs: server.bin().to_owned(),
            runbook: runbook.to_owned(),
            values: Vec::new(),
            resume: None,
            kill: None,
        };
        let environment = Environment::new(
            erpgo_dr_core::compute::ComputePool::new(2)?,
            std::sync::Arc::new(erpgo_dr_core::clock::SystemClock),
        );
        let storage = std::sync::Arc::new(LocalStorage::open(&job.repository)?);
        let slots = [("owner".parse()?, Wrapper::Recipients(vec![generated.recipient]))];
        let repository = Repository::init(storage, environment, &InitOptions::default(), &slots).await?;
        server.create_database("erp");
        server.psql("erp", "CREATE TABLE users (id int PRIMARY KEY, is_active bool DEFAULT true, password_reset_required bool DEFAULT false)");
        server.psql("erp", "INSERT INTO users SELECT generate_series(1, 1000); CREATE TABLE sessions (id int); INSERT INTO sessions VALUES (1)");
        let standby = needs_standby(runbook).then(|| standby_of(&server));
        let mut scenario = Self { runbook, job, folder, server, standby, health: healthy()? };
        match runbook {
            "backup-restore" => {
                scenario.back_up(&repository).await?;
                // A run leaves out what was backed up since the second in which it began.
                std::thread::sleep(std::time::Duration::from_millis(1100));
                scenario.server.psql("erp", "DELETE FROM users WHERE id > 10");
            }
            "security-breach" => scenario.ask_for_passwords()?,
            _ => {
                scenario.caught_up();
                scenario.server.kill();
            }
        }
        scenario.job.values = scenario.values();
        Ok(scenario)
    }

    /// What is there in the end, as text: the same however often the run was cut off.
    pub(crate) fn state(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_else(|_| "none".to_owned());
        let application = read("application");
        match (&self.standby, self.runbook) {
            (Some(standby), _) => {
                let facts = standby.psql("erp", "SELECT pg_is_in_recovery(), count(*) FROM users");
                format!("{facts}; application {application}; file {}", read("application.env"))
            }
            (None, "backup-restore") => {
                format!("{}; application {application}", self.server.psql("erp", "SELECT count(*) FROM users"))
            }
            (None, _) => {
                let facts = self.server.psql(
                    "erp",
                    "SELECT count(*) FILTER (WHERE is_active), count(*) FILTER (WHERE password_reset_required), \
                     (SELECT count(*) FROM sessions) FROM users",
                );
                let password = read("password");
                let works = self.lets_in(&password);
                format!("{facts}; application {application}; password {works}; audit {}", read("audit.env"))
            }
        }
    }

    fn values(&self) -> Vec<(String, String)> {
        let folder = self.folder.path();
        let marks = |word: &str| format!("sh,-c,echo {word} > \"$1\",sh,{}", folder.join("application").display());
        let pair = |name: &str, value: String| (name.to_owned(), value);
        let mut values = vec![
            pair("project", "/".to_owned()),
            pair("application_stop", marks("stopped")),
            pair("application_start", marks("started")),
        ];
        match self.runbook {
            "backup-restore" => values.extend([
                pair("server", self.server.url("postgres")),
                pair("database", "erp".to_owned()),
                pair("backup", "latest-proven".to_owned()),
                pair("important_table", "users".to_owned()),
            ]),
            "security-breach" => values.extend([
                pair("server", self.server.url("postgres")),
                pair("database", "erp".to_owned()),
                pair("compromised_users", "1,2,3".to_owned()),
                pair("application_role", "app".to_owned()),
                pair("application_password_file", folder.join("password").display().to_string()),
                pair("audit_file", folder.join("audit.env").display().to_string()),
                pair("application_restart", marks("restarted")),
            ]),
            _ => {
                let standby = self.standby.as_ref().map(|standby| standby.url("erp")).unwrap_or_default();
                values.extend([pair("primary", self.server.url("erp")), pair("standby", standby)]);
                values.extend(self.of_failover(folder));
            }
        }
        values
    }

    fn of_failover(&self, folder: &Path) -> Vec<(String, String)> {
        let pair = |name: &str, value: String| (name.to_owned(), value);
        match self.runbook {
            "database-failure" => vec![
                pair("standby_host", "db2".to_owned()),
                pair("application_file", folder.join("application.env").display().to_string()),
                pair("important_table", "users".to_owned()),
                pair("primary_log", "true".to_owned()),
                pair("primary_restart", "false".to_owned()),
                pair("primary_stop", "true".to_owned()),
                pair("primary_start", "true".to_owned()),
            ],
            _ => vec![
                pair("primary_health", "http://127.0.0.1:1/health".to_owned()),
                pair("secondary_health", self.health.clone()),
                pair("fence_primary", "true".to_owned()),
            ],
        }
    }

    async fn back_up(&self, repository: &Repository) -> Outcome<()> {
        let settings: ConnectionSettings = self.server.url("erp").parse()?;
        let programs = ClientPrograms::new().folder(self.server.bin());
        let driver = LogicalDriver::new(settings, programs).dump_options(DumpOptions::new().database("erp"));
        ops::backup(repository, &driver, &BackupOptions::default(), &NoProgress).await?;
        Ok(())
    }

    /// Makes the application's role, and has the server ask it for its password.
    fn ask_for_passwords(&self) -> Outcome<()> {
        self.server.psql("erp", "CREATE ROLE app LOGIN PASSWORD 'old'");
        let rules = self.server.data_dir().join("pg_hba.conf");
        let text = format!("host erp app 127.0.0.1/32 scram-sha-256\n{}", fs::read_to_string(&rules)?);
        fs::write(&rules, text)?;
        self.server.psql("erp", "SELECT pg_reload_conf()");
        Ok(())
    }

    /// Returns whether the server lets the application in with a password.
    fn lets_in(&self, password: &str) -> bool {
        let mut command = self.server.client("psql");
        command.env("PGHOST", "127.0.0.1").env("PGUSER", "app").env("PGPASSWORD", password);
        command.args(["-w", "-d", "erp", "-c", "SELECT 1"]).output().is_ok_and(|output| output.status.success())
    }

    /// Waits until the standby has what the primary has.
    fn caught_up(&self) {
        let Some(standby) = &self.standby else { return };
        let end = self.server.psql("erp", "SELECT pg_current_wal_lsn()");
        while standby.psql("erp", &format!("SELECT pg_last_wal_replay_lsn() >= '{end}'")) != "t" {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

fn needs_standby(runbook: &str) -> bool {
    matches!(runbook, "database-failure" | "region-failover")
}
