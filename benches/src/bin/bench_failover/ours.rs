//! A pair that `runbook watch` watches.

use std::path::Path;
use std::time::{Duration, Instant};

use erpgo_dr_benches::failover::{Application, Network, SCHEMA, Server, Watched};
use erpgo_dr_core::postgres::ConnectionSettings;
use erpgo_dr_core::runbook::{WatchEnding, WatchOptions};
use erpgo_dr_core::types::RunId;
use erpgo_dr_testkit::patroni::MAJOR;

use crate::Outcome;

const PATIENCE: Duration = Duration::from_secs(120);

/// Fields are dropped in this order: the application ends before its servers do.
pub(crate) struct Ours {
    application: Application,
    watched: Watched,
    servers: Pair,
    primary: usize,
    last: Option<RunId>,
}

struct Pair([Server; 2]);

impl Drop for Pair {
    fn drop(&mut self) {
        self.0.iter().for_each(Server::kill);
    }
}

impl Ours {
    pub(crate) fn begin(folder: &Path) -> Outcome<Self> {
        let network = Network::of_processes(["one", "two"]);
        let new = |host: usize| Server::new(&network.hosts()[host], folder, MAJOR);
        let servers = Pair([new(0)?, new(1)?]);
        let [one, two] = &servers.0;
        one.init()?;
        one.start()?;
        one.sql(SCHEMA)?;
        two.copy(one)?;
        two.start()?;
        let watched = Watched::new(folder, WatchOptions::default(), one)?;
        let (file, pair) = (watched.application_file().to_owned(), servers.0.clone());
        let named = move || -> Vec<ConnectionSettings> {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let is_named = |server: &&Server| text.trim().ends_with(&format!("={}", server.host.address));
            pair.iter().filter(is_named).map(Server::settings).collect()
        };
        let application = Application::begin(named)?;
        Ok(Self { application, watched, servers, primary: 0, last: None })
    }

    /// Loses the primary; returns the seconds to the first commit behind that.
    pub(crate) fn round(&mut self) -> Outcome<f64> {
        let (primary, standby) = (&self.servers.0[self.primary], &self.servers.0[1 - self.primary]);
        primary.wait_until("SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'")?;
        primary.wait_for_standby(true)?;
        primary.wait_until("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")?;
        let watching = self.watched.begin(primary, standby, false)?;
        // The fault comes at no particular time between two probes.
        std::thread::sleep(Duration::from_millis(1000 + u64::from(self.last.is_some()) * 370));
        primary.mark("does-not-start", true)?;
        let began = Instant::now();
        primary.kill();
        self.application.note_fault(began);
        let outage = self.application.written_again(PATIENCE).ok_or_else(|| {
            let logs = self.servers.0.each_ref().map(Server::log);
            format!("ours: the application does not write again: {:?} {logs:#?}", watching.states())
        })?;
        let report = self.watched.ended(watching, PATIENCE)?;
        if report.ending != WatchEnding::Replaced {
            return Err(format!("no failover: {report:?}").into());
        }
        self.last = report.run.map(|run| run.run);
        primary.mark("does-not-start", false)?;
        standby.sql("CHECKPOINT")?;
        primary.rewind(standby)?;
        primary.start()?;
        self.primary = 1 - self.primary;
        Ok(outage.as_secs_f64())
    }

    /// Returns how many acknowledged commits are lost.
    pub(crate) fn lost(&self) -> u64 {
        self.application.lost()
    }

    /// Returns the journal of the last run, as lines: where the time goes.
    pub(crate) fn last_journal(&self) -> Outcome<Vec<String>> {
        self.last.as_ref().map_or_else(|| Ok(Vec::new()), |run| self.watched.journal(run))
    }
}
