//! When which drill is due: a pure function of the time, the plan, and what was done.

use chrono::{DateTime, Datelike as _, Months, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::Scenario;
use crate::repository::DrillRecord;
use crate::types::DrillId;

/// How often a drill is done. Months, quarters and years are those of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DrillRhythm {
    /// In every month.
    Month,
    /// In every quarter.
    Quarter,
    /// In the first quarter of every year.
    Q1,
    /// In the second.
    Q2,
    /// In the third.
    Q3,
    /// In the fourth.
    Q4,
}

/// A drill that is to be done again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedDrill {
    /// What is rehearsed.
    pub scenario: Scenario,
    /// How often.
    pub every: DrillRhythm,
}

/// How a planned drill stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DrillState {
    /// It was done in this period.
    Done,
    /// It is to be done in this period, or in the next one that it is planned for.
    Due,
    /// It was not done in the last period, nor since.
    Overdue,
}

/// A planned drill, and when it is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DrillDue {
    /// What is rehearsed.
    pub scenario: Scenario,
    /// The beginning of the period that it is due in.
    pub from: DateTime<Utc>,
    /// Its end.
    pub until: DateTime<Utc>,
    /// How it stands.
    pub state: DrillState,
    /// The last one that passed.
    pub last: Option<DrillId>,
    /// When that ended.
    pub last_at: Option<DateTime<Utc>>,
}

/// The plan where nobody makes another: a restore every month, and each quarter one of the great ones.
pub fn quarterly_calendar() -> Vec<PlannedDrill> {
    let plan = |scenario, every| PlannedDrill { scenario, every };
    vec![
        plan(Scenario::Restore, DrillRhythm::Month),
        plan(Scenario::DatabaseFailure, DrillRhythm::Q1),
        plan(Scenario::RegionFailover, DrillRhythm::Q2),
        plan(Scenario::DataCorruption, DrillRhythm::Q3),
        plan(Scenario::FullRecovery, DrillRhythm::Q4),
    ]
}

/// Says how each planned drill stands. `since` is when there was something to rehearse: nothing was due in a period that began before.
///
/// A drill counts if it passed, whether or not it met its objectives.
pub fn drills_due(
    now: DateTime<Utc>,
    since: DateTime<Utc>,
    plan: &[PlannedDrill],
    drills: &[DrillRecord],
) -> Vec<DrillDue> {
    plan.iter().map(|planned| due(now, since, *planned, drills)).collect()
}

fn due(now: DateTime<Utc>, since: DateTime<Utc>, planned: PlannedDrill, drills: &[DrillRecord]) -> DrillDue {
    let name = planned.scenario.as_str();
    let last = drills.iter().filter(|drill| drill.scenario == name && drill.passed()).max_by_key(|drill| drill.ended);
    let done_since = |moment: DateTime<Utc>| last.is_some_and(|drill| drill.ended >= moment);
    let (from, until) = planned.every.period(now);
    let (before, _) = planned.every.previous(from);
    let state = match () {
        () if from <= now && done_since(from) => DrillState::Done,
        () if before >= since && !done_since(before) => DrillState::Overdue,
        () => DrillState::Due,
    };
    let (last, last_at) = last.map(|drill| (drill.id.clone(), drill.ended)).unzip();
    DrillDue { scenario: planned.scenario, from, until, state, last, last_at }
}

impl DrillRhythm {
    /// How many months a period has, and in which month, counted from 0, one can begin in a cycle of `.2` months.
    fn months(self) -> (u32, u32, u32) {
        match self {
            Self::Month => (1, 0, 1),
            Self::Quarter => (3, 0, 3),
            Self::Q1 => (3, 0, 12),
            Self::Q2 => (3, 3, 12),
            Self::Q3 => (3, 6, 12),
            Self::Q4 => (3, 9, 12),
        }
    }

    /// Returns the period that a moment lies in, or the next one.
    fn period(self, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let (length, first, cycle) = self.months();
        let month = now.month0();
        // The beginnings in this year, and the first one of the next.
        let begins = (0..=12 / cycle).map(|number| first + number * cycle);
        let begin = begins.into_iter().find(|begin| month < begin + length).unwrap_or(first + 12);
        let from = add_months(january(now.year()), begin);
        (from, add_months(from, length))
    }

    /// Returns the period before the one that begins at a moment.
    fn previous(self, from: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let (length, _, cycle) = self.months();
        let before = from.checked_sub_months(Months::new(cycle)).unwrap_or(from);
        (before, add_months(before, length))
    }
}

fn january(year: i32) -> DateTime<Utc> {
    let first = NaiveDate::from_ymd_opt(year, 1, 1).and_then(|day| day.and_hms_opt(0, 0, 0));
    first.map(|moment| moment.and_utc()).unwrap_or_default()
}

fn add_months(moment: DateTime<Utc>, months: u32) -> DateTime<Utc> {
    moment.checked_add_months(Months::new(months)).unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moment(text: &str) -> DateTime<Utc> {
        format!("{text}T12:00:00Z").parse().unwrap()
    }

    fn drill(scenario: Scenario, day: &str, passed: bool) -> DrillRecord {
        let at = moment(day);
        DrillRecord {
            id: DrillId::generate(at),
            scenario: scenario.to_string(),
            by: "ann".to_owned(),
            by_hand: false,
            began: at,
            ended: at,
            rto_seconds: None,
            rpo_seconds: None,
            rto_objective_seconds: None,
            rpo_objective_seconds: None,
            backups: Vec::new(),
            restored_bytes: None,
            restore_seconds: None,
            replayed_bytes: None,
            replay_seconds: None,
            findings: if passed { Vec::new() } else { vec!["a row was missing".to_owned()] },
            note: None,
            runbook: None,
            own_runbook: false,
            steps: Vec::new(),
        }
    }

    fn state(now: &str, since: &str, every: DrillRhythm, drills: &[DrillRecord]) -> (DrillState, String, String) {
        let planned = PlannedDrill { scenario: Scenario::Restore, every };
        let due = drills_due(moment(now), moment(since), &[planned], drills).remove(0);
        (due.state, due.from.date_naive().to_string(), due.until.date_naive().to_string())
    }

    #[test]
    fn a_month_that_passed_without_one_is_overdue_until_one_is_done() {
        use DrillRhythm::Month;
        let restore = |day, passed| vec![drill(Scenario::Restore, day, passed)];
        let november = ("2026-11-01".to_owned(), "2026-12-01".to_owned());
        let with = |state| (state, november.0.clone(), november.1.clone());
        assert_eq!(state("2026-11-27", "2026-01-05", Month, &[]), with(DrillState::Overdue));
        assert_eq!(state("2026-11-27", "2026-10-05", Month, &[]), with(DrillState::Due), "October was no whole month");
        assert_eq!(state("2026-11-27", "2026-01-05", Month, &restore("2026-10-31", true)), with(DrillState::Due));
        assert_eq!(state("2026-11-27", "2026-01-05", Month, &restore("2026-09-30", true)), with(DrillState::Overdue));
        assert_eq!(state("2026-11-27", "2026-01-05", Month, &restore("2026-11-02", true)), with(DrillState::Done));
        assert_eq!(state("2026-11-27", "2026-01-05", Month, &restore("2026-11-02", false)), with(DrillState::Overdue));
        let other = vec![drill(Scenario::FullRecovery, "2026-11-02", true)];
        assert_eq!(state("2026-11-27", "2026-01-05", Month, &other), with(DrillState::Overdue));
    }

    #[test]
    fn a_quarter_of_the_year_comes_again_in_the_next() {
        use DrillRhythm::{Q1, Q3, Q4, Quarter};
        let passed = |day| vec![drill(Scenario::Restore, day, true)];
        let expect = |state, from: &str, until: &str| (state, from.to_owned(), until.to_owned());
        let (due, done, overdue) = (DrillState::Due, DrillState::Done, DrillState::Overdue);
        assert_eq!(state("2026-11-27", "2026-11-01", Q4, &[]), expect(due, "2026-10-01", "2027-01-01"));
        assert_eq!(state("2026-11-27", "2026-11-01", Q1, &[]), expect(due, "2027-01-01", "2027-04-01"));
        assert_eq!(state("2026-11-27", "2025-12-01", Q1, &[]), expect(overdue, "2027-01-01", "2027-04-01"));
        assert_eq!(
            state("2026-11-27", "2025-12-01", Q1, &passed("2026-05-01")),
            expect(due, "2027-01-01", "2027-04-01")
        );
        assert_eq!(
            state("2026-08-01", "2025-01-01", Q3, &passed("2026-07-01")),
            expect(done, "2026-07-01", "2026-10-01")
        );
        assert_eq!(
            state("2026-01-01", "2024-01-01", Quarter, &passed("2025-10-02")),
            expect(due, "2026-01-01", "2026-04-01")
        );
        assert_eq!(
            state("2026-01-01", "2024-01-01", Quarter, &passed("2025-09-30")),
            expect(overdue, "2026-01-01", "2026-04-01")
        );
    }

    proptest! {
        /// Whatever day it is, the period that is due has not ended, begins where the one before it may begin again, and a drill of
        /// today is never overdue.
        #[test]
        fn a_period_is_never_past_and_a_drill_of_today_counts(day in 0_i64..40_000, rhythm in 0_usize..6) {
            let every = [DrillRhythm::Month, DrillRhythm::Quarter, DrillRhythm::Q1, DrillRhythm::Q2, DrillRhythm::Q3, DrillRhythm::Q4][rhythm];
            let now = DateTime::from_timestamp(day * 86_400 + 7, 0).unwrap();
            let (from, until) = every.period(now);
            prop_assert!(now < until && from < until);
            let (before, ended) = every.previous(from);
            prop_assert!(ended <= from && every.period(before) == (before, ended));
            prop_assert!(now >= ended, "no period lies between");
            let mut today = drill(Scenario::Restore, "2026-01-01", true);
            today.ended = now;
            let planned = PlannedDrill { scenario: Scenario::Restore, every };
            let due = drills_due(now, DateTime::UNIX_EPOCH - chrono::TimeDelta::days(4000), &[planned], &[today]);
            prop_assert_ne!(due[0].state, DrillState::Overdue);
        }
    }
}
