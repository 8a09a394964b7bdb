//! Servers that nobody runs but us.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use erpgo_dr_core::topology::ha::{
    ChangeOptions, DirectBackend, HaBackend, HaError, HostControl, carry_out, plan_failover, plan_switchover,
    reinitialize, set_paused,
};
use erpgo_dr_testkit::postgres::{PgServer, PgServerOptions, SUPERUSER, give_to_postgres, standby_of};

use crate::writer::Writer;

const LIMIT: Duration = Duration::from_secs(180);

/// The hosts of servers, by name.
#[derive(Debug, Clone)]
struct Hosts(Arc<Mutex<BTreeMap<String, PgServer>>>);

impl Hosts {
    async fn with<T: Send + 'static>(&self, name: &str, act: impl FnOnce(&mut PgServer) -> T + Send + 'static) -> T {
        let (hosts, name) = (Arc::clone(&self.0), name.to_owned());
        let acted = move || act(hosts.lock().unwrap().get_mut(&name).unwrap());
        tokio::task::spawn_blocking(acted).await.unwrap()
    }
}

#[async_trait]
impl HostControl for Hosts {
    async fn stop(&self, member: &str) -> io::Result<()> {
        self.with(member, PgServer::stop).await;
        Ok(())
    }

    async fn fence(&self, member: &str) -> io::Result<()> {
        self.with(member, PgServer::kill).await;
        Ok(())
    }

    async fn start(&self, member: &str) -> io::Result<()> {
        self.with(member, PgServer::restart).await;
        Ok(())
    }

    async fn follow(&self, member: &str, leader: &str) -> io::Result<()> {
        let port = self.with(leader, |server| server.port()).await;
        let started = self.with(member, move |server| {
            let (signal, conf) =
                (server.data_dir().join("standby.signal"), server.data_dir().join("postgresql.auto.conf"));
            let text = fs::read_to_string(&conf)?;
            fs::write(&conf, format!("{text}primary_conninfo = 'host=127.0.0.1 port={port} user={SUPERUSER}'\n"))?;
            fs::write(&signal, "")?;
            give_to_postgres(&signal);
            server.restart();
            Ok(())
        });
        started.await
    }
}

fn three() -> BTreeMap<String, PgServer> {
    let primary = PgServerOptions::new(17).setting("wal_log_hints", "on").start();
    let standbys = [standby_of(&primary), standby_of(&primary)];
    primary.psql("postgres", "CREATE TABLE t (n bigint PRIMARY KEY)");
    let streaming = "SELECT count(*) FROM pg_stat_replication
                     WHERE state = 'streaming' AND replay_lsn >= pg_current_wal_lsn()";
    while primary.psql("postgres", streaming) != "2" {
        std::thread::sleep(Duration::from_millis(50));
    }
    let [two, three] = standbys;
    BTreeMap::from([("one".to_owned(), primary), ("two".to_owned(), two), ("three".to_owned(), three)])
}

/// Waits until the leader and this many followers are as they should be.
async fn well(backend: &DirectBackend, followers: usize) {
    let begun = std::time::Instant::now();
    loop {
        let cluster = backend.cluster().await.unwrap();
        let leader = cluster.leader();
        if leader.is_some_and(|leader| {
            cluster.members.iter().filter(|member| member.state == "streaming" && member.follows(leader)).count()
                == followers
        }) {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "{cluster:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_patroni_does_is_done_by_ourselves_where_nobody_else_does() {
    let servers = tokio::task::spawn_blocking(three).await.unwrap();
    let urls: Vec<String> = servers.values().map(|server| server.url("postgres")).collect();
    let settings = servers.iter().map(|(name, server)| (name.clone(), server.url("postgres").parse().unwrap()));
    let settings = settings.collect();
    let hosts = Hosts(Arc::new(Mutex::new(servers)));
    let backend = DirectBackend::new(settings, Arc::new(hosts.clone()));
    well(&backend, 2).await;

    let options = ChangeOptions::default().with_max_lag(64 << 20).with_limit(LIMIT);
    let unknown = plan_switchover(&backend, &options.clone().with_candidate(Some("four".to_owned()))).await;
    assert!(matches!(unknown, Err(HaError::NoSuchMember { .. })));
    assert!(matches!(set_paused(&backend, true, LIMIT).await, Err(HaError::Unsupported { .. })));
    assert!(matches!(reinitialize(&backend, "two", false, LIMIT).await, Err(HaError::Unsupported { .. })));

    let writer = Writer::begin(&urls);
    writer.goes_on(50).await;
    let wanted = options.clone().with_leader(Some("one".to_owned())).with_candidate(Some("two".to_owned()));
    let plan = plan_switchover(&backend, &wanted).await.unwrap();
    let report = carry_out(&backend, &plan, LIMIT).await.unwrap();
    assert_eq!((report.new_leader.as_str(), report.lost_bytes), ("two", Some(0)), "{report:#?}");
    assert!(report.new_timeline > report.old_timeline, "{report:#?}");
    writer.goes_on(50).await;
    let acknowledged = writer.end().await;
    well(&backend, 2).await;

    // One that takes writes is fenced before another is promoted.
    let wanted = options.with_candidate(Some("three".to_owned()));
    assert!(matches!(plan_failover(&backend, &wanted).await, Err(HaError::LeaderIsWell { .. })));
    let plan = plan_failover(&backend, &wanted.with_even_if_well(true)).await.unwrap();
    assert_eq!(plan.leader.as_deref(), Some("two"));
    let report = carry_out(&backend, &plan, LIMIT).await.unwrap();
    assert_eq!(report.new_leader, "three");
    assert!(report.lost_bytes.is_some() && report.newest_commit.is_some(), "{report:#?}");
    assert!(report.unfenced.is_none() && report.beside.is_empty(), "{report:#?}");
    assert!(hosts.with("two", |server| server.id().is_none()).await, "it may still take writes");
    well(&backend, 1).await;
    let count = "SELECT count(*) FROM t WHERE n = ANY ('{NUMBERS}')";
    let numbers: Vec<String> = acknowledged.iter().map(u64::to_string).collect();
    let question = count.replace("NUMBERS", &numbers.join(","));
    let there = hosts.with("three", move |server| server.psql("postgres", &question)).await;
    assert_eq!(there, acknowledged.len().to_string());
}
