//! Of several agents of a repository one acts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use erpgo_dr_core::agent::{Agent, AgentError, AgentOptions, AgentPlan, AgentRole, ScheduledJob};
use erpgo_dr_core::conformance::faulty::{Effect, Fault, FaultyStorage, Operation};
use erpgo_dr_core::repository::{RepositoryError, RunResult};
use erpgo_dr_core::storage::{ObjectStorage, Storage};

use crate::support::{Site, until};

#[tokio::test]
async fn one_acts_and_the_other_takes_over_when_it_is_gone() {
    let site = Site::new().await;
    let mut first = site.start("a");
    site.until_ended(1).await;
    let mut second = site.start("b");
    second.until("that it stands by", |state| matches!(state.role, AgentRole::StandingBy { .. })).await;
    first.until("that it acts", |state| state.role == AgentRole::Leader).await;
    for count in 2..5 {
        site.clock.advance(TimeDelta::hours(6));
        site.until_ended(count).await;
    }
    assert!(site.history().await.iter().all(|run| run.beginning.host == "a"), "only one acts");
    first.stop().await;
    second.until("that it acts", |state| state.role == AgentRole::Leader).await;
    site.pass(TimeDelta::minutes(1)).await;
    assert_eq!(site.history().await.len(), 4, "what the other has done is not done again");
    site.clock.advance(TimeDelta::hours(6));
    assert_eq!(site.until_ended(5).await[0].beginning.host, "b");
    second.stop().await;
}

#[tokio::test]
async fn once_does_what_is_due_and_is_refused_beside_another() {
    let site = Site::new().await;
    let once = || {
        let plan = site.plan(vec![site.job("work", "0 */6 * * *"), site.job("more", "0 3 * * *")]);
        Agent::new(plan, AgentOptions::new("once")).once(std::future::pending())
    };
    let report = once().await.unwrap();
    assert_eq!((report.runs.len(), report.is_well()), (2, true));
    assert_eq!(once().await.unwrap().runs.len(), 0, "nothing is due any more");
    site.clock.advance(TimeDelta::hours(6));
    assert_eq!(once().await.unwrap().runs.len(), 2);
    let mut agent = site.start("a");
    agent.until("that it acts", |state| state.role == AgentRole::Leader).await;
    let refused = once().await.unwrap_err();
    assert!(matches!(refused, AgentError::Repository(RepositoryError::Busy { .. })), "{refused:?}");
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_that_cannot_renew_its_lease_begins_nothing_until_it_has_it_again() {
    let storage = FaultyStorage::new(Arc::new(ObjectStorage::memory()));
    let mut site = Site::over(Arc::new(storage.clone())).await;
    site.lease = Duration::from_secs(1);
    let mut agent = site.start("a");
    site.until_ended(1).await;
    for operation in [Operation::Put, Operation::Write, Operation::Finish, Operation::List] {
        storage.inject(Fault::new(operation, Effect::Unavailable).under("state/leases"));
    }
    agent.until("that it is out of touch", |state| matches!(state.role, AgentRole::OutOfTouch { .. })).await;
    site.pass(TimeDelta::hours(6)).await;
    assert_eq!(site.history().await.len(), 1, "another agent may act by now");
    agent.until("an alarm", |state| state.alarms.iter().any(|alarm| alarm.told)).await;
    let heard = site.ears.heard();
    assert!(heard.len() == 1 && heard[0].contains("ALARM: repository: cannot be reached"), "{heard:?}");
    storage.heal();
    let runs = site.until_ended(2).await;
    assert_ne!(runs[0].beginning.agent, runs[1].beginning.agent, "it is a new lease");
    agent.until("that all is well", |state| state.alarms.is_empty()).await;
    agent.stop().await;
    assert!(site.ears.heard()[1].contains("cleared: repository"));
}

#[tokio::test]
async fn a_repository_that_goes_away_while_a_job_runs_is_told_of() {
    let storage = FaultyStorage::new(Arc::new(ObjectStorage::memory()));
    let mut site = Site::over(Arc::new(storage.clone())).await;
    site.lease = Duration::from_secs(1);
    site.work.waits.store(true, Ordering::SeqCst);
    let mut agent = site.start("a");
    site.until_begun(1).await;
    for operation in [Operation::Put, Operation::Write, Operation::Finish, Operation::List] {
        storage.inject(Fault::new(operation, Effect::Unavailable).under("state"));
    }
    // How long that takes by the clock of this machine nobody knows, so the other one is moved on.
    until("an alarm", || {
        site.clock.advance(TimeDelta::seconds(1));
        !site.ears.heard().is_empty()
    })
    .await;
    let heard = site.ears.heard();
    assert!(heard[0].contains("ALARM: repository: cannot be reached"), "{heard:?}");
    assert!(agent.state.borrow().jobs[0].running_since.is_some(), "the job goes on");
    storage.heal();
    agent.until("that all is well", |state| state.alarms.is_empty()).await;
    assert!(agent.state.borrow().jobs[0].running_since.is_some(), "the job goes on");
    site.work.waits.store(false, Ordering::SeqCst);
    site.until_ended(1).await;
    agent.stop().await;
    let heard = site.ears.heard();
    assert!(heard.len() == 2 && heard[1].contains("cleared: repository"), "{heard:?}");
}

#[tokio::test]
async fn the_end_of_a_run_is_written_down_when_that_can_be_done_again() {
    let storage = FaultyStorage::new(Arc::new(ObjectStorage::memory()));
    let site = Site::over(Arc::new(storage.clone())).await;
    site.work.waits.store(true, Ordering::SeqCst);
    let mut agent = site.start("a");
    site.until_begun(1).await;
    storage.inject(Fault::new(Operation::Create, Effect::Unavailable).under("state/history"));
    site.work.waits.store(false, Ordering::SeqCst);
    agent.until("the end of the run", |state| state.jobs[0].successes == 1).await;
    assert_eq!(site.history().await[0].result(), None, "it is not written down");
    storage.heal();
    assert_eq!(site.until_ended(1).await[0].result(), Some(RunResult::Succeeded));
    agent.stop().await;

    // Before it ends an agent tries longer than a moment, and nothing is done twice.
    let mut agent = site.start("b");
    agent.until("that it acts", |state| state.jobs[0].next_due.is_some()).await;
    agent.stop().await;
    assert_eq!(site.work.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_that_was_cut_off_says_how_its_run_ended_and_leaves_alarms_to_the_one_that_acts() {
    let place: Arc<dyn Storage> = Arc::new(ObjectStorage::memory());
    let faulty = FaultyStorage::new(Arc::clone(&place));
    let mut site = Site::over(Arc::new(faulty.clone())).await;
    site.lease = Duration::from_secs(1);
    let mut other = site.seen_over(place).await;
    // The first is taken for dead at once, the second is not, however slow the machine is.
    other.lease = Duration::from_secs(600);
    site.work.finds.store(true, Ordering::SeqCst);
    let mut first = site.start("a");
    first.until("an alarm", |state| state.alarms.iter().any(|alarm| alarm.told)).await;
    site.work.finds.store(false, Ordering::SeqCst);
    site.work.waits.store(true, Ordering::SeqCst);
    site.clock.advance(TimeDelta::hours(6));
    site.until_begun(2).await;
    for operation in [Operation::Put, Operation::Write, Operation::Finish] {
        faulty.inject(Fault::new(operation, Effect::Unavailable).under("state/leases"));
    }
    // The second takes it for dead, and begins the job anew.
    let mut second = other.start("b");
    site.until_begun(3).await;
    assert_eq!(other.history().await[1].result(), Some(RunResult::BrokenOff));
    site.work.waits.store(false, Ordering::SeqCst);
    second.until("that all is well", |state| state.jobs[0].successes == 1 && state.alarms.is_empty()).await;
    first.until("that it is out of touch", |state| matches!(state.role, AgentRole::OutOfTouch { .. })).await;
    let results = other.results().await;
    assert_eq!(results[1..], [Some(RunResult::Succeeded); 2], "the first knew better");
    faulty.heal();
    let state = first.until("that it stands by", |state| matches!(state.role, AgentRole::StandingBy { .. })).await;
    assert_eq!(state.alarms, []);
    let heard = site.ears.heard();
    assert!(heard.len() == 2 && heard[1].contains("cleared: work"), "{heard:?}");

    // What the second raises is not touched by the first, whatever it remembers.
    site.work.finds.store(true, Ordering::SeqCst);
    site.clock.advance(TimeDelta::hours(6));
    second.until("an alarm", |state| state.alarms.iter().any(|alarm| alarm.told)).await;
    let count = other.history().await.len();
    site.pass(TimeDelta::minutes(2)).await;
    let alarms = other.repository.alarms().await.unwrap();
    assert!(alarms.iter().any(|alarm| alarm.subject.as_str() == "work" && alarm.is_open()), "{alarms:?}");
    assert_eq!((site.ears.heard().len(), other.history().await.len()), (3, count));
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn names_and_times_that_no_job_can_have_are_refused() {
    let site = Site::new().await;
    let plan = |job: ScheduledJob| AgentPlan::new(Arc::clone(&site.repository), vec![job]).unwrap_err();
    for name in ["repository", "configuration"] {
        assert!(matches!(plan(site.job(name, "0 3 * * *")), AgentError::ReservedName { .. }), "{name}");
    }
    let mut job = site.job("work", "0 3 * * *");
    job.timing = job.timing.with_backoff(Duration::from_secs(8 * 86400));
    assert!(matches!(plan(job), AgentError::Timing { .. }));
}
