//! What no policy may give up.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::{Decision, RetentionCandidate, RetentionPlan, RetentionPolicy, age_order, oldest_first};
use crate::types::BackupId;

/// Asks a policy, and overrules it where it would give up what must stay:
///
/// - in each group the newest verified backup, or, where none is verified, the newest;
/// - what is on hold;
/// - what is dated after `now`: a clock was wrong, and an age cannot be told. Such a backup takes no place in the
///   policy's count, so that a date in the far future does not push the good ones out;
/// - all that something kept needs, and what those need in turn.
///
/// With this around a policy, pruning cannot leave a group without a proven backup that had one.
#[derive(Debug, Clone)]
pub struct Guarded<P> {
    policy: P,
}

impl<P: RetentionPolicy> Guarded<P> {
    /// Stands around `policy`.
    pub fn new(policy: P) -> Self {
        Self { policy }
    }

    /// Returns the policy inside.
    pub fn policy(&self) -> &P {
        &self.policy
    }
}

impl<P: RetentionPolicy> RetentionPolicy for Guarded<P> {
    fn describe(&self) -> String {
        self.policy.describe()
    }

    fn plan(&self, now: DateTime<Utc>, backups: &[RetentionCandidate]) -> RetentionPlan {
        let (past, future): (Vec<_>, Vec<_>) = backups.iter().cloned().partition(|backup| backup.created <= now);
        let mut verdicts = Verdicts::new(self.policy.plan(now, &past));
        for backup in &future {
            verdicts.keep(&backup.id, format!("dated {} in the future", backup.created.format("%Y-%m-%dT%H:%M:%SZ")));
        }
        for backup in backups.iter().filter(|backup| backup.held) {
            verdicts.keep(&backup.id, "on hold".to_owned());
        }
        for backup in last_resorts(&past) {
            let reason = if backup.verified.is_some() { "last verified" } else { "newest, and none is verified" };
            verdicts.keep(&backup.id, reason.to_owned());
        }
        verdicts.close_over_needs(backups);
        verdicts.into_plan(backups)
    }
}

/// Returns, for each group, the backup that must survive whatever the rules say: verified before unverified, then by age.
fn last_resorts(past: &[RetentionCandidate]) -> Vec<&RetentionCandidate> {
    let mut best: BTreeMap<&str, &RetentionCandidate> = BTreeMap::new();
    for backup in past {
        let current = best.entry(&backup.group).or_insert(backup);
        let by_proof = backup.verified.is_some().cmp(&current.verified.is_some());
        if by_proof.then_with(|| age_order(backup, current)).is_gt() {
            *current = backup;
        }
    }
    best.into_values().collect()
}

/// The verdict about each backup, while guards change it.
struct Verdicts(HashMap<BackupId, (bool, Vec<String>)>);

impl Verdicts {
    fn new(plan: RetentionPlan) -> Self {
        let decisions = plan.decisions.into_iter();
        Self(decisions.map(|decision| (decision.id, (decision.keep, decision.reasons))).collect())
    }

    fn is_kept(&self, id: &BackupId) -> bool {
        self.0.get(id).is_some_and(|(keep, _)| *keep)
    }

    fn keep(&mut self, id: &BackupId, reason: String) {
        let (keep, reasons) = self.0.entry(id.clone()).or_default();
        if !*keep {
            // Why the policy would have let it go is no reason to keep it.
            reasons.clear();
            *keep = true;
        }
        reasons.push(reason);
    }

    /// Keeps what kept ones need, until nothing changes. A backup that is needed but not there is not ours to judge.
    fn close_over_needs(&mut self, backups: &[RetentionCandidate]) {
        let by_id: HashMap<&BackupId, &RetentionCandidate> =
            backups.iter().map(|backup| (&backup.id, backup)).collect();
        let mut open: Vec<&RetentionCandidate> = backups.iter().filter(|backup| self.is_kept(&backup.id)).collect();
        let mut added: BTreeMap<&BackupId, Vec<&BackupId>> = BTreeMap::new();
        while let Some(backup) = open.pop() {
            for needed in backup.needs.iter().filter_map(|id| by_id.get(id)) {
                if self.is_kept(&needed.id) {
                    continue;
                }
                let needers = added.entry(&needed.id).or_default();
                if needers.is_empty() {
                    open.push(needed);
                }
                needers.push(&backup.id);
            }
        }
        for (id, mut needers) in added {
            // In order of time, whatever the order in which they were found.
            needers.sort();
            needers.dedup();
            for needer in needers {
                self.keep(id, format!("needed by {needer}"));
            }
        }
    }

    fn into_plan(mut self, backups: &[RetentionCandidate]) -> RetentionPlan {
        let decide = |backup: &RetentionCandidate| {
            // A policy that forgot a backup has not said that it may go.
            let forgotten = || (true, vec!["the policy did not decide".to_owned()]);
            let (keep, reasons) = self.0.remove(&backup.id).unwrap_or_else(forgotten);
            Decision { id: backup.id.clone(), keep, reasons }
        };
        RetentionPlan { decisions: oldest_first(backups).into_iter().map(decide).collect() }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::retention::KeepLast;

    fn now() -> DateTime<Utc> {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    /// A backup from so many days ago.
    fn backup(days: i64) -> RetentionCandidate {
        let time = now() - TimeDelta::days(days);
        RetentionCandidate::new(BackupId::generate(time), time, "full")
    }

    fn decide(backups: &[RetentionCandidate], id: &RetentionCandidate) -> (bool, String) {
        let plan = Guarded::new(KeepLast(1)).plan(now(), backups);
        let decision = plan.decisions.into_iter().find(|decision| decision.id == id.id).unwrap();
        (decision.keep, decision.reasons.join("; "))
    }

    #[test]
    fn the_last_verified_one_stays_and_older_verified_ones_may_go() {
        let mut backups = [backup(3), backup(2), backup(1)];
        backups[0].verified = Some(now());
        backups[1].verified = Some(now());
        assert_eq!(decide(&backups, &backups[1]), (true, "last verified".to_owned()));
        assert_eq!(decide(&backups, &backups[0]), (false, "not in the last 1".to_owned()));
    }

    #[test]
    fn where_none_is_verified_the_newest_stays_under_any_policy() {
        let backups = [backup(2), backup(1)];
        let plan = Guarded::new(KeepLast(0)).plan(now(), &backups);
        assert_eq!(plan.kept().collect::<Vec<_>>(), [&backups[1].id]);
        assert_eq!(plan.decisions[1].reasons, ["newest, and none is verified"]);
    }

    #[test]
    fn holds_and_needs_are_kept_through_a_chain() {
        let mut backups = [backup(5), backup(4), backup(3), backup(2), backup(1)];
        backups[3].held = true;
        backups[3].needs = vec![backups[1].id.clone(), BackupId::generate(now())];
        backups[1].needs = vec![backups[0].id.clone()];
        assert_eq!(decide(&backups, &backups[3]), (true, "on hold".to_owned()));
        assert_eq!(decide(&backups, &backups[1]), (true, format!("needed by {}", backups[3].id)));
        assert_eq!(decide(&backups, &backups[0]), (true, format!("needed by {}", backups[1].id)));
        assert!(!decide(&backups, &backups[2]).0);
    }

    #[test]
    fn a_circle_of_needs_ends() {
        let mut backups = [backup(3), backup(2), backup(1)];
        backups[0].needs = vec![backups[1].id.clone()];
        backups[1].needs = vec![backups[0].id.clone()];
        backups[2].needs = vec![backups[0].id.clone()];
        assert!(backups.iter().all(|one| decide(&backups, one).0));
    }

    #[test]
    fn a_date_in_the_future_is_kept_and_takes_nobodys_place() {
        let backups = [backup(1), backup(-365)];
        assert_eq!(decide(&backups, &backups[1]), (true, "dated 2027-11-24T12:00:00Z in the future".to_owned()));
        assert!(decide(&backups, &backups[0]).1.starts_with("last 1 of 1"));
    }

    #[test]
    fn what_a_policy_forgets_stays() {
        #[derive(Debug)]
        struct Forgetful;
        impl RetentionPolicy for Forgetful {
            fn describe(&self) -> String {
                "forgets".to_owned()
            }
            fn plan(&self, _: DateTime<Utc>, _: &[RetentionCandidate]) -> RetentionPlan {
                RetentionPlan::default()
            }
        }
        let plan = Guarded::new(Forgetful).plan(now(), &[backup(2), backup(1)]);
        assert_eq!(plan.kept().count(), 2);
    }
}
