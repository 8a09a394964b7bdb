//! Several rules as one.

use chrono::{DateTime, Utc};

use super::{Decision, KeepAll, RetentionCandidate, RetentionPlan, RetentionPolicy};

/// Keeps what at least one of its policies keeps. Without policies it keeps everything: no rule gives nothing up.
#[derive(Debug)]
pub struct AnyOf(pub Vec<Box<dyn RetentionPolicy>>);

impl RetentionPolicy for AnyOf {
    fn describe(&self) -> String {
        describe(&self.0, " or ")
    }

    fn plan(&self, now: DateTime<Utc>, backups: &[RetentionCandidate]) -> RetentionPlan {
        join(&self.0, now, backups, |decisions| decisions.iter().any(|decision| decision.keep))
    }
}

/// Keeps what each of its policies keeps. Without policies it keeps everything.
#[derive(Debug)]
pub struct AllOf(pub Vec<Box<dyn RetentionPolicy>>);

impl RetentionPolicy for AllOf {
    fn describe(&self) -> String {
        describe(&self.0, " and ")
    }

    fn plan(&self, now: DateTime<Utc>, backups: &[RetentionCandidate]) -> RetentionPlan {
        join(&self.0, now, backups, |decisions| decisions.iter().all(|decision| decision.keep))
    }
}

fn describe(policies: &[Box<dyn RetentionPolicy>], word: &str) -> String {
    match policies {
        [] => KeepAll.describe(),
        [one] => one.describe(),
        several => several.iter().map(|policy| format!("({})", policy.describe())).collect::<Vec<_>>().join(word),
    }
}

/// Lays the plans of `policies` side by side and decides about each backup by `verdict`.
fn join(
    policies: &[Box<dyn RetentionPolicy>],
    now: DateTime<Utc>,
    backups: &[RetentionCandidate],
    verdict: impl Fn(&[Decision]) -> bool,
) -> RetentionPlan {
    if policies.is_empty() {
        return KeepAll.plan(now, backups);
    }
    let mut columns: Vec<_> = policies.iter().map(|policy| policy.plan(now, backups).decisions.into_iter()).collect();
    // Every plan has the same backups in the same order, oldest first.
    let rows = (0..backups.len()).map(|_| columns.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>());
    let decisions = rows.filter_map(|row| {
        let keep = verdict(&row);
        let reasons = reasons(&row, keep);
        Some(Decision { id: row.into_iter().next()?.id, keep, reasons })
    });
    RetentionPlan { decisions: decisions.collect() }
}

/// Collects, once each, the reasons of those that agree with the outcome.
fn reasons(row: &[Decision], keep: bool) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for reason in row.iter().filter(|decision| decision.keep == keep).flat_map(|decision| &decision.reasons) {
        if !reasons.contains(reason) {
            reasons.push(reason.clone());
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::retention::{KeepLast, KeepWithin};
    use crate::types::BackupId;

    fn rules() -> Vec<Box<dyn RetentionPolicy>> {
        vec![Box::new(KeepLast(1)), Box::new(KeepWithin(TimeDelta::days(2)))]
    }

    fn outcome(policy: &dyn RetentionPolicy) -> Vec<(bool, String)> {
        let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
        let times = [3, 2, 1].map(|days| now - TimeDelta::days(days));
        let backups = times.map(|time| RetentionCandidate::new(BackupId::generate(time), time, "full"));
        let decisions = policy.plan(now, &backups).decisions.into_iter();
        decisions.map(|decision| (decision.keep, decision.reasons.join("; "))).collect()
    }

    #[test]
    fn any_joins_and_all_intersects() {
        let any = outcome(&AnyOf(rules()));
        assert_eq!(any[0], (false, "not in the last 1; older than 2d".to_owned()));
        assert_eq!(any[1], (true, "within 2d".to_owned()));
        assert_eq!(any[2], (true, "last 1 of 1; within 2d".to_owned()));
        let all = outcome(&AllOf(rules()));
        assert_eq!(all[1], (false, "not in the last 1".to_owned()));
        assert_eq!(all[2], any[2]);
        assert_eq!(AllOf(rules()).describe(), "(last 1) and (within 2d)");
    }

    #[test]
    fn no_rule_keeps_everything() {
        for policy in [&AnyOf(Vec::new()) as &dyn RetentionPolicy, &AllOf(Vec::new())] {
            assert!(outcome(policy).iter().all(|(keep, _)| *keep));
        }
    }
}
