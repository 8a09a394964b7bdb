//! When a job is run next: a pure function of its timing, of what is remembered of its runs, and of the time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::schedule::Schedule;
use crate::repository::{JobRun, RunCause, RunResult};

/// The wait before a second attempt; each further one is twice as long.
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(30);
/// The longest wait before an attempt.
const LONGEST_WAIT: TimeDelta = TimeDelta::minutes(30);
/// A run that begins later than this has been missed, and is made up for.
const LATE: TimeDelta = TimeDelta::minutes(2);

/// When a job is run, and how often it is tried.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Timing {
    /// When.
    pub schedule: Schedule,
    /// Further attempts where one fails.
    pub retries: u32,
    /// How long after the first attempt a further one may begin.
    pub window: Duration,
    /// The wait before the second attempt; each further one is twice as long, up to half an hour.
    pub backoff: Duration,
    /// Whether it is run at once where it has never been.
    pub at_once: bool,
}

impl Timing {
    /// Runs a job by this schedule, with three further attempts within two hours.
    pub fn new(schedule: Schedule) -> Self {
        let backoff = FIRST_WAIT.to_std().expect("a positive constant");
        Self { schedule, retries: 3, window: Duration::from_secs(2 * 3600), backoff, at_once: false }
    }

    /// Sets how many further attempts there are, and how long after the first one may begin.
    pub fn with_retries(mut self, retries: u32, window: Duration) -> Self {
        (self.retries, self.window) = (retries, window);
        self
    }

    /// Sets the wait before the second attempt.
    pub fn with_backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets whether it is run at once where it has never been.
    pub fn with_at_once(mut self, at_once: bool) -> Self {
        self.at_once = at_once;
        self
    }

    /// Returns when the attempt behind this one begins, where there is one.
    pub(super) fn retry(&self, attempt: u32, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let at = now + self.wait(attempt);
        let within = TimeDelta::from_std(self.window).unwrap_or(TimeDelta::MAX);
        (attempt <= self.retries && at - since <= within).then_some(at)
    }

    fn wait(&self, attempt: u32) -> TimeDelta {
        let first = TimeDelta::from_std(self.backoff).unwrap_or(LONGEST_WAIT);
        let factor = 1_i32 << attempt.saturating_sub(1).min(10);
        first.checked_mul(factor).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT.max(first))
    }
}

/// Attempts that have failed, and are made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    /// The moment of the schedule that they are for.
    pub(super) scheduled: DateTime<Utc>,
    /// How many there were.
    pub(super) attempts: u32,
    /// When the first of them began.
    pub(super) since: DateTime<Utc>,
    /// When the next one begins.
    pub(super) retry_at: DateTime<Utc>,
}

/// What is remembered of a job's runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// The newest moment of the schedule that is dealt with, or from which on it counts.
    pub(super) settled: Option<DateTime<Utc>>,
    pub(super) pending: Option<Pending>,
}

/// The next run of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// When it begins.
    pub(super) at: DateTime<Utc>,
    pub(super) scheduled: DateTime<Utc>,
    pub(super) attempt: u32,
    pub(super) cause: RunCause,
}

/// Says when a job is run next. `delay` is the jitter of this host. What has been missed is run once, however often it was.
pub(super) fn next(timing: &Timing, delay: TimeDelta, memory: &Memory, now: DateTime<Utc>) -> Option<Due> {
    let latest = timing.schedule.latest_at(now - delay);
    if let Some(pending) = memory.pending {
        // A moment that has come meanwhile is dealt with by the same attempts: else a job that is due often would never give up.
        let scheduled = latest.map_or(pending.scheduled, |latest| latest.max(pending.scheduled));
        let cause = if pending.attempts == 0 { RunCause::CatchUp } else { RunCause::Retry };
        return Some(Due { at: pending.retry_at, scheduled, attempt: pending.attempts + 1, cause });
    }
    let Some(settled) = memory.settled else {
        let scheduled = latest.unwrap_or(now);
        return Some(Due { at: now, scheduled, attempt: 1, cause: RunCause::First });
    };
    if let Some(scheduled) = latest.filter(|latest| *latest > settled) {
        let at = scheduled + delay;
        let cause = if now - at > LATE { RunCause::CatchUp } else { RunCause::Schedule };
        return Some(Due { at, scheduled, attempt: 1, cause });
    }
    let scheduled = timing.schedule.next_after(settled.max(now - delay))?;
    Some(Due { at: scheduled + delay, scheduled, attempt: 1, cause: RunCause::Schedule })
}

/// Remembers a job by its runs, the newest first. `since` is when the agent was first there: nothing before it was missed.
pub(super) fn remember(timing: &Timing, runs: &[JobRun], since: DateTime<Utc>, now: DateTime<Utc>) -> Memory {
    let Some(newest) = runs.first() else {
        return Memory { settled: (!timing.at_once).then_some(since), pending: None };
    };
    let beginning = &newest.beginning;
    let settled = Memory { settled: Some(beginning.scheduled), pending: None };
    let first = runs.iter().find(|run| run.beginning.attempt <= 1).map_or(beginning.began, |run| run.beginning.began);
    let again = |attempts: u32, retry_at: DateTime<Utc>| Memory {
        settled: None,
        pending: Some(Pending { scheduled: beginning.scheduled, attempts, since: first, retry_at }),
    };
    match newest.result() {
        Some(RunResult::Failed) => match newest.ending.as_ref().and_then(|ending| ending.retry_at) {
            Some(retry_at) => again(beginning.attempt, retry_at),
            None => settled,
        },
        // Where it took the agent down with it, it is not tried for ever.
        Some(RunResult::BrokenOff) if beginning.attempt > timing.retries => settled,
        Some(RunResult::BrokenOff) => {
            again(beginning.attempt, now.min(beginning.began + timing.wait(beginning.attempt)))
        }
        Some(RunResult::Interrupted) => again(beginning.attempt.saturating_sub(1), now),
        _ => settled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn timing(pattern: &str) -> Timing {
        Timing::new(Schedule::new(pattern, "UTC").unwrap())
    }

    #[test]
    fn of_many_missed_runs_one_is_made_up_for() {
        let timing = timing("0 */6 * * *");
        let mut memory = Memory { settled: Some(at("2026-11-20T00:00:00Z")), pending: None };
        let now = at("2026-11-27T13:37:00Z");
        let due = next(&timing, TimeDelta::zero(), &memory, now).unwrap();
        assert_eq!((due.cause, due.scheduled), (RunCause::CatchUp, at("2026-11-27T12:00:00Z")));
        assert!(due.at <= now);
        memory.settled = Some(due.scheduled);
        let due = next(&timing, TimeDelta::zero(), &memory, now).unwrap();
        assert_eq!((due.cause, due.at), (RunCause::Schedule, at("2026-11-27T18:00:00Z")));
    }

    #[test]
    fn jitter_puts_off_and_never_runs_twice() {
        let timing = timing("0 */6 * * *");
        let delay = TimeDelta::minutes(4);
        let mut memory = Memory { settled: Some(at("2026-11-27T06:00:00Z")), pending: None };
        let early = next(&timing, delay, &memory, at("2026-11-27T12:03:59Z")).unwrap();
        assert_eq!(early.at, at("2026-11-27T12:04:00Z"));
        let due = next(&timing, delay, &memory, at("2026-11-27T12:04:00Z")).unwrap();
        assert_eq!((due.at, due.cause), (at("2026-11-27T12:04:00Z"), RunCause::Schedule));
        // Another host, with another delay, takes over: the moment is dealt with.
        memory.settled = Some(due.scheduled);
        let other = next(&timing, TimeDelta::minutes(5), &memory, at("2026-11-27T12:05:30Z")).unwrap();
        assert_eq!(other.scheduled, at("2026-11-27T18:00:00Z"));
    }

    #[test]
    fn attempts_go_on_over_the_next_moments_until_they_are_given_up() {
        let timing = timing("*/1 * * * *").with_retries(2, Duration::from_secs(3600));
        let since = at("2026-11-27T12:00:00Z");
        assert_eq!(timing.retry(1, since, since), Some(since + TimeDelta::seconds(30)));
        assert_eq!(timing.retry(2, since, since), Some(since + TimeDelta::seconds(60)));
        assert_eq!(timing.retry(3, since, since), None, "three attempts are all");
        let narrow = timing.clone().with_retries(9, Duration::from_secs(45));
        assert_eq!(narrow.retry(2, since, since), None, "behind the window");
        let pending = Pending { scheduled: since, attempts: 1, since, retry_at: since + TimeDelta::minutes(3) };
        let memory = Memory { settled: None, pending: Some(pending) };
        let due = next(&timing, TimeDelta::zero(), &memory, since + TimeDelta::minutes(3)).unwrap();
        assert_eq!((due.attempt, due.cause, due.scheduled), (2, RunCause::Retry, since + TimeDelta::minutes(3)));
    }

    #[test]
    fn waits_double_and_have_an_end() {
        let timing = timing("0 0 * * *").with_retries(20, Duration::from_secs(86400));
        let now = at("2026-11-27T12:00:00Z");
        let waits: Vec<i64> = (1..12).map(|n| (timing.retry(n, now, now).unwrap() - now).num_seconds()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 960, 1800, 1800, 1800, 1800, 1800]);
    }

    #[test]
    fn what_was_never_done_is_done_at_once_only_where_that_is_wanted() {
        let (now, since) = (at("2026-11-27T12:30:00Z"), at("2026-11-27T12:30:00Z"));
        let memory = remember(&timing("0 3 * * *"), &[], since, now);
        let due = next(&timing("0 3 * * *"), TimeDelta::zero(), &memory, now).unwrap();
        assert_eq!(due.at, at("2026-11-28T03:00:00Z"));
        let eager = timing("0 3 * * *").with_at_once(true);
        let due = next(&eager, TimeDelta::zero(), &remember(&eager, &[], since, now), now).unwrap();
        assert_eq!((due.at, due.cause), (now, RunCause::First));
    }
}
