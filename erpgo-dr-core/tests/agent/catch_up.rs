//! What was missed is made up for, once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use erpgo_dr_core::agent::{Agent, AgentOptions, Schedule, ScheduledJob, Timing, agent_plan};
use erpgo_dr_core::ops::{PruneOptions, prune};
use erpgo_dr_core::progress::NoProgress;
use erpgo_dr_core::repository::{RunCause, RunResult};
use erpgo_dr_core::retention::KeepAll;
use erpgo_dr_core::storage::{ObjectMeta, PutOptions, StorageExt as _};
use futures::TryStreamExt as _;

use crate::support::Site;

#[tokio::test]
async fn of_three_days_of_downtime_one_run_is_made_up_for() {
    let site = Site::new().await;
    let agent = site.start("a");
    let runs = site.until_ended(1).await;
    assert_eq!(runs[0].beginning.cause, RunCause::First, "what was never done is done at once");
    site.pass(TimeDelta::hours(4)).await;
    assert_eq!(site.history().await.len(), 1, "it is 05:00, and the next one is at 06:00");
    site.pass(TimeDelta::hours(1)).await;
    let runs = site.until_ended(2).await;
    assert_eq!((runs[0].beginning.cause, runs[0].beginning.attempt), (RunCause::Schedule, 1));
    agent.stop().await;

    site.clock.advance(TimeDelta::days(3) + TimeDelta::hours(2));
    let mut agent = site.start("a");
    let runs = site.until_ended(3).await;
    assert_eq!(runs[0].beginning.cause, RunCause::CatchUp);
    assert_eq!(runs[0].beginning.scheduled, "2026-11-23T06:00:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap());
    site.pass(TimeDelta::hours(1)).await;
    assert_eq!(site.history().await.len(), 3, "one for twelve that were missed");
    let state = agent.until("the next run", |state| state.jobs[0].next_due.is_some()).await;
    assert_eq!(state.jobs[0].next_due, Some("2026-11-23T12:00:00Z".parse().unwrap()));
    assert_eq!((state.jobs[0].attempts, state.jobs[0].successes, state.jobs[0].last_bytes), (1, 1, Some(7)));
    agent.stop().await;
}

#[tokio::test]
async fn a_host_that_slept_makes_up_for_it_too() {
    let site = Site::new().await;
    let agent = site.start("a");
    site.until_ended(1).await;
    site.clock.advance(TimeDelta::days(2));
    let runs = site.until_ended(2).await;
    assert_eq!(runs[0].beginning.cause, RunCause::CatchUp);
    site.pass(TimeDelta::minutes(5)).await;
    assert_eq!(site.history().await.len(), 2);
    agent.stop().await;
}

#[tokio::test]
async fn a_plan_says_what_an_agent_then_does() {
    let site = Site::new().await;
    let jobs = [site.job("work", "0 */6 * * *")];
    let before = agent_plan(&site.repository, &jobs, "a").await.unwrap();
    assert_eq!((before[0].cause, before[0].next), (Some(RunCause::First), Some(site.now())));
    assert_eq!(site.history().await.len(), 0, "a plan does nothing");
    let agent = site.start("a");
    site.until_ended(1).await;
    agent.stop().await;
    let after = agent_plan(&site.repository, &jobs, "a").await.unwrap();
    let at = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!((after[0].cause, after[0].next), (Some(RunCause::Schedule), Some(at("2026-11-20T06:00:00Z"))));
    assert_eq!(after[0].then[..2], [at("2026-11-20T12:00:00Z"), at("2026-11-20T18:00:00Z")]);
}

#[tokio::test]
async fn a_run_that_broke_off_is_shown_and_done_again_and_not_for_ever() {
    let site = Site::new().await;
    site.work.waits.store(true, Ordering::SeqCst);
    for attempt in 1..=3_usize {
        let agent = site.start("a");
        while site.work.begun.load(Ordering::SeqCst) < attempt {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let runs = site.history().await;
        assert_eq!((runs[0].running, runs[0].result()), (true, None), "it goes on");
        agent.abort().await;
        site.repository.environment().cleanups.settle().await;
        let runs = site.history().await;
        assert_eq!((runs[0].running, runs[0].result()), (false, Some(RunResult::BrokenOff)));
        assert_eq!(runs[0].beginning.attempt as usize, attempt);
        // The wait before the next attempt.
        site.clock.advance(TimeDelta::minutes(30));
    }
    let mut agent = site.start("a");
    agent.until("an alarm", |state| !state.alarms.is_empty()).await;
    site.pass(TimeDelta::minutes(1)).await;
    assert_eq!(site.results().await, [Some(RunResult::BrokenOff); 3], "it is given up until its next time");
    assert!(site.history().await.iter().all(|run| run.ending.is_some()), "each has an end now");
    site.work.waits.store(false, Ordering::SeqCst);
    site.clock.advance(TimeDelta::hours(6));
    assert_eq!(site.until_ended(4).await[0].result(), Some(RunResult::Succeeded));
    agent.until("that it is cleared", |state| state.alarms.is_empty()).await;
    agent.stop().await;
    assert_eq!(site.ears.heard().len(), 2);
}

#[tokio::test]
async fn a_stop_lets_a_job_end_or_gives_it_up_behind_its_grace() {
    let site = Site::new().await;
    site.work.waits.store(true, Ordering::SeqCst);
    let mut agent = site.start("a");
    while site.work.begun.load(Ordering::SeqCst) < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    agent.tell_to_stop();
    agent.until("that it stops", |state| state.role == erpgo_dr_core::agent::AgentRole::Stopping).await;
    site.work.waits.store(false, Ordering::SeqCst);
    let report = agent.stop().await;
    assert!(report.is_well() && report.runs.len() == 1, "{report:?}");

    site.work.waits.store(true, Ordering::SeqCst);
    site.clock.advance(TimeDelta::hours(6));
    let plan = site.plan(vec![site.job("work", "0 */6 * * *")]);
    let mut agent = site.start_with("a", plan, Duration::from_millis(50));
    while site.work.begun.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    agent.tell_to_stop();
    let report = agent.stop().await;
    assert_eq!(report.runs[0].result(), Some(RunResult::Interrupted));
    // It is done by the next agent, and counts as no attempt.
    site.work.waits.store(false, Ordering::SeqCst);
    site.clock.advance(TimeDelta::seconds(1));
    let agent = site.start("b");
    let runs = site.until_ended(3).await;
    assert_eq!((runs[0].beginning.attempt, runs[0].result()), (1, Some(RunResult::Succeeded)));
    agent.stop().await;
}

#[tokio::test]
async fn old_runs_are_forgotten_by_a_prune_and_the_newest_of_each_job_are_not() {
    let site = Site::new().await;
    let agent = site.start("a");
    for count in 1..=14 {
        site.until_ended(count).await;
        site.clock.advance(TimeDelta::hours(6));
    }
    agent.stop().await;
    let before = site.history().await;
    assert!(before.len() >= 14);
    prune(&site.repository, &KeepAll, &PruneOptions::default(), &NoProgress).await.unwrap();
    assert_eq!(site.history().await, before);
    site.clock.advance(TimeDelta::days(500));
    prune(&site.repository, &KeepAll, &PruneOptions::default(), &NoProgress).await.unwrap();
    let after = site.history().await;
    assert_eq!(after[..], before[..10]);
    let limited = site.repository.history(Some(&"work".parse().unwrap()), 3).await.unwrap();
    assert_eq!(limited.runs[..], before[..3]);
    assert_eq!(site.repository.history(Some(&"other".parse().unwrap()), 3).await.unwrap().runs, []);
}

#[tokio::test]
async fn a_record_that_was_altered_is_named_and_not_believed() {
    let site = Site::new().await;
    let agent = site.start("a");
    site.until_ended(1).await;
    agent.stop().await;
    let storage = site.repository.storage();
    let objects: Vec<ObjectMeta> = storage.list("state/history").try_collect().await.unwrap();
    let ended = &objects.iter().find(|meta| meta.key.file_name() == "ended").unwrap().key;
    let stored = storage.read(ended, 1 << 20).await.unwrap();
    let altered = String::from_utf8(stored.to_vec()).unwrap().replace("succeeded", "interrupted");
    storage.write(ended, altered.into(), &PutOptions::default()).await.unwrap();
    let history = site.repository.history(None, 10).await.unwrap();
    assert_eq!((history.runs.len(), history.problems.len()), (0, 1));
    assert!(history.problems[0].problem.contains("authentic"), "{:?}", history.problems);
}

#[tokio::test]
async fn a_clock_that_was_ahead_ends_no_job_and_is_told_of() {
    let site = Site::new().await;
    site.clock.advance(TimeDelta::days(365));
    let agent = site.start("a");
    site.until_ended(1).await;
    agent.stop().await;
    site.clock.advance(TimeDelta::days(-365));
    assert_eq!(site.ears.heard().len(), 0);
    let mut agent = site.start("a");
    let runs = site.until_ended(2).await;
    assert_eq!(runs[1].beginning.began, site.now(), "the run of the future does not count");
    agent.until("that it is well again", |state| state.jobs[0].successes == 1 && state.alarms.is_empty()).await;
    agent.stop().await;
    let heard = site.ears.heard();
    assert!(heard.len() == 2 && heard[0].contains("lies in the future") && heard[1].contains("cleared"), "{heard:?}");

    // It was made up for: another agent finds nothing to do until the next time has come.
    let mut agent = site.start("b");
    let state = agent.until("that it acts", |state| state.jobs[0].next_due.is_some()).await;
    assert_eq!(state.jobs[0].next_due, Some("2026-11-20T06:00:00Z".parse().unwrap()));
    assert_eq!(state.jobs[0].last_success, Some(site.now()));
    site.clock.advance(TimeDelta::hours(6));
    site.until_ended(3).await;
    agent.stop().await;
    assert_eq!(site.ears.heard().len(), 2);
}

#[tokio::test]
async fn a_clock_that_is_put_back_while_an_agent_runs_ends_no_job() {
    let site = Site::new().await;
    let agent = site.start("a");
    site.until_ended(1).await;
    site.clock.advance(TimeDelta::days(365));
    site.until_ended(2).await;
    // It is 07:00 of the day on which it began.
    site.clock.advance(TimeDelta::days(-365) + TimeDelta::hours(6));
    site.until_ended(3).await;
    site.clock.advance(TimeDelta::hours(6));
    let runs = site.until_ended(4).await;
    assert_eq!(runs.iter().filter(|run| run.beginning.began <= site.now()).count(), 3);
    agent.stop().await;
}

#[tokio::test]
async fn a_job_that_is_new_waits_for_its_first_time_and_is_not_made_up_for() {
    let site = Site::new().await;
    let patient = |pattern: &str| {
        let timing = Timing::new(Schedule::new(pattern, "UTC").unwrap());
        ScheduledJob::new("patient".parse().unwrap(), site.work.clone(), timing)
    };
    let mut agent = site.start("a");
    site.until_ended(1).await;
    site.clock.advance(TimeDelta::hours(4));
    // It is 05:00, and 03:00 was before the job was there.
    let jobs = vec![site.job("work", "0 */6 * * *"), patient("0 3 * * *")];
    let planned = agent_plan(&site.repository, &jobs, "a").await.unwrap();
    let tomorrow = Some("2026-11-21T03:00:00Z".parse().unwrap());
    assert_eq!(planned[1].next, tomorrow);
    agent.control.reload(site.plan(jobs.clone()));
    let state = agent.until("the new job", |state| state.jobs.len() == 2 && state.jobs[1].next_due.is_some()).await;
    assert_eq!(state.jobs[1].next_due, tomorrow);
    agent.stop().await;
    assert!(site.history().await.iter().all(|run| run.beginning.job.as_str() == "work"));

    // It was seen: what is missed from then on is made up for, also by one that does not run for long.
    site.clock.advance(TimeDelta::days(1));
    let report = Agent::new(site.plan(jobs), AgentOptions::new("once")).once(std::future::pending()).await.unwrap();
    let done: Vec<_> = report.runs.iter().map(|run| (run.beginning.job.as_str(), run.beginning.cause)).collect();
    assert!(done.contains(&("patient", RunCause::CatchUp)), "{done:?}");
}
