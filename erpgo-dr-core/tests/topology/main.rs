//! Servers of a cluster as they see themselves and each other.

#![allow(clippy::unwrap_used)]

mod direct;
mod patroni;
mod writer;

use std::time::Duration;

use erpgo_dr_core::postgres::ConnectionSettings;
use erpgo_dr_core::topology::{Role, candidate, discover};
use erpgo_dr_testkit::postgres::{MAJORS, PgServer, standby_of};

const LIMIT: Duration = Duration::from_secs(10);

fn named(name: &str, server: &PgServer) -> (String, ConnectionSettings) {
    (name.to_owned(), server.url("postgres").parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_has_one_primary_whom_all_others_follow() {
    for major in MAJORS {
        let servers = tokio::task::spawn_blocking(move || {
            let primary = PgServer::start(major);
            let standby = standby_of(&primary);
            primary
                .psql("postgres", "SELECT pg_create_physical_replication_slot('spare', true); CREATE TABLE t (n int)");
            // A standby that streams has not replayed a commit yet.
            let streaming = "SELECT count(*) FROM pg_stat_replication
                             WHERE state = 'streaming' AND replay_lsn >= pg_current_wal_lsn()";
            while primary.psql("postgres", streaming) != "1" {
                std::thread::sleep(Duration::from_millis(50));
            }
            (primary, standby)
        });
        let (primary, standby) = servers.await.unwrap();
        let topology = discover(&[named("one", &primary), named("two", &standby)], LIMIT).await;
        assert_eq!(topology.findings, [""; 0], "{major}: {topology:#?}");
        let states: Vec<_> = topology.servers.iter().map(|server| server.state.clone().unwrap()).collect();
        assert_eq!((states[0].role, states[1].role), (Role::Primary, Role::Standby));
        assert_eq!(states[0].system_identifier, states[1].system_identifier);
        let follower = &states[0].followers[0];
        assert_eq!((follower.name.as_str(), follower.state.as_deref()), ("walreceiver", Some("streaming")));
        let slot = &states[0].slots[0];
        assert_eq!(
            (slot.name.as_str(), slot.physical, slot.active, slot.restart.is_some()),
            ("spare", true, false, true)
        );
        let followed = states[1].follows.as_ref().unwrap();
        assert_eq!((followed.status.as_deref(), followed.port), (Some("streaming"), Some(primary.port())));
        assert!(followed.silent_ms.unwrap() < 60_000 && followed.timeout_ms == Some(60_000), "{followed:?}");
        assert!(states[1].replayed.is_some() && states[1].newest_commit.is_some());
        assert_eq!(candidate(&topology).unwrap().name, "two");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_between_servers_is_said() {
    let servers = tokio::task::spawn_blocking(|| (PgServer::start(17), PgServer::start(18)));
    let (one, mut other) = servers.await.unwrap();
    let findings = discover(&[named("one", &one), named("other", &other)], LIMIT).await.findings;
    assert_eq!(findings[0], "more than one server takes writes: one, other");
    assert!(findings[1].starts_with("they are not of one cluster: "), "{findings:?}");
    other.kill();
    let alone = discover(&[named("other", &other)], LIMIT).await;
    assert!(alone.findings[0].starts_with("other does not answer: ") && alone.findings[1] == "no server takes writes");
    assert!(candidate(&alone).is_none());
    one.psql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on");
    one.psql("postgres", "SELECT pg_reload_conf()");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let read_only = discover(&[named("one", &one)], LIMIT).await;
    assert_eq!(read_only.servers[0].state.as_ref().unwrap().role, Role::ReadOnlyPrimary);
}
