//! Days, ISO weeks, months and years, in UTC.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, Utc};

/// A length of the calendar by which backups are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeriodKind {
    Day,
    Week,
    Month,
    Year,
}

impl PeriodKind {
    /// Returns the period in which `time` lies.
    pub(super) fn of(self, time: DateTime<Utc>) -> Period {
        let date = time.date_naive();
        match self {
            Self::Day => Period::Day(date),
            // The year of an ISO week is that of its Thursday: 2027-01-01 lies in 2026-W53.
            Self::Week => Period::Week(date.iso_week().year(), date.iso_week().week()),
            Self::Month => Period::Month(date.year(), date.month()),
            Self::Year => Period::Year(date.year()),
        }
    }

    /// Returns the word for a reason: `daily`.
    pub(super) fn adverb(self) -> &'static str {
        match self {
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }

    /// Returns the word for several of them: `days`.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Day => "days",
            Self::Week => "weeks",
            Self::Month => "months",
            Self::Year => "years",
        }
    }
}

/// One day, week, month or year. Those of one kind are ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Period {
    Day(NaiveDate),
    Week(i32, u32),
    Month(i32, u32),
    Year(i32),
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(date) => write!(f, "{date}"),
            Self::Week(year, week) => write!(f, "{year}-W{week:02}"),
            Self::Month(year, month) => write!(f, "{year}-{month:02}"),
            Self::Year(year) => write!(f, "{year}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_cross_the_year_and_order_by_time() {
        let week = |text: &str| PeriodKind::Week.of(text.parse().unwrap());
        assert_eq!(week("2027-01-01T00:00:00Z").to_string(), "2026-W53");
        assert_eq!(week("2024-12-30T00:00:00Z").to_string(), "2025-W01");
        assert!(week("2027-01-03T23:59:59Z") < week("2027-01-04T00:00:00Z"));
    }

    #[test]
    fn the_day_is_the_utc_day() {
        let berlin = "2026-10-25T00:30:00+02:00".parse::<DateTime<chrono::FixedOffset>>().unwrap();
        assert_eq!(PeriodKind::Day.of(berlin.to_utc()).to_string(), "2026-10-24");
    }
}
