//! Patroni: agents that run a cluster of PostgreSQL over etcd, each with a server of its own.

mod node;
mod tls;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::etcd::Etcd;
use crate::postgres::give_to_postgres;

pub use node::PatroniNode;

/// Seconds that the leader's key lives in etcd: the least that Patroni accepts.
pub const TTL: u32 = 20;
/// The major version of the servers.
pub const MAJOR: u32 = 15;
/// How long to wait for what a cluster does by itself.
pub const PATIENCE: Duration = Duration::from_secs(180);

const SCOPE: &str = "drtest";
/// `/service/drtest/leader`.
const LEADER_KEY: &str = "L3NlcnZpY2UvZHJ0ZXN0L2xlYWRlcg==";
const PAUSE: Duration = Duration::from_millis(100);

/// How a [`PatroniCluster`] is to be.
#[derive(Debug, Clone)]
pub struct PatroniOptions {
    nodes: usize,
    synchronous: bool,
    durable: bool,
    tls: bool,
    authentication: Option<(String, String)>,
}

impl PatroniOptions {
    /// A cluster of so many servers, asynchronous, without fsync; its interface is open and without TLS.
    pub fn new(nodes: usize) -> Self {
        Self { nodes, synchronous: false, durable: false, tls: false, authentication: None }
    }

    /// Has commits wait for a standby.
    pub fn synchronous(mut self) -> Self {
        self.synchronous = true;
        self
    }

    /// Leaves fsync on.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Has the interface take TLS only, and certificates of clients.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Has the interface ask for a name and a password before it changes anything.
    pub fn authentication(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.authentication = Some((user.into(), password.into()));
        self
    }

    /// Starts the cluster, and waits until one leads and all others follow. Takes some ten seconds.
    ///
    /// # Panics
    /// If `etcd` or `patroni` is not installed, or the cluster does not come up.
    pub fn start(self) -> PatroniCluster {
        let folder = TempDir::with_prefix("erpgo-dr-patroni-").expect("cannot make a temporary folder");
        give_to_postgres(folder.path());
        if self.tls {
            tls::make_certificates(folder.path());
        }
        let etcd = Etcd::start();
        let new = |number| PatroniNode::new(&format!("pg{number}"), folder.path(), &etcd, &self);
        let mut nodes: Vec<PatroniNode> = (1..=self.nodes).map(new).collect();
        nodes[0].start();
        nodes[0].wait_until("SELECT NOT pg_is_in_recovery()");
        nodes[1..].iter_mut().for_each(PatroniNode::start);
        let cluster = PatroniCluster { nodes, etcd, folder, options: self };
        cluster.leader_with_standbys();
        cluster
    }

    /// Returns the table `restapi` of a configuration, but for where it listens.
    fn interface(&self, folder: &Path) -> String {
        let mut text = String::new();
        if let Some((user, password)) = &self.authentication {
            let _ = write!(text, ", authentication: {{username: {user}, password: '{password}'}}");
        }
        if self.tls {
            let [ca, certificate, key] = tls::FILES.map(|name| folder.join(name).display().to_string());
            let files = format!("certfile: '{certificate}', keyfile: '{key}', cafile: '{ca}'");
            let _ = write!(text, ", {files}, verify_client: required");
        }
        text
    }

    /// Returns how agents reach each other's interface.
    fn control(&self, folder: &Path) -> String {
        if !self.tls {
            return String::new();
        }
        let [ca, certificate, key] = tls::FILES.map(|name| folder.join(name).display().to_string());
        format!("ctl: {{cacert: '{ca}', certfile: '{certificate}', keyfile: '{key}'}}\n")
    }
}

/// A running cluster. Its servers are `pg1`, `pg2`... It ends at once when dropped.
#[derive(Debug)]
pub struct PatroniCluster {
    /// The servers with their agents.
    pub nodes: Vec<PatroniNode>,
    etcd: Etcd,
    folder: TempDir,
    options: PatroniOptions,
}

impl PatroniCluster {
    /// Returns the node of a name.
    ///
    /// # Panics
    /// If there is none.
    pub fn node(&mut self, name: &str) -> &mut PatroniNode {
        self.nodes.iter_mut().find(|node| node.name() == name).expect("the cluster has such a node")
    }

    /// Returns the addresses of the agents' interfaces.
    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.options.tls { "https" } else { "http" };
        self.nodes.iter().map(|node| format!("{scheme}://127.0.0.1:{}", node.interface_port())).collect()
    }

    /// Returns the file of the authority that signed the interface's certificates.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join(tls::FILES[0])
    }

    /// Returns the files of a certificate that the interface takes, and of its key.
    pub fn client_files(&self) -> (PathBuf, PathBuf) {
        (self.folder.path().join(tls::FILES[1]), self.folder.path().join(tls::FILES[2]))
    }

    /// Waits until one leads and all others stream from it, and etcd knows the synchronous one; returns the leader's number.
    ///
    /// # Panics
    /// If it does not come to that, with the agents' logs.
    pub fn leader_with_standbys(&self) -> usize {
        let standbys = self.nodes.len() - 1;
        let wanted = if self.options.synchronous { "1" } else { "0" };
        let question = format!(
            "SELECT NOT pg_is_in_recovery()
             AND count(*) FILTER (WHERE state = 'streaming' AND application_name LIKE 'pg%') = {standbys}
             AND count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) >= {wanted} FROM pg_stat_replication"
        );
        // Until etcd knows of the standby, too, nobody may take over.
        let known = |node: &PatroniNode| !self.options.synchronous || node.knows_of("\"sync_standby\"");
        let leads = |node: &PatroniNode| node.sql(&question).is_ok_and(|answer| answer == "t") && known(node);
        let begun = Instant::now();
        loop {
            match self.nodes.iter().position(leads) {
                Some(leader) => return leader,
                None if begun.elapsed() > PATIENCE => panic!("no leader with {standbys} standbys: {}", self.logs()),
                None => std::thread::sleep(PAUSE),
            }
        }
    }

    /// Has etcd forget who leads, as it does by itself when the leader has been silent for [`TTL`].
    pub fn forget_leader(&self) {
        self.etcd.delete(LEADER_KEY);
    }

    /// Returns the ends of the agents' logs.
    pub fn logs(&self) -> String {
        let tail = |node: &PatroniNode| {
            let text = fs::read_to_string(node.log()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("{}:\n{}", node.name(), lines[lines.len().saturating_sub(30)..].join("\n"))
        };
        self.nodes.iter().map(tail).collect::<Vec<_>>().join("\n")
    }
}
