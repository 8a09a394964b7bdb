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
/// How far clocks of hosts may be apart. What is further ahead was done by a clock that was wrong, and settles nothing.
const SLACK: TimeDelta = TimeDelta::minutes(10);
/// How long a job may run, unless something else is said.
const LIMIT: Duration = Duration::from_secs(12 * 3600);
/// The longest jitter, backoff and window.
const WEEK: Duration = Duration::from_secs(7 * 86400);

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
    /// How long a run may take: it is given up behind that, and has failed.
    pub limit: Duration,
    /// Whether it is run at once where it has never been.
    pub at_once: bool,
}

impl Timing {
    /// Runs a job by this schedule, for twelve hours at most, with three further attempts within two hours.
    pub fn new(schedule: Schedule) -> Self {
        let backoff = FIRST_WAIT.to_std().expect("a positive constant");
        Self { schedule, retries: 3, window: Duration::from_secs(2 * 3600), backoff, limit: LIMIT, at_once: false }
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

    /// Sets how long a run may take.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets whether it is run at once where it has never been.
    pub fn with_at_once(mut self, at_once: bool) -> Self {
        self.at_once = at_once;
        self
    }

    /// Returns when the attempt behind this one begins, where there is one.
    pub(super) fn retry(&self, attempt: u32, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let at = now.checked_add_signed(self.wait(attempt))?;
        let within = TimeDelta::from_std(self.window).unwrap_or(TimeDelta::MAX);
        (attempt <= self.retries && at - since <= within).then_some(at)
    }

    /// Says what is wrong with it: spans that no clock can count, and none at all.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let spans = [
            (self.schedule.jitter() > WEEK, "`jitter` is longer than a week"),
            (self.backoff > WEEK, "`backoff` is longer than a week"),
            (self.window > WEEK, "`window` is longer than a week"),
            (self.limit.is_zero(), "`limit` leaves no time to run"),
        ];
        spans.into_iter().find_map(|(is_wrong, what)| is_wrong.then_some(what))
    }

    fn wait(&self, attempt: u32) -> TimeDelta {
        let first = TimeDelta::from_std(self.backoff.min(WEEK)).unwrap_or(LONGEST_WAIT);
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

/// Returns whether a run was begun, or is for a moment, that has not come: by a clock that was wrong.
pub(super) fn is_ahead(run: &JobRun, now: DateTime<Utc>) -> bool {
    [run.beginning.scheduled, run.beginning.began].into_iter().any(|moment| lies_ahead(moment, now))
}

fn lies_ahead(moment: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    moment - now > SLACK
}

impl Memory {
    /// Returns whether the clock was put back behind what this remembers.
    pub(super) fn is_ahead(&self, now: DateTime<Utc>) -> bool {
        let of_pending = self.pending.iter().flat_map(|pending| [pending.scheduled, pending.since]);
        self.settled.into_iter().chain(of_pending).any(|moment| lies_ahead(moment, now))
    }
}

/// Remembers a job by its runs, the newest first. `since` is when it was first there: nothing before it was missed.
///
/// Runs of the future settle nothing: else one jump of a clock would end a job for as long. Where there are no others it is run at once.
pub(super) fn remember(timing: &Timing, runs: &[JobRun], since: DateTime<Utc>, now: DateTime<Utc>) -> Memory {
    let mut runs = runs.iter();
    let mut sound = runs.clone().filter(|run| !is_ahead(run, now));
    let Some(newest) = sound.next() else {
        let at_once = timing.at_once || runs.next().is_some();
        return Memory { settled: (!at_once).then_some(since), pending: None };
    };
    let beginning = &newest.beginning;
    let settled = Memory { settled: Some(beginning.scheduled), pending: None };
    let mut from_newest = std::iter::once(newest).chain(sound);
    let first = from_newest.find(|run| run.beginning.attempt <= 1).map_or(beginning.began, |run| run.beginning.began);
    let longest = now.checked_add_signed(timing.wait(beginning.attempt)).unwrap_or(now);
    let again = |attempts: u32, retry_at: DateTime<Utc>| {
        let retry_at = retry_at.min(longest);
        Memory {
            settled: None,
            pending: Some(Pending { scheduled: beginning.scheduled, attempts, since: first, retry_at }),
        }
    };
    match newest.result() {
        Some(RunResult::Failed) => match newest.ending.as_ref().and_then(|ending| ending.retry_at) {
            Some(retry_at) => again(beginning.attempt, retry_at),
            None => settled,
        },
        // Where it took the agent down with it, it is not tried for ever.
        Some(RunResult::BrokenOff) if beginning.attempt > timing.retries => settled,
        Some(RunResult::BrokenOff) => {
            let waited = beginning.began.checked_add_signed(timing.wait(beginning.attempt));
            again(beginning.attempt, waited.map_or(now, |moment| moment.min(now)))
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

    fn run(id: &str, scheduled: &str, began: &str) -> JobRun {
        let value = serde_json::json!({
            "id": id, "job": "work", "kind": "check", "cause": "schedule", "scheduled": scheduled, "attempt": 1,
            "host": "a", "agent": "a", "began": began,
        });
        let ending = serde_json::json!({
            "ended": began, "result": "succeeded", "message": "done", "seconds": 1.0, "bytes": null, "retry_at": null,
        });
        let (beginning, ending) = (serde_json::from_value(value).unwrap(), serde_json::from_value(ending).unwrap());
        JobRun { beginning, running: false, ending: Some(ending) }
    }

    #[test]
    fn runs_of_the_future_settle_nothing() {
        let timing = timing("0 */6 * * *");
        let now = at("2026-11-27T12:30:00Z");
        let ahead = run("20271127T120000Z-0000000a", "2027-11-27T12:00:00Z", "2027-11-27T12:00:00Z");
        let sound = run("20261127T060000Z-0000000b", "2026-11-27T06:00:00Z", "2026-11-27T06:00:00Z");
        // Alone it is no run at all, also where a job that was never run would wait.
        assert_eq!(remember(&timing, std::slice::from_ref(&ahead), now, now), Memory::default());
        let memory = remember(&timing, &[ahead, sound], now, now);
        assert_eq!(memory.settled, Some(at("2026-11-27T06:00:00Z")));
        let due = next(&timing, TimeDelta::zero(), &memory, now).unwrap();
        assert_eq!((due.at, due.cause), (at("2026-11-27T12:00:00Z"), RunCause::CatchUp));
        // Clocks that are minutes apart are none that are wrong.
        let near = run("20261127T123500Z-0000000c", "2026-11-27T12:35:00Z", "2026-11-27T12:35:00Z");
        assert_eq!(remember(&timing, &[near], now, now).settled, Some(at("2026-11-27T12:35:00Z")));
        let memory = Memory { settled: Some(at("2027-11-27T12:00:00Z")), pending: None };
        assert!(memory.is_ahead(now) && !Memory::default().is_ahead(now));
    }

    #[test]
    fn spans_that_no_clock_can_count_are_refused_and_end_nothing() {
        let now = at("2026-11-27T12:30:00Z");
        let fine = timing("0 * * * *");
        assert_eq!(fine.fault(), None);
        let endless = Duration::from_secs(u64::MAX / 4);
        let wrong = [
            (fine.clone().with_backoff(endless).with_retries(3, endless), "backoff"),
            (fine.clone().with_retries(3, endless), "window"),
            (fine.clone().with_limit(Duration::ZERO), "limit"),
            (Timing::new(fine.schedule.with_jitter(endless)), "jitter"),
        ];
        for (timing, key) in wrong {
            assert!(timing.fault().unwrap().contains(key), "{key}");
            timing.retry(u32::MAX, now, now);
            let delay = timing.schedule.delay("work", "a");
            assert!(next(&timing, delay, &Memory { settled: Some(now), pending: None }, now).is_some());
        }
    }
}
