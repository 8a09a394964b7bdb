//! What every retention policy must do.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::retention::{Guarded, RetentionCandidate, RetentionPlan, RetentionPolicy};
use crate::types::BackupId;

/// Runs the suite: on `policy` as it is, and on what [`Guarded`] makes of it.
///
/// # Panics
/// With what does not hold, if the policy
/// - does not decide about each backup once, oldest first, with a reason;
/// - depends on the order of its input, or says something else the second time;
/// - gives up, when it is asked again with the same `now`, one of those that it kept;
/// - lets one group's backups count in another's;
/// - or cannot be guarded.
pub fn run(policy: &dyn RetentionPolicy) {
    assert!(!policy.describe().is_empty(), "a policy describes itself");
    let now = "2026-11-24T12:00:00Z".parse().expect("a valid time");
    for seed in 0..40 {
        let backups = catalogue(seed, now);
        check(policy, now, &backups);
        check_groups(policy, now, &backups);
        check(&Guarded::new(policy), now, &backups);
        check_guards(policy, now, &backups);
    }
}

fn check(policy: &dyn RetentionPolicy, now: DateTime<Utc>, backups: &[RetentionCandidate]) {
    let name = policy.describe();
    let plan = policy.plan(now, backups);
    let mut expected: Vec<_> = backups.iter().map(|backup| (backup.created, backup.id.clone())).collect();
    expected.sort();
    let expected: Vec<_> = expected.iter().map(|(_, id)| id).collect();
    let decided: Vec<_> = plan.decisions.iter().map(|decision| &decision.id).collect();
    assert_eq!(decided, expected, "{name}: one decision for each backup, oldest first");
    let reasoned = plan.decisions.iter().all(|decision| decision.reasons.iter().any(|reason| !reason.is_empty()));
    assert!(reasoned, "{name}: a decision without a reason in {plan:?}");

    let reversed: Vec<_> = backups.iter().rev().cloned().collect();
    assert_eq!(policy.plan(now, &reversed), plan, "{name}: the order of the input shows");
    assert_eq!(policy.plan(now, backups), plan, "{name}: the same input gave another plan");

    let again = policy.plan(now, &kept(&plan, backups));
    assert_eq!(again.expired().count(), 0, "{name}: gave up what it had kept: {again:?}");
}

fn check_groups(policy: &dyn RetentionPolicy, now: DateTime<Utc>, backups: &[RetentionCandidate]) {
    let together: BTreeSet<_> = policy.plan(now, backups).kept().cloned().collect();
    let groups: BTreeSet<_> = backups.iter().map(|backup| &backup.group).collect();
    let mut apart = BTreeSet::new();
    for group in groups {
        let members: Vec<_> = backups.iter().filter(|backup| backup.group == *group).cloned().collect();
        apart.extend(policy.plan(now, &members).kept().cloned());
    }
    assert_eq!(together, apart, "{}: the groups are not counted each by itself", policy.describe());
}

fn check_guards(policy: &dyn RetentionPolicy, now: DateTime<Utc>, backups: &[RetentionCandidate]) {
    let plan = Guarded::new(policy).plan(now, backups);
    let kept = kept(&plan, backups);
    let is_kept = |id: &BackupId| kept.iter().any(|backup| backup.id == *id);
    let name = policy.describe();
    for backup in backups {
        let untouchable = backup.held || backup.created > now;
        assert!(!untouchable || is_kept(&backup.id), "{name}: {} is on hold or in the future, and goes", backup.id);
        let newest_verified = |other: &&RetentionCandidate| other.group == backup.group && other.verified.is_some();
        let last = backups.iter().filter(newest_verified).max_by_key(|other| (other.created, other.id.clone()));
        assert!(last.is_none_or(|last| is_kept(&last.id)), "{name}: the last verified one of {} goes", backup.group);
    }
    for needed in kept.iter().flat_map(|backup| &backup.needs) {
        let exists = backups.iter().any(|backup| backup.id == *needed);
        assert!(!exists || is_kept(needed), "{name}: {needed} is needed, and goes");
    }
}

fn kept(plan: &RetentionPlan, backups: &[RetentionCandidate]) -> Vec<RetentionCandidate> {
    let ids: BTreeSet<_> = plan.kept().collect();
    backups.iter().filter(|backup| ids.contains(&backup.id)).cloned().collect()
}

/// Makes up a catalogue that depends on `seed` alone: two groups over two years, some verified, held, needed, from the
/// future or from one and the same second.
fn catalogue(seed: u64, now: DateTime<Utc>) -> Vec<RetentionCandidate> {
    let mut state = seed;
    // Knuth's MMIX generator: the high bits are good enough to pick with.
    let mut pick = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut backups: Vec<RetentionCandidate> = Vec::new();
    for number in 0..seed * 3 {
        let age =
            TimeDelta::seconds(pick(2 * 365 * 86_400) as i64) - TimeDelta::days(if pick(20) == 0 { 731 } else { 0 });
        let created = if number > 0 && pick(10) == 0 { backups[0].created } else { now - age };
        let id = format!("{}-{number:08x}", created.format("%Y%m%dT%H%M%SZ")).parse().expect("a valid id");
        let mut backup = RetentionCandidate::new(id, created, if pick(3) == 0 { "schema" } else { "full" });
        backup.verified = (pick(4) == 0).then_some(now);
        backup.held = pick(15) == 0;
        if number > 0 && pick(5) == 0 {
            backup.needs.push(backups[pick(number) as usize].id.clone());
        }
        backups.push(backup);
    }
    backups
}
