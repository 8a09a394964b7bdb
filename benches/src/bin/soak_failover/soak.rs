//! The pair, the application and the watch, from round to round.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use erpgo_dr_benches::failover::{Application, Network, SCHEMA, Server, Watched};
use erpgo_dr_benches::random::Random;
use erpgo_dr_core::postgres::ConnectionSettings;
use erpgo_dr_core::runbook::WatchOptions;
use erpgo_dr_testkit::FullDisk;
use erpgo_dr_testkit::postgres::give_to_postgres;
use tempfile::TempDir;

use crate::Outcome;
use crate::fault::Fault;
use crate::monitor::Monitor;

/// Bytes of the file system that a server's log is on.
const LOG_DISK: u64 = 160 << 20;
const MAJOR: u32 = 17;

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) rounds: BTreeMap<&'static str, u64>,
    /// Of each failover, from the fault to the first commit behind it.
    pub(crate) seconds: Vec<f64>,
    pub(crate) rewound: u64,
    pub(crate) copied: u64,
    pub(crate) acknowledged: u64,
    pub(crate) split_brains: u64,
    pub(crate) lost: u64,
    pub(crate) findings: Vec<String>,
}

/// Fields are dropped in this order: servers end before their disks do, and those before their hosts.
pub(crate) struct Soak {
    pub(crate) tally: Tally,
    pub(crate) random: Random,
    deck: Vec<Fault>,
    monitor: Monitor,
    pub(crate) application: Application,
    pub(crate) watched: Watched,
    pub(crate) servers: Pair,
    pub(crate) disks: Vec<FullDisk>,
    pub(crate) network: Network,
    /// The one of the two that is the primary.
    pub(crate) primary: usize,
    _folder: TempDir,
}

/// Two servers, which end with this value.
pub(crate) struct Pair(pub(crate) [Server; 2]);

impl Drop for Pair {
    fn drop(&mut self) {
        self.0.iter().for_each(Server::kill);
    }
}

impl Soak {
    pub(crate) fn begin(seed: u64) -> Outcome<Self> {
        let mut out = io::stdout();
        let names = ["one", "two"];
        let network = Network::of_namespaces(names).or_else(|error| {
            writeln!(out, "no network namespaces here, so that no host can be cut off: {error}")?;
            io::Result::Ok(Network::of_processes(names))
        })?;
        let folder = TempDir::with_prefix("erpgo-dr-soak-")?;
        give_to_postgres(folder.path());
        let new = |host: usize| Server::new(&network.hosts()[host], folder.path(), MAJOR);
        let mut pair = Pair([new(0)?, new(1)?]);
        let disks = match network.has_namespaces() {
            true => pair.0.iter_mut().map(small_disk).collect(),
            // Who may make no namespaces may mount nothing.
            false => Vec::new(),
        };
        let [one, two] = &pair.0;
        one.init()?;
        one.start()?;
        one.sql(SCHEMA)?;
        two.copy(one)?;
        two.start()?;
        let options = WatchOptions::default().with_limit(Duration::from_secs(1));
        let watched = Watched::new(folder.path(), options, one)?;
        let application = Application::begin(named_by(watched.application_file(), [one.clone(), two.clone()]))?;
        let monitor = Monitor::begin(&pair.0)?;
        let soak = Self {
            tally: Tally::default(),
            random: Random::new(seed),
            deck: Vec::new(),
            monitor,
            application,
            watched,
            servers: pair,
            disks,
            network,
            primary: 0,
            _folder: folder,
        };
        soak.protect()?;
        Ok(soak)
    }

    pub(crate) fn has_namespaces(&self) -> bool {
        self.network.has_namespaces()
    }

    /// Returns the primary and its standby.
    pub(crate) fn pair(&self) -> (&Server, &Server) {
        (&self.servers.0[self.primary], &self.servers.0[1 - self.primary])
    }

    /// Waits until the standby follows, and has commits wait for it.
    pub(crate) fn protect(&self) -> io::Result<()> {
        let (primary, _) = self.pair();
        primary.wait_until("SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'")?;
        primary.wait_for_standby(true)?;
        primary.wait_until("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
    }

    /// Takes the next fault: each comes once before one comes again.
    pub(crate) fn next_fault(&mut self) -> Fault {
        if self.deck.is_empty() {
            self.deck = Fault::all(self.has_namespaces(), !self.disks.is_empty());
        }
        let drawn = self.random.below(self.deck.len() as u64);
        self.deck.swap_remove(usize::try_from(drawn).unwrap_or(0))
    }

    /// Ends it, and returns what happened.
    pub(crate) fn end(mut self) -> Tally {
        self.tally.acknowledged = self.application.acknowledged();
        self.tally.lost = self.application.lost();
        self.tally.split_brains = self.monitor.split_brains();
        std::mem::take(&mut self.tally)
    }
}

/// Finds the primary as an application does: in the file that the runbook writes.
fn named_by(
    file: &std::path::Path,
    servers: [Server; 2],
) -> impl Fn() -> Vec<ConnectionSettings> + Send + 'static + use<> {
    let file = file.to_owned();
    move || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let host = text.trim().strip_prefix("POSTGRES_PRIMARY_HOST=").unwrap_or_default();
        let named = servers.iter().filter(|server| server.host.address.to_string() == host);
        named.map(Server::settings).collect()
    }
}

/// Has a server keep its log on a file system that can be full.
fn small_disk(server: &mut Server) -> FullDisk {
    let disk = FullDisk::mount(LOG_DISK);
    server.keep_log_on(disk.path());
    disk
}
