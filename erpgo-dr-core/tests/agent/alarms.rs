//! Alarms are raised once and cleared once, whoever acts.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use erpgo_dr_core::agent::{NoticeBoard, Notifier as _};
use erpgo_dr_core::repository::{RunCause, RunResult};

use crate::support::Site;

#[tokio::test]
async fn a_job_that_fails_is_tried_with_growing_waits_then_raises_one_alarm_which_is_cleared_once() {
    let site = Site::new().await;
    site.work.fails.store(true, Ordering::SeqCst);
    let mut agent = site.start("a");
    let runs = site.until_ended(1).await;
    let retry_at = runs[0].ending.as_ref().unwrap().retry_at.unwrap();
    assert_eq!(retry_at - site.now(), TimeDelta::seconds(60));
    site.pass(TimeDelta::seconds(59)).await;
    assert_eq!((site.history().await.len(), site.ears.heard().len()), (1, 0), "not before its time");
    site.clock.advance(TimeDelta::seconds(1));
    let runs = site.until_ended(2).await;
    assert_eq!((runs[0].beginning.cause, runs[0].beginning.attempt), (RunCause::Retry, 2));
    assert_eq!(runs[0].ending.as_ref().unwrap().retry_at.unwrap() - site.now(), TimeDelta::seconds(120));
    assert_eq!(site.ears.heard().len(), 0, "nobody is woken while there are attempts left");
    site.clock.advance(TimeDelta::seconds(120));
    let runs = site.until_ended(3).await;
    assert_eq!(runs[0].ending.as_ref().unwrap().retry_at, None);
    let state = agent.until("the alarm", |state| state.alarms.iter().any(|alarm| alarm.told)).await;
    assert!(state.summary().contains("alarms: work"), "{}", state.summary());
    assert_eq!(state.jobs[0].consecutive_failures, 3);
    let heard = site.ears.heard();
    assert!(
        heard.len() == 1 && heard[0].contains("ALARM: work") && heard[0].contains("the disk is on fire"),
        "{heard:?}"
    );

    // Neither a failure at the next time nor another agent raises it again.
    site.clock.advance(TimeDelta::hours(6));
    site.until_ended(4).await;
    agent.stop().await;
    let mut agent = site.start("b");
    agent.until("the alarm of the other", |state| !state.alarms.is_empty()).await;
    site.clock.advance(TimeDelta::minutes(5));
    site.until_ended(5).await;
    assert_eq!(site.ears.heard().len(), 1);

    site.work.fails.store(false, Ordering::SeqCst);
    site.clock.advance(TimeDelta::hours(6));
    let state = agent.until("that it is cleared", |state| state.alarms.is_empty()).await;
    assert!(state.jobs[0].consecutive_failures == 0 && state.jobs[0].last_success.is_some());
    site.clock.advance(TimeDelta::hours(6));
    let count = site.history().await.len();
    site.until_ended(count + 1).await;
    agent.stop().await;
    let heard = site.ears.heard();
    assert!(heard.len() == 2 && heard[1].contains("cleared: work"), "{heard:?}");
    assert!(site.repository.alarms().await.unwrap().iter().all(|alarm| !alarm.is_open() && alarm.told));
}

#[tokio::test]
async fn what_is_found_is_an_alarm_at_once_and_is_not_tried_again() {
    let site = Site::new().await;
    site.work.finds.store(true, Ordering::SeqCst);
    let mut agent = site.start("a");
    let runs = site.until_ended(1).await;
    assert_eq!(runs[0].result(), Some(RunResult::Found));
    assert_eq!(runs[0].ending.as_ref().unwrap().facts["answer"], 42);
    agent.until("the alarm", |state| state.alarms.len() == 1).await;
    site.pass(TimeDelta::hours(1)).await;
    assert_eq!(site.history().await.len(), 1);
    agent.stop().await;
    assert!(site.ears.heard()[0].contains("something is rotten"));
}

#[tokio::test]
async fn an_alarm_that_nobody_heard_is_told_later() {
    let site = Site::new().await;
    site.ears.deaf.store(true, Ordering::SeqCst);
    site.work.finds.store(true, Ordering::SeqCst);
    let mut agent = site.start("a");
    agent.until("the alarm", |state| state.alarms.len() == 1).await;
    agent.stop().await;
    assert!(!site.repository.alarms().await.unwrap()[0].told);
    site.ears.deaf.store(false, Ordering::SeqCst);
    site.clock.advance(TimeDelta::minutes(2));
    let mut agent = site.start("b");
    agent.until("that it is told", |state| state.alarms.iter().any(|alarm| alarm.told)).await;
    agent.stop().await;
    assert_eq!(site.ears.heard().len(), 1);
}

#[tokio::test]
async fn one_way_that_works_is_enough_and_the_address_of_a_web_hook_is_told_to_nobody() {
    let site = Site::new().await;
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard");
    let path = vec![("PATH".into(), std::env::var_os("PATH").unwrap())];
    let dead = "http://127.0.0.1:1/services/secret-token".to_owned();
    let board = NoticeBoard::new(site.repository.clone()).with_environment(path).with_webhook(dead.into(), None);
    let error = board.tell("one").await.unwrap_err();
    assert!(error.reason.starts_with("web hook: ") && !error.reason.contains("secret-token"), "{error}");
    assert!(!format!("{board:?}").contains("secret-token"));
    let program = ["sh", "-c", "cat > \"$0\"", heard.to_str().unwrap()].map(str::to_owned).to_vec();
    board.with_command(program).tell("two {{ braces }}").await.unwrap();
    assert_eq!(std::fs::read_to_string(&heard).unwrap(), "two {{ braces }}");
}
