//! Grandfather, father, son: fewer backups the further one looks back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::period::{Period, PeriodKind};
use super::{Decision, RetentionCandidate, RetentionPlan, RetentionPolicy, oldest_first};

/// Keeps the newest backup of each of the last days, weeks, months and years that have one.
///
/// - A period counts if it has a backup: after a month without backups the last seven days are still seven backups.
/// - Of a period the **newest** stays. Once the period is over that is the same one for ever, so pruning every day and
///   pruning once at the end leave the same backups. Of the running period it is the latest, for now.
/// - One backup may stand for its day, its week and its month at once, and then has three reasons.
/// - Days and months are UTC's; weeks begin on Monday (ISO 8601). Each group is counted by itself.
/// - 0 turns a rule off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gfs {
    /// How many days.
    pub daily: u32,
    /// How many ISO weeks.
    pub weekly: u32,
    /// How many months.
    pub monthly: u32,
    /// How many years.
    pub yearly: u32,
}

impl Default for Gfs {
    /// 7 days, 4 weeks, 12 months, no years.
    fn default() -> Self {
        Self { daily: 7, weekly: 4, monthly: 12, yearly: 0 }
    }
}

impl Gfs {
    /// Returns the rules that are not off.
    fn rules(&self) -> Vec<(PeriodKind, u32)> {
        let all = [
            (PeriodKind::Day, self.daily),
            (PeriodKind::Week, self.weekly),
            (PeriodKind::Month, self.monthly),
            (PeriodKind::Year, self.yearly),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

impl RetentionPolicy for Gfs {
    fn describe(&self) -> String {
        let rules = self.rules();
        if rules.is_empty() {
            return "nothing by calendar".to_owned();
        }
        rules.iter().map(|(kind, count)| format!("{count} {}", kind.adverb())).collect::<Vec<_>>().join(", ")
    }

    fn plan(&self, _now: DateTime<Utc>, backups: &[RetentionCandidate]) -> RetentionPlan {
        let sorted = oldest_first(backups);
        let tables: Vec<_> = self.rules().into_iter().map(|(kind, count)| Table::new(kind, count, &sorted)).collect();
        RetentionPlan { decisions: sorted.into_iter().map(|backup| decide(backup, &tables)).collect() }
    }
}

/// For each group, the periods that have a backup and the newest backup of each.
struct Table<'a> {
    kind: PeriodKind,
    count: usize,
    groups: BTreeMap<&'a str, BTreeMap<Period, &'a RetentionCandidate>>,
}

impl<'a> Table<'a> {
    fn new(kind: PeriodKind, count: u32, sorted: &[&'a RetentionCandidate]) -> Self {
        let mut groups: BTreeMap<&str, BTreeMap<_, _>> = BTreeMap::new();
        for backup in sorted {
            // Later ones replace earlier ones: what remains is the newest.
            groups.entry(&backup.group).or_default().insert(kind.of(backup.created), *backup);
        }
        Self { kind, count: count as usize, groups }
    }

    /// Returns why this rule keeps `backup`, or else why not.
    fn judge(&self, backup: &RetentionCandidate) -> Result<String, String> {
        let periods = &self.groups[backup.group.as_str()];
        let period = self.kind.of(backup.created);
        if periods[&period].id != backup.id {
            return Err(format!("{period} has a newer one"));
        }
        let newer = periods.range(period..).count() - 1;
        if newer < self.count {
            Ok(format!("{} {period}", self.kind.adverb()))
        } else {
            Err(format!("{period} is before the last {} {}", self.count, self.kind.plural()))
        }
    }
}

fn decide(backup: &RetentionCandidate, tables: &[Table<'_>]) -> Decision {
    let (mut kept, mut not) = (Vec::new(), Vec::new());
    for table in tables {
        match table.judge(backup) {
            Ok(reason) => kept.push(reason),
            Err(reason) => not.push(reason),
        }
    }
    let keep = !kept.is_empty();
    if tables.is_empty() {
        not.push("no rule by calendar".to_owned());
    }
    Decision { id: backup.id.clone(), keep, reasons: if keep { kept } else { not } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BackupId;

    fn backups(times: &[&str]) -> Vec<RetentionCandidate> {
        let time = |text: &&str| format!("{text}:00Z").parse::<DateTime<Utc>>().unwrap();
        times.iter().map(time).map(|time| RetentionCandidate::new(BackupId::generate(time), time, "full")).collect()
    }

    fn reasons(policy: Gfs, times: &[&str]) -> Vec<(bool, String)> {
        let plan = policy.plan("2026-11-24T12:00:00Z".parse().unwrap(), &backups(times));
        plan.decisions.into_iter().map(|decision| (decision.keep, decision.reasons.join("; "))).collect()
    }

    #[test]
    fn the_newest_of_a_period_stands_for_it_and_each_decision_says_why() {
        let policy = Gfs { daily: 2, weekly: 0, monthly: 2, yearly: 0 };
        let times =
            ["2026-10-31T06:00", "2026-11-22T06:00", "2026-11-23T06:00", "2026-11-24T00:00", "2026-11-24T06:00"];
        assert_eq!(
            reasons(policy, &times),
            [
                (true, "monthly 2026-10".to_owned()),
                (false, "2026-11-22 is before the last 2 days; 2026-11 has a newer one".to_owned()),
                (true, "daily 2026-11-23".to_owned()),
                (false, "2026-11-24 has a newer one; 2026-11 has a newer one".to_owned()),
                (true, "daily 2026-11-24; monthly 2026-11".to_owned()),
            ]
        );
    }

    #[test]
    fn days_without_backups_do_not_count() {
        let times = ["2024-01-01T06:00", "2025-01-01T06:00", "2026-01-01T06:00"];
        let kept = reasons(Gfs { daily: 2, weekly: 0, monthly: 0, yearly: 0 }, &times);
        assert_eq!(kept.iter().map(|(keep, _)| *keep).collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn with_every_rule_off_nothing_is_kept_and_it_says_so() {
        let off = Gfs { daily: 0, weekly: 0, monthly: 0, yearly: 0 };
        assert_eq!(reasons(off, &["2026-01-01T06:00"]), [(false, "no rule by calendar".to_owned())]);
    }
}
