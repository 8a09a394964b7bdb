//! Rules by count and by age.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::settings::duration_text;
use super::{Decision, RetentionCandidate, RetentionPlan, RetentionPolicy, oldest_first};

/// Keeps the newest so many backups of each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepLast(pub u32);

impl RetentionPolicy for KeepLast {
    fn describe(&self) -> String {
        format!("last {}", self.0)
    }

    fn plan(&self, _now: DateTime<Utc>, backups: &[RetentionCandidate]) -> RetentionPlan {
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        let newest_first = oldest_first(backups).into_iter().rev();
        let decide = |backup: &RetentionCandidate, rank: u32| {
            let keep = rank <= self.0;
            let reason =
                if keep { format!("last {rank} of {}", self.0) } else { format!("not in the last {}", self.0) };
            Decision { id: backup.id.clone(), keep, reasons: vec![reason] }
        };
        let decisions = newest_first.map(|backup| {
            let rank = seen.entry(&backup.group).or_default();
            *rank = rank.saturating_add(1);
            decide(backup, *rank)
        });
        let mut decisions: Vec<_> = decisions.collect();
        decisions.reverse();
        RetentionPlan { decisions }
    }
}

/// Keeps what is no older than a span of time, counted back from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepWithin(pub TimeDelta);

impl RetentionPolicy for KeepWithin {
    fn describe(&self) -> String {
        format!("within {}", duration_text(self.0))
    }

    fn plan(&self, now: DateTime<Utc>, backups: &[RetentionCandidate]) -> RetentionPlan {
        let span = duration_text(self.0);
        let decide = |backup: &RetentionCandidate| {
            let keep = now - backup.created <= self.0;
            let reason = if keep { format!("within {span}") } else { format!("older than {span}") };
            Decision { id: backup.id.clone(), keep, reasons: vec![reason] }
        };
        RetentionPlan { decisions: oldest_first(backups).into_iter().map(decide).collect() }
    }
}

/// Keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeepAll;

impl RetentionPolicy for KeepAll {
    fn describe(&self) -> String {
        "all".to_owned()
    }

    fn plan(&self, _now: DateTime<Utc>, backups: &[RetentionCandidate]) -> RetentionPlan {
        let keep = |backup: &RetentionCandidate| Decision {
            id: backup.id.clone(),
            keep: true,
            reasons: vec!["all are kept".to_owned()],
        };
        RetentionPlan { decisions: oldest_first(backups).into_iter().map(keep).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BackupId;

    fn hours_before(now: DateTime<Utc>, ages: &[i64], group: &str) -> Vec<RetentionCandidate> {
        let times = ages.iter().map(|age| now - TimeDelta::hours(*age));
        times.map(|time| RetentionCandidate::new(BackupId::generate(time), time, group)).collect()
    }

    fn keeps(plan: &RetentionPlan) -> Vec<bool> {
        plan.decisions.iter().map(|decision| decision.keep).collect()
    }

    #[test]
    fn the_last_are_counted_in_each_group() {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        let mut backups = hours_before(now, &[1, 3, 5], "full");
        backups.extend(hours_before(now, &[2, 4], "schema"));
        let plan = KeepLast(2).plan(now, &backups);
        assert_eq!(keeps(&plan), [false, true, true, true, true]);
        assert_eq!(plan.decisions[4].reasons, ["last 1 of 2"]);
        assert_eq!(plan.decisions[0].reasons, ["not in the last 2"]);
    }

    #[test]
    fn the_edge_of_the_span_is_within() {
        let now = "2026-11-24T12:00:00Z".parse().unwrap();
        let mut backups = hours_before(now, &[24, 48], "full");
        backups[1].created -= TimeDelta::nanoseconds(1);
        assert_eq!(keeps(&KeepWithin(TimeDelta::days(2)).plan(now, &backups)), [false, true]);
    }
}
