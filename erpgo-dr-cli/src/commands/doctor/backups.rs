//! The backups: whether the catalogue is whole, and the newest young and proven.

use chrono::{TimeDelta, Utc};
use erpgo_dr_core::ops::Status;
use erpgo_dr_core::retention::RetentionSettings;

use super::checks::Checks;
use crate::context::Context;
use crate::output::{age, bytes};

/// The age from which the newest backup is worth a warning, where `status.max_age` says nothing.
const OLD: TimeDelta = TimeDelta::hours(8);

/// Checks what the repository says of its backups; what verifications found can be read only where it is `open`.
pub(super) fn check(context: &Context, status: &Status, open: bool, checks: &mut Checks) {
    check_catalogue(status, checks);
    for id in &status.failed {
        checks.fail(
            "backups",
            format!("the last verification of {id} failed"),
            format!("`erpgo-dr show {id}` says why"),
        );
    }
    check_newest(context, status, open, checks);
}

fn check_catalogue(status: &Status, checks: &mut Checks) {
    for problem in &status.problems {
        let next = "`erpgo-dr verify --all` shows what else is hit, `erpgo-dr repair` heals from a replica";
        checks.fail("catalogue", format!("{}: {}", problem.subject, problem.problem), next);
    }
    if status.problems.is_empty() {
        let detail = format!("{} backups, {} stored, none missing", status.backups, bytes(status.stored_bytes));
        checks.ok("catalogue", detail);
    }
}

fn check_newest(context: &Context, status: &Status, open: bool, checks: &mut Checks) {
    let Some(latest) = &status.latest else {
        return checks.warn("backups", "there is none yet", "`erpgo-dr backup` takes one");
    };
    let now = Utc::now();
    let detail = format!("the newest is {}, {} old", latest.id, age(latest.created, now));
    let limit = context.config.status.max_age.as_deref().and_then(|text| RetentionSettings::parse_duration(text).ok());
    match limit {
        Some(limit) if now - latest.created > limit => {
            checks.fail("backups", detail, "it is older than status.max_age allows: see why the last run failed");
        }
        None if now - latest.created > OLD => {
            let next = "see whether runs fail; status.max_age in erpgo-dr.toml says what is too old here, 8h where it says nothing";
            checks.warn("backups", detail, next);
        }
        _ if !open => {
            let next = "`erpgo-dr doctor` says it where the key is";
            checks.skip("backups", format!("{detail}; whether it is proven only a key can tell"), next);
        }
        _ if status.latest_proven.is_none() => {
            checks.warn("backups", format!("{detail}; none is proven"), "`erpgo-dr verify --restore` proves it");
        }
        _ if status.restore_tested.is_none() => {
            let detail = format!("{detail}; no restore was ever tested");
            checks.warn("backups", detail, "`erpgo-dr verify --restore` tests it");
        }
        _ => checks.ok("backups", detail),
    }
}
