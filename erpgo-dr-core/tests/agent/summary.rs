//! What happened in a week, for those who do not look every day.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use erpgo_dr_core::agent::jobs::SummaryJob;
use erpgo_dr_core::agent::{Schedule, ScheduledJob, Timing, summary};
use erpgo_dr_core::ops::drill::quarterly_calendar;
use erpgo_dr_core::repository::RunResult;

use crate::support::Site;

#[tokio::test]
async fn a_week_is_summed_up_and_told() {
    let site = Site::new().await;
    let mut agent = site.start("a");
    site.until_ended(1).await;
    site.work.finds.store(true, Ordering::SeqCst);
    site.clock.advance(TimeDelta::hours(6));
    site.until_ended(2).await;
    agent.until("the alarm", |state| state.alarms.iter().any(|alarm| alarm.told)).await;
    agent.stop().await;

    let week = summary(&site.repository, TimeDelta::days(7), &quarterly_calendar()).await.unwrap();
    assert!(!week.is_well());
    let job = &week.jobs[0];
    assert_eq!((job.job.as_str(), job.runs, job.succeeded, job.bytes, job.is_well), ("work", 2, 1, 14, false));
    assert!(job.last_trouble.as_ref().unwrap().ends_with("found: something is rotten"), "{job:?}");
    assert_eq!(week.overdue, Vec::<String>::new(), "nothing is overdue in a repository that is a day old");
    let text = week.to_text("db1");
    for said in ["something needs you", "NO PROVEN BACKUP", "work: 1 of 2 went well", "alarm work, raised"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let hour = summary(&site.repository, TimeDelta::hours(1), &[]).await.unwrap();
    assert_eq!(hour.jobs[0].runs, 1, "what lies before the span does not count");
    site.clock.advance(TimeDelta::days(300));
    let later = summary(&site.repository, TimeDelta::days(7), &quarterly_calendar()).await.unwrap();
    assert!(later.jobs.is_empty() && later.alarms[0].is_open(), "{later:?}");
    assert!(later.to_text("db1").contains("drills overdue: restore"), "{}", later.to_text("db1"));
}

#[tokio::test]
async fn a_summary_that_nobody_got_is_told_again() {
    let site = Site::new().await;
    let job = SummaryJob::new(site.ears.clone(), "db1").with_span(TimeDelta::days(1));
    let timing = Timing::new(Schedule::new("0 * * * *", "UTC").unwrap());
    let timing = timing.with_retries(2, Duration::from_secs(3600)).with_backoff(Duration::from_secs(60));
    let plan = site.plan(vec![ScheduledJob::new("summary".parse().unwrap(), Arc::new(job), timing)]);
    site.ears.deaf.store(true, Ordering::SeqCst);
    let mut agent = site.start_with("a", plan, Duration::from_secs(60));
    agent.until("its first time", |state| state.jobs.iter().any(|job| job.next_due.is_some())).await;
    site.clock.advance(TimeDelta::hours(1));
    let runs = site.until_ended(1).await;
    assert_eq!(runs[0].result(), Some(RunResult::Failed));
    site.ears.deaf.store(false, Ordering::SeqCst);
    site.clock.advance(TimeDelta::minutes(1));
    let runs = site.until_ended(2).await;
    agent.stop().await;
    assert_eq!(runs[0].result(), Some(RunResult::Succeeded));
    let heard = site.ears.heard();
    assert!(heard.len() == 1 && heard[0].starts_with("erpgo-dr on db1: the last 1 d until 2026-11-20"), "{heard:?}");
}
