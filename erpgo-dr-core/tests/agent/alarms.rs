//! Alarms are raised once and cleared once, whoever acts.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use erpgo_dr_core::agent::{Agent, AgentOptions, AgentState};
use erpgo_dr_core::repository::{RunCause, RunResult};
use erpgo_dr_core::runbook::{NoticeBoard, Notifier as _};

use crate::support::{Site, until};

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

#[tokio::test]
async fn a_job_that_hangs_is_given_up_and_told_of_at_once() {
    let site = Site::new().await;
    site.work.waits.store(true, Ordering::SeqCst);
    let mut job = site.job("work", "0 */6 * * *");
    job.timing = job.timing.with_limit(Duration::from_millis(50));
    let mut agent = site.start_with("a", site.plan(vec![job]), Duration::from_secs(60));
    let runs = site.until_ended(1).await;
    let ending = runs[0].ending.as_ref().unwrap();
    assert_eq!((ending.result, &ending.facts["error"]), (RunResult::Failed, &"limit".into()));
    assert!(ending.message.contains("ran for longer than 50ms"), "{}", ending.message);
    assert_eq!(ending.retry_at, Some(site.now() + TimeDelta::seconds(60)), "it is tried again");
    agent.until("the alarm", |state| state.alarms.iter().any(|alarm| alarm.told)).await;
    assert!(site.ears.heard()[0].contains("ALARM: work: it was given up"), "{:?}", site.ears.heard());
    agent.stop().await;

    site.work.waits.store(false, Ordering::SeqCst);
    site.clock.advance(TimeDelta::seconds(60));
    let mut agent = site.start("b");
    site.until_ended(2).await;
    agent.until("that it is cleared", |state| state.jobs[0].successes == 1 && state.alarms.is_empty()).await;
    agent.stop().await;
}

#[tokio::test]
async fn an_alarm_that_nobody_heard_is_told_while_a_job_runs() {
    let site = Site::new().await;
    site.ears.deaf.store(true, Ordering::SeqCst);
    site.work.finds.store(true, Ordering::SeqCst);
    let mut agent = site.start("a");
    agent.until("the alarm", |state| state.alarms.len() == 1).await;
    site.work.waits.store(true, Ordering::SeqCst);
    site.clock.advance(TimeDelta::hours(6));
    site.until_begun(2).await;
    site.ears.deaf.store(false, Ordering::SeqCst);
    site.clock.advance(TimeDelta::minutes(2));
    let state = agent.until("that it is told", |state| state.alarms.iter().any(|alarm| alarm.told)).await;
    assert!(state.jobs[0].running_since.is_some());
    site.work.waits.store(false, Ordering::SeqCst);
    agent.stop().await;
    assert_eq!(site.ears.heard().len(), 1);
}

#[tokio::test]
async fn alarms_that_nobody_would_clear_are_cleared_by_the_next_agent() {
    let site = Site::new().await;
    let (work, more) = (site.job("work", "0 */6 * * *"), site.job("more", "0 */6 * * *"));
    site.work.finds.store(true, Ordering::SeqCst);
    let mut agent = site.start_with("a", site.plan(vec![work, more]), Duration::from_secs(60));
    agent.control.refuse("line 7");
    let told = |state: &AgentState| state.alarms.iter().filter(|alarm| alarm.told).count();
    agent.until("three alarms", |state| told(state) == 3).await;
    agent.stop().await;

    // It is started anew, with a configuration that is well and has no job `more`.
    let mut agent = site.start("a");
    agent.until("that one is left", |state| state.jobs[0].next_due.is_some() && state.alarms.len() == 1).await;
    until("five messages", || site.ears.heard().len() == 5).await;
    let heard = site.ears.heard();
    assert!(heard.iter().any(|message| message.contains("cleared: configuration is well again")), "{heard:?}");
    assert!(heard.iter().any(|message| message.contains("cleared: more is no job any more")), "{heard:?}");
    agent.stop().await;
}

#[tokio::test]
async fn once_tells_what_nobody_heard_though_nothing_is_due() {
    let site = Site::new().await;
    let once = || {
        let plan = site.plan(vec![site.job("work", "0 */6 * * *")]);
        Agent::new(plan, AgentOptions::new("once")).once(std::future::pending())
    };
    site.ears.deaf.store(true, Ordering::SeqCst);
    site.work.finds.store(true, Ordering::SeqCst);
    assert_eq!(once().await.unwrap().runs.len(), 1);
    assert_eq!(site.ears.heard().len(), 0);
    site.ears.deaf.store(false, Ordering::SeqCst);
    let report = once().await.unwrap();
    assert_eq!((report.runs.len(), site.ears.heard().len()), (0, 1));
    once().await.unwrap();
    assert_eq!(site.ears.heard().len(), 1, "once is enough");
}
