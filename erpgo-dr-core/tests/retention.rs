//! Retention over time: a simulated year, and properties that hold for any catalogue and any policy.

#![allow(clippy::unwrap_used)] // in the helpers too, where clippy does not see a test

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, TimeDelta, Utc, Weekday};
use erpgo_dr_core::RetentionPolicy;
use erpgo_dr_core::conformance;
use erpgo_dr_core::retention::{
    AllOf, AnyOf, Gfs, Guarded, KeepAll, KeepLast, KeepWithin, RetentionCandidate, RetentionSettings,
};
use erpgo_dr_core::types::BackupId;
use proptest::prelude::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A backup that began at `time`; `number` makes its name its own.
fn backup(time: DateTime<Utc>, number: u32, group: &str) -> RetentionCandidate {
    let id = format!("{}-{number:08x}", time.format("%Y%m%dT%H%M%SZ")).parse().unwrap();
    RetentionCandidate::new(id, time, group)
}

fn prune(policy: &dyn RetentionPolicy, now: DateTime<Utc>, backups: &mut Vec<RetentionCandidate>) {
    let kept: BTreeSet<BackupId> = policy.plan(now, backups).kept().cloned().collect();
    backups.retain(|backup| kept.contains(&backup.id));
}

fn ids(backups: &[RetentionCandidate]) -> BTreeSet<BackupId> {
    backups.iter().map(|backup| backup.id.clone()).collect()
}

#[test]
fn every_policy_of_ours_conforms() {
    let policies: Vec<Box<dyn RetentionPolicy>> = vec![
        Box::new(Gfs::default()),
        Box::new(Gfs { daily: 1, weekly: 0, monthly: 2, yearly: 5 }),
        Box::new(Gfs { daily: 0, weekly: 0, monthly: 0, yearly: 0 }),
        Box::new(KeepLast(0)),
        Box::new(KeepLast(3)),
        Box::new(KeepWithin(TimeDelta::days(100))),
        Box::new(KeepAll),
        Box::new(AnyOf(vec![Box::new(Gfs::default()), Box::new(KeepLast(9))])),
        Box::new(AllOf(vec![Box::new(Gfs::default()), Box::new(KeepWithin(TimeDelta::days(90)))])),
        Box::new(AllOf(vec![
            Box::new(AnyOf(vec![Box::new(KeepLast(5)), Box::new(Gfs::default())])),
            Box::new(KeepAll),
        ])),
        Box::new(AnyOf(Vec::new())),
        RetentionSettings::default().policy().unwrap(),
    ];
    for policy in &policies {
        conformance::retention::run(policy);
    }
}

/// The moments of a cron job at 00:30, 06:30, 12:30 and 18:30 of a wall clock that is one hour ahead of UTC in winter
/// and two in summer, as in Berlin: across the switches the distance is 7 and 5 hours.
fn wall_clock_every_six_hours(from: DateTime<Utc>, days: i64) -> Vec<DateTime<Utc>> {
    let wall = |day: i64, hour: i64| from + TimeDelta::days(day) + TimeDelta::hours(hour) + TimeDelta::minutes(30);
    let walls = (0..days).flat_map(|day| [0, 6, 12, 18].map(|hour| wall(day, hour)));
    walls.map(|wall| wall - TimeDelta::hours(if is_summer(wall) { 2 } else { 1 })).collect()
}

fn is_summer(wall: DateTime<Utc>) -> bool {
    let last_sunday = |month: u32| {
        let days = (25..=31).map(|day| chrono::NaiveDate::from_ymd_opt(wall.year(), month, day).unwrap());
        days.into_iter().find(|date| date.weekday() == Weekday::Sun).unwrap()
    };
    (last_sunday(3)..last_sunday(10)).contains(&wall.date_naive())
}

#[test]
fn a_year_and_more_of_six_hourly_backups_ends_in_seven_four_and_twelve() {
    let policy = Guarded::new(Gfs::default());
    // Ends of days, weeks, months, years, and days right after both changes of the clock, in a year of 53 weeks.
    for end in ["2026-11-24", "2026-12-31", "2027-01-01", "2027-01-04", "2026-03-30", "2026-10-26", "2028-02-29"] {
        let end = utc(&format!("{end}T00:00:00Z"));
        let start = end - TimeDelta::days(420);
        let mut backups: Vec<RetentionCandidate> = Vec::new();
        let mut all = Vec::new();
        let moments = wall_clock_every_six_hours(start, 420);
        assert!(moments.windows(2).any(|pair| pair[1] - pair[0] == TimeDelta::hours(5)), "a switch lies in it");
        for (number, time) in moments.into_iter().enumerate() {
            let mut new = backup(time, number as u32, "full");
            new.verified = Some(time);
            backups.push(new.clone());
            all.push(new);
            if number % 4 == 3 {
                prune(&policy, time, &mut backups);
            }
        }
        check_pattern(&policy, &backups, &all);
    }
}

/// Exactly 7 days, 4 weeks and 12 months have their newest backup, and nothing else is left.
fn check_pattern(policy: &dyn RetentionPolicy, left: &[RetentionCandidate], all: &[RetentionCandidate]) {
    let now = all.last().unwrap().created;
    let decisions = policy.plan(now, left).decisions;
    for (rule, count) in [("daily ", 7), ("weekly ", 4), ("monthly ", 12)] {
        let labels: BTreeSet<_> =
            decisions.iter().flat_map(|decision| &decision.reasons).filter(|reason| reason.starts_with(rule)).collect();
        assert_eq!(labels.len(), count, "{now}: {labels:?}");
    }
    // An independent count: the newest of each period, straight from everything that ever was.
    let mut expected = BTreeSet::new();
    for (count, period) in periods() {
        let mut seen = BTreeSet::new();
        for backup in all.iter().rev() {
            if seen.len() < count && seen.insert(period(backup.created)) {
                expected.insert(backup.id.clone());
            }
        }
    }
    assert_eq!(ids(left), expected, "{now}");
    let mut once = all.to_vec();
    prune(policy, now, &mut once);
    assert_eq!(ids(&once), expected, "pruning every day and pruning once differ at {now}");
}

/// Names the period of a time.
type Label = fn(DateTime<Utc>) -> String;

fn periods() -> [(usize, Label); 3] {
    [
        (7, |time| time.format("%Y-%m-%d").to_string()),
        (4, |time| time.format("%G-%V").to_string()),
        (12, |time| time.format("%Y-%m").to_string()),
    ]
}

fn any_policy() -> impl Strategy<Value = Box<dyn RetentionPolicy>> {
    // A recipe first: proptest wants what it shrinks to be cloned.
    let leaf = prop_oneof![
        (0_u32..4, 0_u32..4, 0_u32..4, 0_u32..3).prop_map(|(d, w, m, y)| Recipe::Gfs(d, w, m, y)),
        (0_u32..5).prop_map(Recipe::Last),
        (0_i64..400).prop_map(Recipe::Within),
        Just(Recipe::All),
    ];
    let tree = leaf.prop_recursive(3, 8, 3, |inner| {
        (any::<bool>(), prop::collection::vec(inner, 0..3)).prop_map(|(any, inner)| Recipe::Join(any, inner))
    });
    tree.prop_map(|recipe| recipe.build())
}

#[derive(Debug, Clone)]
enum Recipe {
    Gfs(u32, u32, u32, u32),
    Last(u32),
    Within(i64),
    All,
    Join(bool, Vec<Recipe>),
}

impl Recipe {
    fn build(&self) -> Box<dyn RetentionPolicy> {
        match self {
            Self::Gfs(daily, weekly, monthly, yearly) => {
                Box::new(Gfs { daily: *daily, weekly: *weekly, monthly: *monthly, yearly: *yearly })
            }
            Self::Last(count) => Box::new(KeepLast(*count)),
            Self::Within(days) => Box::new(KeepWithin(TimeDelta::days(*days))),
            Self::All => Box::new(KeepAll),
            Self::Join(true, inner) => Box::new(AnyOf(inner.iter().map(Self::build).collect())),
            Self::Join(false, inner) => Box::new(AllOf(inner.iter().map(Self::build).collect())),
        }
    }
}

const NOW: &str = "2026-11-24T12:00:00Z";

/// A catalogue of up to 60 backups, from 2 years ago to 10 days ahead, in any order.
fn any_catalogue() -> impl Strategy<Value = Vec<RetentionCandidate>> {
    let one = (-10 * 24_i64..2 * 365 * 24, 0_u8..2, any::<[u8; 4]>());
    prop::collection::vec(one, 0..60).prop_map(|rows| {
        let mut backups: Vec<RetentionCandidate> = Vec::new();
        for (number, (age, group, [verified, held, needs, which])) in rows.into_iter().enumerate() {
            let time = utc(NOW) - TimeDelta::hours(age);
            let mut new = backup(time, number as u32, ["full", "schema"][usize::from(group)]);
            new.verified = (verified < 80).then(|| utc(NOW));
            new.held = held < 15;
            if needs < 60 && !backups.is_empty() {
                new.needs.push(backups[usize::from(which) % backups.len()].id.clone());
            }
            backups.push(new);
        }
        backups
    })
}

/// What happens to a repository.
#[derive(Debug, Clone)]
enum Event {
    Hours(u16),
    /// The clock is set back, or a wrong one is set right.
    ClockBack(u16),
    Backup(bool),
    Verify(u8),
    FoundBad(u8),
    Hold(u8, bool),
    Prune,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1_u16..2000).prop_map(Event::Hours),
        1 => (1_u16..500).prop_map(Event::ClockBack),
        4 => any::<bool>().prop_map(Event::Backup),
        2 => any::<u8>().prop_map(Event::Verify),
        1 => any::<u8>().prop_map(Event::FoundBad),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(which, held)| Event::Hold(which, held)),
        4 => Just(Event::Prune),
    ]
}

fn last_verified(backups: &[RetentionCandidate], group: &str, now: DateTime<Utc>) -> Option<BackupId> {
    let of_group = backups.iter().filter(|backup| backup.group == group && backup.created <= now);
    let verified = of_group.filter(|backup| backup.verified.is_some());
    verified.max_by_key(|backup| (backup.created, backup.id.clone())).map(|backup| backup.id.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_backups_and_prunes_removes_the_last_verified(
        policy in any_policy(), events in prop::collection::vec(any_event(), 1..120),
    ) {
        let policy = Guarded::new(policy);
        let (mut now, mut backups) = (utc(NOW), Vec::<RetentionCandidate>::new());
        for (number, event) in events.into_iter().enumerate() {
            let count = backups.len().max(1);
            match event {
                Event::Hours(hours) => now += TimeDelta::hours(hours.into()),
                Event::ClockBack(hours) => now -= TimeDelta::hours(hours.into()),
                Event::Backup(full) => backups.push(backup(now, number as u32, if full { "full" } else { "schema" })),
                Event::Verify(which) => backups.get_mut(usize::from(which) % count).into_iter().for_each(|b| b.verified = Some(now)),
                Event::FoundBad(which) => backups.get_mut(usize::from(which) % count).into_iter().for_each(|b| b.verified = None),
                Event::Hold(which, held) => backups.get_mut(usize::from(which) % count).into_iter().for_each(|b| b.held = held),
                Event::Prune => {
                    let before = backups.clone();
                    prune(&policy, now, &mut backups);
                    for group in ["full", "schema"] {
                        prop_assert_eq!(last_verified(&before, group, now), last_verified(&backups, group, now));
                        let had = before.iter().any(|backup| backup.group == group);
                        prop_assert_eq!(had, backups.iter().any(|backup| backup.group == group), "a group was emptied");
                    }
                    prop_assert!(before.iter().filter(|backup| backup.held).all(|held| ids(&backups).contains(&held.id)));
                }
            }
        }
    }

    #[test]
    fn what_is_kept_has_what_it_needs(policy in any_policy(), backups in any_catalogue()) {
        let kept: BTreeSet<_> = Guarded::new(policy).plan(utc(NOW), &backups).kept().cloned().collect();
        for backup in backups.iter().filter(|backup| kept.contains(&backup.id)) {
            prop_assert!(backup.needs.iter().all(|needed| kept.contains(needed)));
        }
    }

    #[test]
    fn planning_again_on_what_is_kept_keeps_it_all(policy in any_policy(), backups in any_catalogue()) {
        let policy = Guarded::new(policy);
        let mut left = backups;
        prune(&policy, utc(NOW), &mut left);
        prop_assert_eq!(policy.plan(utc(NOW), &left).expired().count(), 0);
    }

    #[test]
    fn the_order_of_the_catalogue_does_not_matter(
        policy in any_policy(),
        (backups, shuffled) in any_catalogue().prop_flat_map(|backups| (Just(backups.clone()), Just(backups).prop_shuffle())),
    ) {
        let policy = Guarded::new(policy);
        prop_assert_eq!(policy.plan(utc(NOW), &backups), policy.plan(utc(NOW), &shuffled));
    }

    #[test]
    fn a_larger_count_keeps_no_fewer(
        backups in any_catalogue(), counts in any::<[u8; 4]>(), more in any::<[u8; 4]>(), last in 0_u32..20,
    ) {
        let gfs = |add: [u8; 4]| {
            let [daily, weekly, monthly, yearly] = std::array::from_fn(|i| u32::from(counts[i] % 10) + u32::from(add[i] % 5));
            Guarded::new(Gfs { daily, weekly, monthly, yearly })
        };
        let kept = |policy: &dyn RetentionPolicy| policy.plan(utc(NOW), &backups).kept().cloned().collect::<BTreeSet<_>>();
        prop_assert!(kept(&gfs([0; 4])).is_subset(&kept(&gfs(more))));
        prop_assert!(kept(&Guarded::new(KeepLast(last))).is_subset(&kept(&Guarded::new(KeepLast(last + 1)))));
        let within = |days| Guarded::new(KeepWithin(TimeDelta::days(days)));
        prop_assert!(kept(&within(last.into())).is_subset(&kept(&within(i64::from(last) * 2))));
    }
}
