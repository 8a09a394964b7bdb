//! When a job is due: a cron pattern, read in a time zone, and a delay that spreads hosts.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::types::ContentHash;

/// A text that is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The text is no cron pattern.
    #[error("{pattern:?} is no schedule: {reason}")]
    Pattern {
        /// The text.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No moment ever matches it.
    #[error("the schedule {pattern:?} never comes")]
    Never {
        /// The pattern.
        pattern: String,
    },
    /// There is no such time zone.
    #[error("{name:?} is no time zone")]
    TimeZone {
        /// The text.
        name: String,
    },
}

/// A cron pattern of five fields (minute, hour, day of the month, month, day of the week) in a time zone; a sixth one before them is the second.
///
/// Where clocks are put forward, a pattern with one hour and one minute that would be skipped comes right behind the gap; where they are put
/// back it comes once, the first time. Patterns with several hours or minutes (`*/10 * * * *`) follow the clock: what falls into the gap is left
/// out, and the hour that is repeated has them twice.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Box<Cron>,
    pattern: String,
    zone: Tz,
    jitter: Duration,
}

impl Schedule {
    /// Reads a pattern, and the name of a time zone as the IANA has it: `UTC`, `Europe/Berlin`.
    ///
    /// # Errors
    /// [`ScheduleError`] says which of the two is wrong.
    pub fn new(pattern: &str, zone: &str) -> Result<Self, ScheduleError> {
        let zone: Tz = zone.parse().map_err(|_| ScheduleError::TimeZone { name: zone.to_owned() })?;
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser
            .parse(pattern)
            .map_err(|error| ScheduleError::Pattern { pattern: pattern.to_owned(), reason: error.to_string() })?;
        let schedule = Self { cron: Box::new(cron), pattern: pattern.to_owned(), zone, jitter: Duration::ZERO };
        match schedule.next_after(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never { pattern: pattern.to_owned() }),
        }
    }

    /// Sets the most by which a run is put off, so that many hosts do not begin at the same moment.
    pub fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Returns the pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Returns the name of the time zone.
    pub fn time_zone(&self) -> &'static str {
        self.zone.name()
    }

    /// Returns the most by which a run is put off.
    pub fn jitter(&self) -> Duration {
        self.jitter
    }

    /// Returns the first moment behind this one.
    pub fn next_after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = self.zone.from_utc_datetime(&moment.naive_utc());
        self.cron.find_next_occurrence(&local, false).ok().map(|found| found.to_utc())
    }

    /// Returns the last moment that is not behind this one.
    pub fn latest_at(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = self.zone.from_utc_datetime(&moment.naive_utc());
        self.cron.find_previous_occurrence(&local, true).ok().map(|found| found.to_utc())
    }

    /// Returns by how much a job of this name is put off on this host: always the same, in whole seconds.
    pub fn delay(&self, job: &str, host: &str) -> TimeDelta {
        // More than a week is no jitter, and nothing that every clock can count.
        let seconds = self.jitter.as_secs().min(7 * 86400);
        if seconds == 0 {
            return TimeDelta::zero();
        }
        let hash = ContentHash::of(format!("{host}\0{job}").as_bytes()).to_string();
        // The last digits of a hash, whatever stands before it in its text.
        let digits = hash.get(hash.len().saturating_sub(15)..).unwrap_or_default();
        let drawn = u64::from_str_radix(digits, 16).unwrap_or_default() % (seconds + 1);
        TimeDelta::seconds(i64::try_from(drawn).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn year_of(schedule: &Schedule, from: &str, until: &str) -> Vec<DateTime<Utc>> {
        let mut found = Vec::new();
        let mut moment = at(from);
        while let Some(next) = schedule.next_after(moment).filter(|next| *next < at(until)) {
            assert!(next > moment, "time goes forward");
            found.push(next);
            moment = next;
        }
        found
    }

    #[test]
    fn a_job_at_half_past_two_runs_once_on_every_day_of_a_year() {
        for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"] {
            let schedule = Schedule::new("30 2 * * *", zone).unwrap();
            let tz: Tz = zone.parse().unwrap();
            let found = year_of(&schedule, "2025-12-31T18:00:00Z", "2026-12-31T12:00:00Z");
            let mut days: Vec<_> = found.iter().map(|moment| moment.with_timezone(&tz).date_naive()).collect();
            let count = days.len();
            days.dedup();
            assert_eq!(days.len(), count, "{zone}: no day has two");
            let whole = (*days.last().unwrap() - days[0]).num_days() as usize + 1;
            assert_eq!(count, whole, "{zone}: no day is left out");
            // Backward the same moments are found: what was missed is made up for once.
            for pair in found.windows(2) {
                assert_eq!(schedule.latest_at(pair[1]), Some(pair[1]), "{zone}");
                assert_eq!(schedule.latest_at(pair[1] - TimeDelta::seconds(1)), Some(pair[0]), "{zone}");
            }
        }
    }

    #[test]
    fn the_gap_and_the_overlap_of_berlin() {
        let schedule = Schedule::new("30 2 * * *", "Europe/Berlin").unwrap();
        // On 2026-03-29 the clock goes from 02:00 to 03:00, which is 01:00 UTC.
        assert_eq!(schedule.next_after(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
        assert_eq!(schedule.next_after(at("2026-03-29T01:00:00Z")), Some(at("2026-03-30T00:30:00Z")));
        // On 2026-10-25 02:30 is there twice, at 00:30 and 01:30 UTC.
        assert_eq!(schedule.next_after(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T00:30:00Z")));
        assert_eq!(schedule.next_after(at("2026-10-25T00:30:00Z")), Some(at("2026-10-26T01:30:00Z")));
    }

    #[test]
    fn six_hours_of_utc_are_six_hours() {
        let schedule = Schedule::new("0 */6 * * *", "UTC").unwrap();
        let found = year_of(&schedule, "2025-12-31T23:59:59Z", "2027-01-01T00:00:00Z");
        assert_eq!(found.len(), 365 * 4);
        assert!(found.windows(2).all(|pair| pair[1] - pair[0] == TimeDelta::hours(6)));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for wrong in ["", "* * *", "0 0 0 * * * 2026", "61 * * * *", "every day"] {
            assert!(matches!(Schedule::new(wrong, "UTC"), Err(ScheduleError::Pattern { .. })), "{wrong}");
        }
        assert!(matches!(Schedule::new("0 0 30 2 *", "UTC"), Err(ScheduleError::Never { .. })));
        assert!(matches!(Schedule::new("0 0 * * *", "Mars/Olympus"), Err(ScheduleError::TimeZone { .. })));
    }

    #[test]
    fn a_delay_is_the_same_each_time_and_another_on_another_host() {
        let schedule = Schedule::new("0 * * * *", "UTC").unwrap();
        assert_eq!(schedule.delay("backup", "a"), TimeDelta::zero());
        let schedule = schedule.with_jitter(Duration::from_secs(600));
        let delays: Vec<_> = (0..50).map(|host| schedule.delay("backup", &host.to_string())).collect();
        assert!(delays.iter().all(|delay| *delay >= TimeDelta::zero() && *delay <= TimeDelta::seconds(600)));
        let different: std::collections::BTreeSet<_> = delays.iter().collect();
        assert!(different.len() > 25, "they are spread");
        assert_eq!(schedule.delay("backup", "7"), delays[7]);
        assert_ne!(schedule.delay("backup", "7"), schedule.delay("prune", "7"));
    }
}
