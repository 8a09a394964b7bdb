//! A pair under Patroni, with etcd.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use erpgo_dr_benches::failover::{Application, SCHEMA};
use erpgo_dr_core::postgres::ConnectionSettings;
use erpgo_dr_testkit::postgres::{SUPERUSER, give_to_postgres, postgres_bin};
use erpgo_dr_testkit::{program, unprivileged};
use rustix::process::{Pid, Signal, kill_process};

use crate::{MAJOR, Outcome};

/// Seconds that the leader's key lives in etcd: the least that Patroni accepts.
pub(crate) const TTL: u32 = 20;
const PATIENCE: Duration = Duration::from_secs(120);

/// Fields are dropped in this order.
pub(crate) struct Patroni {
    application: Option<Application>,
    nodes: [Node; 2],
    _etcd: Etcd,
}

struct Etcd(Child);

/// A host: an agent, which starts and stops a server.
struct Node {
    name: String,
    configuration: PathBuf,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    /// The port of the agent's own interface.
    rest: u16,
    agent: Option<Child>,
}

impl Patroni {
    pub(crate) fn begin(folder: &Path) -> Outcome<Self> {
        let folder = folder.join("patroni");
        fs::create_dir(&folder)?;
        give_to_postgres(&folder);
        let (client, peer) = (free_port()?, free_port()?);
        let etcd = Etcd::start(&folder, client, peer)?;
        let mut nodes = [Node::new("pg1", &folder, client)?, Node::new("pg2", &folder, client)?];
        nodes[0].start()?;
        nodes[0].wait_until("SELECT NOT pg_is_in_recovery()")?;
        nodes[0].sql(SCHEMA)?;
        nodes[1].start()?;
        let mut patroni = Self { application: None, nodes, _etcd: etcd };
        patroni.leader_with_standby()?;
        let ports = patroni.nodes.each_ref().map(|node| node.port);
        let both = move || ports.map(settings).into();
        patroni.application = Some(Application::begin(both)?);
        Ok(patroni)
    }

    /// Loses the leader; returns the seconds to the first commit behind that.
    pub(crate) fn round(&mut self) -> Outcome<f64> {
        let leader = self.leader_with_standby()?;
        std::thread::sleep(Duration::from_millis(1370));
        let application = self.application.as_ref().ok_or("the application has ended")?;
        let began = Instant::now();
        self.nodes[leader].kill()?;
        application.note_fault(began);
        let outage = application.written_again(PATIENCE).ok_or("Patroni: the application does not write again")?;
        self.nodes[leader].start()?;
        Ok(outage.as_secs_f64())
    }

    pub(crate) fn lost(&self) -> u64 {
        self.application.as_ref().map_or(0, Application::lost)
    }

    /// Waits until one leads and the other is its synchronous standby.
    fn leader_with_standby(&self) -> Outcome<usize> {
        let begun = Instant::now();
        loop {
            let question = "SELECT NOT pg_is_in_recovery()
                            AND EXISTS (SELECT FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))";
            // Until etcd knows of the standby, too, nobody may take over.
            let leads = |node: &Node| {
                node.sql(question).is_ok_and(|answer| answer == "t")
                    && node.cluster().is_ok_and(|cluster| cluster.contains("\"sync_standby\""))
            };
            match self.nodes.iter().position(leads) {
                Some(leader) => return Ok(leader),
                None if begun.elapsed() > PATIENCE => {
                    let logs = self.nodes.each_ref().map(|node| fs::read_to_string(&node.log).unwrap_or_default());
                    return Err(format!("Patroni has no leader with a standby: {}", logs.join("\n")).into());
                }
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

impl Etcd {
    fn start(folder: &Path, client: u16, peer: u16) -> Outcome<Self> {
        let log = File::create(folder.join("etcd.log"))?;
        let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut etcd = Command::new(program("etcd"));
        etcd.arg("--data-dir").arg(folder.join("etcd")).args(["--name", "etcd"]);
        etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client, "--listen-peer-urls", &peer]);
        etcd.args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("etcd={peer}")]);
        etcd.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self(etcd.spawn()?))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It has nothing that is worth keeping.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    fn new(name: &str, folder: &Path, etcd: u16) -> Outcome<Self> {
        let (port, rest) = (free_port()?, free_port()?);
        let data = folder.join(name);
        let (bin, sockets) = (postgres_bin(MAJOR), folder.display());
        let text = format!(
            "scope: bench
name: {name}
restapi: {{listen: '127.0.0.1:{rest}', connect_address: '127.0.0.1:{rest}'}}
etcd3: {{host: '127.0.0.1:{etcd}'}}
bootstrap:
  dcs:
    ttl: {TTL}
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: true
    postgresql: {{use_pg_rewind: true, use_slots: true, parameters: {{wal_log_hints: 'on', shared_buffers: 16MB}}}}
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
            data = data.display(),
            bin = bin.display(),
        );
        let configuration = folder.join(format!("{name}.yml"));
        fs::write(&configuration, text)?;
        let log = folder.join(format!("{name}.log"));
        Ok(Self { name: name.to_owned(), configuration, data, log, port, rest, agent: None })
    }

    fn start(&mut self) -> Outcome<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut agent = unprivileged(&program("patroni"));
        agent.arg(&self.configuration).current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.agent = Some(agent.spawn()?);
        Ok(())
    }

    /// Kills the agent first, so that it does not notice, and then its server.
    fn kill(&mut self) -> Outcome<()> {
        if let Some(mut agent) = self.agent.take() {
            agent.kill()?;
            agent.wait()?;
        }
        let Ok(text) = fs::read_to_string(self.data.join("postmaster.pid")) else { return Ok(()) };
        let postmaster = text.lines().next().unwrap_or_default();
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap_or_default();
        let all = [postmaster].into_iter().chain(children.split_whitespace());
        for pid in all.filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
            // One that has ended already is not there to be killed.
            let _ = kill_process(pid, Signal::KILL);
        }
        Ok(())
    }

    /// Asks the agent what it knows of the cluster.
    fn cluster(&self) -> Outcome<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.rest))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /cluster HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn sql(&self, sql: &str) -> Outcome<String> {
        let mut psql = Command::new(postgres_bin(MAJOR).join("psql"));
        psql.env("PGCONNECT_TIMEOUT", "3").args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", SUPERUSER]);
        let output = psql.args(["-d", "postgres", "-XqAt", "-c", sql]).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        }
    }

    fn wait_until(&self, question: &str) -> Outcome<()> {
        let begun = Instant::now();
        while !self.sql(question).is_ok_and(|answer| answer == "t") {
            if begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                return Err(format!("{} does not come up: {log}", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What is left of it is in a temporary folder.
        let _ = self.kill();
    }
}

fn settings(port: u16) -> ConnectionSettings {
    ConnectionSettings::new("127.0.0.1").port(port).user(SUPERUSER).database("postgres")
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
