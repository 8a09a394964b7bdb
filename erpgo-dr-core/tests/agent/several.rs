//! Of several agents of a repository one acts.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use erpgo_dr_core::agent::{Agent, AgentError, AgentOptions, AgentRole};
use erpgo_dr_core::conformance::faulty::{Effect, Fault, FaultyStorage, Operation};
use erpgo_dr_core::repository::RepositoryError;
use erpgo_dr_core::storage::ObjectStorage;

use crate::support::Site;

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
