//! A real Patroni, over a real etcd.

use std::time::{Duration, Instant};

use erpgo_dr_core::topology::ha::{
    ChangeOptions, HaBackend, HaCluster, HaError, HaRole, PatroniBackend, PatroniSettings, carry_out, plan_failover,
    plan_switchover, reinitialize, set_paused,
};
use erpgo_dr_testkit::patroni::PATIENCE;
use erpgo_dr_testkit::{PatroniCluster, PatroniOptions};

use crate::writer::Writer;

/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:1";

async fn start(options: PatroniOptions) -> PatroniCluster {
    tokio::task::spawn_blocking(|| options.start()).await.unwrap()
}

/// Waits for what the cluster does by itself.
async fn until(backend: &PatroniBackend, what: &str, holds: impl Fn(&HaCluster) -> bool) -> HaCluster {
    let begun = Instant::now();
    loop {
        let cluster = backend.cluster().await;
        match cluster {
            Ok(cluster) if holds(&cluster) => return cluster,
            found if begun.elapsed() > PATIENCE => panic!("{what}: {found:#?}"),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn well(backend: &PatroniBackend) -> HaCluster {
    until(backend, "all is well", |cluster| cluster.findings(16 << 20, false).is_empty()).await
}

fn options() -> ChangeOptions {
    ChangeOptions::default().with_max_lag(64 << 20).with_limit(PATIENCE)
}

fn name(cluster: &HaCluster) -> String {
    cluster.leader().unwrap().name.clone()
}

/// Returns a member that follows.
fn follower(cluster: &HaCluster) -> String {
    cluster.members.iter().find(|member| member.role == HaRole::Replica).unwrap().name.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_loses_nothing_and_a_failover_says_what_it_lost() {
    let mut cluster = start(PatroniOptions::new(3).authentication("dr", "geheim-17")).await;
    // The first address is nobody's: the next one is asked.
    let urls: Vec<String> = std::iter::once(NOBODY.to_owned()).chain(cluster.urls()).collect();
    let settings = PatroniSettings::new(urls.clone()).with_credentials("dr", "geheim-17".to_owned().into());
    let backend = PatroniBackend::new(&settings).unwrap();
    let before = well(&backend).await;
    assert_eq!((before.scope.as_deref(), before.members.len(), before.paused), (Some("drtest"), 3, false));
    let (old, candidate) = (name(&before), follower(&before));
    cluster.node(&old).sql("CREATE TABLE t (n bigint PRIMARY KEY)").unwrap();

    refusals(&backend, &urls, &old, &candidate).await;

    // A switchover, while somebody writes.
    let servers: Vec<String> = cluster.nodes.iter().map(|node| node.url()).collect();
    let writer = Writer::begin(&servers);
    writer.goes_on(50).await;
    let wanted = options().with_leader(Some(old.clone())).with_candidate(Some(candidate.clone()));
    let plan = plan_switchover(&backend, &wanted).await.unwrap();
    assert_eq!(
        (plan.leader.as_deref(), plan.candidate.as_str(), plan.already_done),
        (Some(old.as_str()), candidate.as_str(), false)
    );
    let report = carry_out(&backend, &plan, PATIENCE).await.unwrap();
    assert_eq!((report.lost_bytes, report.new_leader.as_str()), (Some(0), candidate.as_str()), "{report:#?}");
    assert!(report.new_timeline > report.old_timeline && report.branched_at >= report.written, "{report:#?}");
    writer.goes_on(50).await;
    let after = well(&backend).await;
    assert_eq!(name(&after), candidate);
    // What an earlier attempt may have done, it has.
    let again = plan_switchover(&backend, &wanted.clone().with_again(true)).await.unwrap();
    assert!(again.already_done);
    assert!(carry_out(&backend, &again, PATIENCE).await.unwrap().already_done);
    let once_more = plan_switchover(&backend, &wanted).await;
    assert!(matches!(once_more, Err(HaError::AlreadyLeads { .. })), "{once_more:?}");
    let acknowledged = writer.end().await;
    assert_eq!(missing(&mut cluster, &candidate, &acknowledged), 0);

    // The leader is lost, and its interface with it.
    let (lost, heir) = (candidate, follower(&after));
    cluster.node(&lost).kill();
    cluster.forget_leader();
    let taken = until(&backend, "another leads", |cluster| {
        cluster.leader().is_some_and(|leader| leader.name != lost && leader.is_well_leader())
    });
    let leads = name(&taken.await);
    assert_eq!(missing(&mut cluster, &leads, &acknowledged), 0);
    cluster.node(&lost).start();
    well(&backend).await;

    // By our own order, although all is well.
    let heir = if heir == leads { lost.clone() } else { heir };
    let wanted = options().with_candidate(Some(heir.clone()));
    let well_leader = plan_failover(&backend, &wanted).await;
    assert!(matches!(well_leader, Err(HaError::LeaderIsWell { .. })), "{well_leader:?}");
    // What is known of the member that came back may be from before it was lost: until it answers itself, it is refused.
    let (wanted, asked) = (wanted.with_even_if_well(true), Instant::now());
    let plan = loop {
        match plan_failover(&backend, &wanted).await {
            Err(HaError::NotReady { .. }) if asked.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            planned => break planned.unwrap(),
        }
    };
    let report = carry_out(&backend, &plan, PATIENCE).await.unwrap();
    assert!(report.lost_bytes.is_some() && report.newest_commit.is_some(), "{report:#?}");
    assert!(report.leader_answered && report.certain_loss().is_none(), "{report:#?}");
    assert!(report.beside.is_empty() && report.unfenced.is_none(), "{report:#?}");
    assert_eq!(name(&well(&backend).await), heir);

    // A member gets new data.
    let member = follower(&backend.cluster().await.unwrap());
    assert!(matches!(reinitialize(&backend, &heir, false, PATIENCE).await, Err(HaError::IsLeader { .. })));
    let oid = "SELECT pg_postmaster_start_time()";
    let started = cluster.node(&member).sql(oid).unwrap();
    let report = reinitialize(&backend, &member, false, PATIENCE).await.unwrap();
    assert_eq!((report.member.as_str(), report.leader.as_str()), (member.as_str(), heir.as_str()));
    assert_ne!(cluster.node(&member).sql(oid).unwrap(), started);
    assert_eq!(missing(&mut cluster, &member, &acknowledged), 0);
}

async fn refusals(backend: &PatroniBackend, urls: &[String], leader: &str, candidate: &str) {
    let planned = async |leader: Option<&str>, candidate: Option<&str>| {
        let (leader, candidate) = (leader.map(str::to_owned), candidate.map(str::to_owned));
        plan_switchover(backend, &options().with_leader(leader).with_candidate(candidate)).await.unwrap_err()
    };
    assert!(matches!(planned(None, Some("pg9")).await, HaError::NoSuchMember { members, .. } if members.len() == 3));
    assert!(matches!(planned(None, Some(leader)).await, HaError::AlreadyLeads { .. }));
    assert!(matches!(planned(Some(candidate), None).await, HaError::AnotherLeads { .. }));
    // Patroni itself refuses what is not checked before.
    let refused = backend.switchover(candidate, leader, PATIENCE).await.unwrap_err();
    assert!(
        matches!(&refused, HaError::Refused { status: 412, text, .. } if text.contains("leader name")),
        "{refused:?}"
    );
    let nobody = backend.failover("pg9", PATIENCE).await.unwrap_err();
    assert!(matches!(&nobody, HaError::Refused { status: 412, .. }) && !nobody.may_be_done(), "{nobody:?}");
    for wrong in [None, Some("wrong")] {
        let mut settings = PatroniSettings::new(urls.to_vec());
        if let Some(password) = wrong {
            settings = settings.with_credentials("dr", password.to_owned().into());
        }
        let stranger = PatroniBackend::new(&settings).unwrap();
        let error = stranger.switchover(leader, candidate, PATIENCE).await.unwrap_err();
        assert!(matches!(error, HaError::Unauthorized { status: 401, .. }), "{error:?}");
    }
    let away = PatroniBackend::new(&PatroniSettings::new([NOBODY])).unwrap();
    assert!(matches!(away.cluster().await, Err(HaError::Unreachable { tried }) if tried.len() == 1));
}

/// Counts acknowledged commits that a server does not have.
fn missing(cluster: &mut PatroniCluster, server: &str, acknowledged: &[u64]) -> usize {
    assert!(acknowledged.len() >= 100);
    let node = cluster.node(server);
    // In parts: what a program may be given as an argument is limited, and a fast machine commits a lot.
    let parts = acknowledged.chunks(5_000).map(|part| {
        let numbers: Vec<String> = part.iter().map(u64::to_string).collect();
        let question = format!(
            "SELECT count(*) FROM unnest('{{{}}}'::bigint[]) AS n WHERE NOT EXISTS (SELECT FROM t WHERE t.n = n.n)",
            numbers.join(",")
        );
        node.sql(&question).unwrap().parse::<usize>().unwrap()
    });
    parts.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_cluster_replaces_nobody_but_by_order() {
    let mut cluster = start(PatroniOptions::new(2).tls()).await;
    let (certificate, key) = cluster.client_files();
    let trusting = PatroniSettings::new(cluster.urls()).with_authorities(Some(cluster.ca_file()));
    let settings = trusting.clone().with_identity(certificate, key);
    let backend = PatroniBackend::new(&settings).unwrap();
    let before = well(&backend).await;

    // Who does not trust, and who is not trusted, gets nothing.
    for settings in [PatroniSettings::new(cluster.urls()), trusting] {
        let error = PatroniBackend::new(&settings).unwrap().cluster().await.unwrap_err();
        assert!(matches!(error, HaError::Tls { .. }), "{error:?}");
    }
    let absent = settings.clone().with_authorities(Some("/nowhere/ca.crt".into()));
    assert!(matches!(PatroniBackend::new(&absent), Err(HaError::Setting { .. })));

    let report = set_paused(&backend, true, PATIENCE).await.unwrap();
    assert!(report.paused && report.changed && report.unaware.is_empty(), "{report:?}");
    assert!(!set_paused(&backend, true, PATIENCE).await.unwrap().changed);
    let (lost, heir) = (name(&before), follower(&before));
    cluster.node(&lost).kill();
    cluster.forget_leader();
    until(&backend, "nobody leads", |cluster| cluster.leader().is_none()).await;
    assert!(matches!(plan_failover(&backend, &options()).await, Err(HaError::Paused)));
    assert!(matches!(plan_switchover(&backend, &options()).await, Err(HaError::NoLeader)));
    let wanted = options().with_leader(Some(lost.clone())).with_candidate(Some(heir.clone()));
    let plan = plan_failover(&backend, &wanted).await.unwrap();
    assert!(plan.paused && plan.leader.as_deref() == Some(lost.as_str()), "{plan:?}");
    let report = carry_out(&backend, &plan, PATIENCE).await.unwrap();
    assert_eq!(report.new_leader, heir);
    // The lost one could not be asked: what is lost is not certain, and it may run on.
    assert!(report.lost_bytes.is_some() && !report.leader_answered && !report.is_clean(), "{report:#?}");
    assert_eq!((report.unfenced.as_ref(), report.beside.len()), (Some(&lost), 0), "{report:#?}");
    // What was ordered is not ordered again, whoever it came to.
    let again = options().with_timeline(plan.timeline).with_again(true);
    assert!(plan_failover(&backend, &again).await.unwrap().already_done);
    let late = plan_failover(&backend, &options().with_timeline(plan.timeline)).await;
    assert!(matches!(late, Err(HaError::Replaced { .. })), "{late:?}");
    let blind = plan_failover(&backend, &options().with_again(true)).await;
    assert!(matches!(blind, Err(HaError::Repeated { .. })), "{blind:?}");
    let ended = set_paused(&backend, false, PATIENCE).await.unwrap();
    assert!(ended.changed && !ended.paused, "{ended:?}");
    cluster.node(&lost).start();
    assert_eq!(name(&well(&backend).await), heir);
}
