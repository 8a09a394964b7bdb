//! A server with its agent.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::{MAJOR, PATIENCE, PAUSE, PatroniOptions, SCOPE, TTL};
use crate::etcd::Etcd;
use crate::http;
use crate::ports::Port;
use crate::postgres::{SUPERUSER, postgres_bin};
use crate::programs::{program, unprivileged};

/// A host: an agent, which starts and stops a server.
#[derive(Debug)]
pub struct PatroniNode {
    name: String,
    configuration: PathBuf,
    data: PathBuf,
    log: PathBuf,
    port: Port,
    /// Of the agent's own interface.
    interface: Port,
    agent: Option<Child>,
}

impl PatroniNode {
    pub(super) fn new(name: &str, folder: &Path, etcd: &Etcd, options: &PatroniOptions) -> Self {
        let (port, interface) = (Port::take(), Port::take());
        let data = folder.join(name);
        let (bin, sockets) = (postgres_bin(MAJOR), folder.display());
        let text = format!(
            "scope: {SCOPE}
name: {name}
restapi: {{listen: '127.0.0.1:{rest}', connect_address: '127.0.0.1:{rest}'{more}}}
{control}etcd3: {{host: '{etcd}'}}
bootstrap:
  dcs:
    ttl: {TTL}
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: {synchronous}
    postgresql: {{use_pg_rewind: true, use_slots: true, parameters: {{wal_log_hints: 'on', shared_buffers: 16MB, fsync: '{fsync}'}}}}
  initdb: [{{encoding: UTF8}}, data-checksums]
postgresql:
  listen: '127.0.0.1:{port}'
  connect_address: '127.0.0.1:{port}'
  data_dir: '{data}'
  bin_dir: '{bin}'
  pgpass: '{data}.pgpass'
  parameters: {{unix_socket_directories: '{sockets}'}}
  authentication: {{superuser: {{username: {SUPERUSER}}}, replication: {{username: {SUPERUSER}}}, rewind: {{username: {SUPERUSER}}}}}
  pg_hba: ['local all all trust', 'host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust']
",
            rest = interface.number,
            more = options.interface(folder),
            control = options.control(folder),
            etcd = etcd.address(),
            synchronous = options.synchronous,
            fsync = if options.durable { "on" } else { "off" },
            port = port.number,
            data = data.display(),
            bin = bin.display(),
        );
        let configuration = folder.join(format!("{name}.yml"));
        fs::write(&configuration, text).expect("cannot write an agent's configuration");
        let log = folder.join(format!("{name}.log"));
        Self { name: name.to_owned(), configuration, data, log, port, interface, agent: None }
    }

    /// Returns what Patroni calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the port of the server.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// Returns the port of the agent's interface.
    pub fn interface_port(&self) -> u16 {
        self.interface.number
    }

    /// Returns a connection URL of the server.
    pub fn url(&self) -> String {
        format!("postgresql://{SUPERUSER}@127.0.0.1:{}/postgres", self.port())
    }

    /// Returns the file of the agent's log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts the agent, which starts the server.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("cannot make the log file");
        let mut agent = unprivileged(&program("patroni"));
        agent.arg(&self.configuration).current_dir("/").stdin(Stdio::null());
        agent.stdout(log.try_clone().expect("cannot share the log file")).stderr(log);
        self.agent = Some(agent.spawn().unwrap_or_else(|error| panic!("cannot start patroni: {error}")));
    }

    /// Kills the agent alone: its server runs on.
    pub fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }

    /// Kills all processes of the host: the agent first, so that it does not notice, and then its server.
    pub fn kill(&mut self) {
        self.kill_agent();
        let Ok(text) = fs::read_to_string(self.data.join("postmaster.pid")) else { return };
        let postmaster = text.lines().next().unwrap_or_default();
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap_or_default();
        let all = [postmaster].into_iter().chain(children.split_whitespace());
        for pid in all.filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
            // One that has ended already is not there to be killed.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Runs a statement, and returns what it printed.
    ///
    /// # Errors
    /// What psql wrote to its stderr, if the server does not answer, or refuses.
    pub fn sql(&self, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(postgres_bin(MAJOR).join("psql"));
        psql.env("PGCONNECT_TIMEOUT", "3").args(["-h", "127.0.0.1", "-p", &self.port().to_string(), "-U", SUPERUSER]);
        psql.args(["-d", "postgres", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        let output = psql.output().map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Waits until a question is answered with `t`.
    ///
    /// # Panics
    /// If it never is, with the agent's log.
    pub fn wait_until(&self, question: &str) {
        let begun = Instant::now();
        loop {
            let answered = self.sql(question);
            if answered.as_deref() == Ok("t") {
                return;
            }
            if begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                panic!("{}: {question}: {answered:?}; its log: {log}", self.name);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Returns whether a text is in what the agent says of the cluster, where that is asked without TLS.
    pub(super) fn knows_of(&self, text: &str) -> bool {
        let asked = http::request(self.interface.number, "GET", "/cluster", &[], "");
        asked.is_ok_and(|(status, cluster)| status == 200 && cluster.contains(text))
    }
}

impl Drop for PatroniNode {
    fn drop(&mut self) {
        // What is left of it is in a temporary folder.
        self.kill();
    }
}
