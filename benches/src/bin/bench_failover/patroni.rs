//! A pair under Patroni, with etcd.

use std::time::{Duration, Instant};

use erpgo_dr_benches::failover::{Application, SCHEMA};
use erpgo_dr_core::postgres::ConnectionSettings;
use erpgo_dr_testkit::postgres::SUPERUSER;
use erpgo_dr_testkit::{PatroniCluster, PatroniOptions};

use crate::Outcome;

const PATIENCE: Duration = Duration::from_secs(120);

/// Fields are dropped in this order.
pub(crate) struct Patroni {
    application: Application,
    cluster: PatroniCluster,
}

impl Patroni {
    pub(crate) fn begin() -> Outcome<Self> {
        let cluster = PatroniOptions::new(2).synchronous().durable().start();
        cluster.nodes[cluster.leader_with_standbys()].sql(SCHEMA)?;
        let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.port()).collect();
        let both = move || ports.iter().copied().map(settings).collect();
        Ok(Self { application: Application::begin(both)?, cluster })
    }

    /// Loses the leader; returns the seconds to the first commit behind that.
    pub(crate) fn round(&mut self) -> Outcome<f64> {
        let leader = self.cluster.leader_with_standbys();
        std::thread::sleep(Duration::from_millis(1370));
        let began = Instant::now();
        self.cluster.nodes[leader].kill();
        self.application.note_fault(began);
        let outage = self.application.written_again(PATIENCE).ok_or("Patroni: the application does not write again")?;
        self.cluster.nodes[leader].start();
        Ok(outage.as_secs_f64())
    }

    pub(crate) fn lost(&self) -> u64 {
        self.application.lost()
    }
}

fn settings(port: u16) -> ConnectionSettings {
    ConnectionSettings::new("127.0.0.1").port(port).user(SUPERUSER).database("postgres")
}
