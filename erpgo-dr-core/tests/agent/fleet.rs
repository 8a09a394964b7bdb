//! Agents of several clusters in one process.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use erpgo_dr_core::agent::{AgentOptions, AgentRole, Fleet, Schedule, ScheduledJob, Timing};
use erpgo_dr_core::conformance::faulty::{Effect, Fault, FaultyStorage, Operation};
use erpgo_dr_core::repository::RunResult;
use erpgo_dr_core::storage::{ObjectStorage, Storage};
use futures::StreamExt as _;

use crate::support::{Site, until};

const PATTERN: &str = "0 */6 * * *";

fn options() -> AgentOptions {
    AgentOptions::new("fleet").with_tick(Duration::from_millis(5)).with_grace(Duration::from_millis(50))
}

fn fleet(jobs: usize) -> Fleet {
    Fleet::new(NonZeroUsize::new(jobs).unwrap())
}

/// Clusters whose jobs wait until they are let go.
async fn busy_sites(count: usize) -> Vec<(String, Site)> {
    let mut sites = Vec::new();
    for number in 0..count {
        let site = Site::new().await;
        site.work.waits.store(true, Ordering::SeqCst);
        sites.push((format!("c{number}"), site));
    }
    sites
}

fn begun(sites: &[(String, Site)]) -> usize {
    sites.iter().map(|(_, site)| site.work.begun.load(Ordering::SeqCst)).sum()
}

fn start(fleet: &mut Fleet, sites: &[(String, Site)]) {
    for (name, site) in sites {
        fleet.start(name, site.plan(vec![site.job("work", PATTERN)]), options());
    }
}

fn let_go(sites: &[(String, Site)]) {
    sites.iter().for_each(|(_, site)| site.work.waits.store(false, Ordering::SeqCst));
}

#[tokio::test]
async fn so_many_jobs_run_at_once_as_there_are_turns_and_all_have_theirs() {
    let sites = busy_sites(5).await;
    let mut fleet = fleet(2);
    start(&mut fleet, &sites);
    until("two jobs", || begun(&sites) == 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(begun(&sites), 2, "the others wait for their turn");
    assert!(fleet.states().all(|(_, state)| state.borrow().role == AgentRole::Leader), "and keep their leases");
    let_go(&sites);
    for (_, site) in &sites {
        assert_eq!(site.until_ended(1).await[0].result(), Some(RunResult::Succeeded));
    }
    fleet.stop();
    let mut ended = Vec::new();
    while let Some(report) = fleet.ended().await {
        assert!(report.is_well() && !report.gave_up(), "{report:?}");
        ended.push(report.cluster);
    }
    ended.sort();
    assert_eq!(ended, ["c0", "c1", "c2", "c3", "c4"]);
    assert!(fleet.is_empty());
}

#[tokio::test]
async fn who_waits_for_a_turn_stops_at_once_and_has_begun_nothing() {
    let sites = busy_sites(2).await;
    let mut fleet = fleet(1);
    start(&mut fleet, &sites[..1]);
    until("the first job", || begun(&sites) == 1).await;
    start(&mut fleet, &sites[1..]);
    let waiting = fleet.state("c1").unwrap().clone();
    until("that it acts", || waiting.borrow().role == AgentRole::Leader).await;
    fleet.dismiss("c1");
    let report = fleet.ended().await.unwrap();
    assert_eq!((report.cluster.as_str(), report.gave_up()), ("c1", false), "{report:?}");
    assert!(sites[1].1.history().await.is_empty());
    assert!(fleet.control("c1").is_none() && fleet.control("c0").is_some());
    fleet.stop();
    let report = fleet.ended().await.unwrap();
    assert_eq!(
        (report.cluster.as_str(), report.gave_up()),
        ("c0", true),
        "its job took longer than it may: {report:?}"
    );
}

#[tokio::test]
async fn a_turn_does_not_go_to_who_has_nothing_to_do_any_more() {
    let sites = busy_sites(3).await;
    let mut fleet = fleet(1);
    for number in 0..3 {
        start(&mut fleet, &sites[number..=number]);
        until("the first job", || begun(&sites) == 1).await;
        // Its place in the queue is behind the one before it.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let never = Timing::new(Schedule::new("0 0 1 1 *", "UTC").unwrap());
    let idle = ScheduledJob::new("idle".parse().unwrap(), sites[1].1.work.clone(), never);
    fleet.control("c1").unwrap().reload(sites[1].1.plan(vec![idle]));
    let second = fleet.state("c1").unwrap().clone();
    until("the new plan", || second.borrow().jobs.iter().all(|job| job.name.as_str() == "idle")).await;
    let_go(&sites);
    assert_eq!(sites[2].1.until_ended(1).await[0].result(), Some(RunResult::Succeeded));
    assert_eq!(sites[1].1.work.begun.load(Ordering::SeqCst), 0);
    fleet.stop();
    while fleet.ended().await.is_some() {}
}

#[tokio::test]
async fn who_lost_its_lease_while_it_waited_for_a_turn_does_nothing_beside_another() {
    let busy = busy_sites(1).await;
    let memory: Arc<dyn Storage> = Arc::new(ObjectStorage::memory());
    let storage = FaultyStorage::new(Arc::clone(&memory));
    let mut site = Site::over(Arc::new(storage.clone())).await;
    site.lease = Duration::from_secs(1);
    let mut fleet = fleet(1);
    start(&mut fleet, &busy);
    until("the job of the other cluster", || begun(&busy) == 1).await;
    fleet.start_once("late", site.plan(vec![site.job("work", PATTERN)]), options().with_lease(site.lease));
    while memory.list("state/leases").next().await.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It cannot renew its lease, and another agent comes another way.
    let other = site.seen_over(memory).await;
    for operation in [Operation::Put, Operation::Write, Operation::Finish, Operation::List] {
        storage.inject(Fault::new(operation, Effect::Unavailable).under("state/leases"));
    }
    let agent = other.start("other");
    other.until_ended(1).await;
    storage.heal();
    let_go(&busy);
    let report = loop {
        let report = fleet.ended().await.unwrap();
        if report.cluster == "late" {
            break report;
        }
    };
    assert!(report.error.as_deref().is_some_and(|error| error.contains("agent")), "{report:?}");
    assert_eq!(other.history().await.len(), 1, "it was done already");
    agent.stop().await;
    fleet.stop();
    while fleet.ended().await.is_some() {}
}

#[tokio::test]
async fn what_is_due_is_done_once_and_a_cluster_that_cannot_begin_is_told_of() {
    let sites = busy_sites(3).await;
    let_go(&sites);
    let other = sites[1].1.start("other");
    sites[1].1.until_ended(1).await;
    let mut fleet = fleet(2);
    for (name, site) in &sites {
        fleet.start_once(name, site.plan(vec![site.job("work", PATTERN)]), options());
    }
    let mut reports = Vec::new();
    while let Some(report) = fleet.ended().await {
        reports.push(report);
    }
    reports.sort_by(|one, other| one.cluster.cmp(&other.cluster));
    assert_eq!(reports.iter().map(|report| report.is_well()).collect::<Vec<_>>(), [true, false, true]);
    let refused = reports[1].error.as_deref().unwrap();
    assert!(refused.contains("agent"), "{refused}");
    assert_eq!(begun(&sites), 3);
    other.stop().await;
}
