//! A new configuration is taken between two jobs; one that is refused changes nothing.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use erpgo_dr_core::agent::AgentRole;
use erpgo_dr_core::storage::LocalStorage;

use crate::support::Site;

#[tokio::test]
async fn a_new_configuration_is_taken_and_a_bad_one_told_once() {
    let site = Site::new().await;
    let mut agent = site.start("a");
    site.until_ended(1).await;
    agent.control.refuse("line 7");
    agent.control.refuse("line 8");
    let state = agent.until("the refusal", |state| state.reload_refused.as_deref() == Some("line 8")).await;
    assert_eq!(state.jobs.len(), 1);
    site.clock.advance(TimeDelta::hours(6));
    site.until_ended(2).await;
    let heard = site.ears.heard();
    assert!(heard.len() == 1 && heard[0].contains("configuration") && heard[0].contains("line 7"), "{heard:?}");

    site.clock.advance(TimeDelta::seconds(1));
    agent.control.reload(site.plan(vec![site.job("work", "0 */6 * * *"), site.job("more", "0 3 * * *")]));
    let runs = site.until_ended(3).await;
    assert_eq!(runs[0].beginning.job.as_str(), "more", "what is new and was never done is done; what is old is not");
    let state = agent.until("the new jobs", |state| state.jobs.len() == 2 && state.alarms.is_empty()).await;
    assert_eq!((state.reload_refused, state.jobs[0].attempts), (None, 2));

    // Another repository is no new configuration.
    let other = Site::new().await;
    agent.control.reload(other.plan(vec![other.job("stranger", "0 3 * * *")]));
    let state = agent.until("the refusal", |state| state.reload_refused.is_some()).await;
    assert_eq!(state.jobs.len(), 2);
    assert_eq!(state.role, AgentRole::Leader);
    tokio::time::sleep(Duration::from_millis(50)).await;
    agent.stop().await;
    assert_eq!(other.history().await.len(), 0);
}

#[tokio::test]
async fn a_copy_of_the_repository_is_another_repository() {
    let folder = tempfile::tempdir().unwrap();
    let (original, copy) = (folder.path().join("original"), folder.path().join("copy"));
    let site = Site::over(Arc::new(LocalStorage::open(&original).unwrap())).await;
    let mut agent = site.start("a");
    site.until_ended(1).await;
    let copied = std::process::Command::new("cp").arg("-a").args([&original, &copy]).status().unwrap();
    assert!(copied.success());
    let other = site.seen_over(Arc::new(LocalStorage::open(&copy).unwrap())).await;
    agent.control.reload(other.plan(vec![other.job("work", "0 */6 * * *")]));
    agent.until("the refusal", |state| state.reload_refused.as_deref().is_some_and(|why| why.contains("place"))).await;
    site.clock.advance(TimeDelta::hours(6));
    site.until_ended(2).await;
    agent.stop().await;
    assert_eq!(other.history().await.len(), 1, "nothing is done there");
}
