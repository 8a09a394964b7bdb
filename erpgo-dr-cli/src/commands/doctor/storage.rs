//! The repository: its places, its keys and what is in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use erpgo_dr_core::Repository;
use erpgo_dr_core::ops::{self, Status};
use erpgo_dr_core::repository::LEASE_TTL;
use erpgo_dr_core::retention::RetentionSettings;
use erpgo_dr_core::storage::{Storage, StorageError};
use erpgo_dr_core::types::{BackupId, ObjectKey};
use futures::TryStreamExt as _;

use super::checks::Checks;
use super::host;
use crate::context::{Access, Context, Places};
use crate::output::{age, bytes, seconds};

/// A difference of clocks beyond which leases and times of backups begin to mislead.
const SKEW: f64 = 30.0;
/// What a place should have room for, when no backup says it.
const FIRST_BACKUP: u64 = 256 << 20;

/// Checks every place, then the repository at them.
pub(super) async fn check(context: &Context, write: bool, patience: Duration, checks: &mut Checks) {
    let places = match context.places() {
        Ok(places) => places,
        Err(error) => return checks.error("repository", error),
    };
    let all: Vec<Arc<dyn Storage>> = match &places.replicated {
        Some(replicated) => replicated.places().to_vec(),
        None => vec![Arc::clone(&places.storage)],
    };
    let mut reachable = Vec::new();
    for (number, place) in all.iter().enumerate() {
        let name = if number == 0 { "repository".to_owned() } else { format!("replica {number}") };
        if check_place(place.as_ref(), &name, patience, checks).await {
            reachable.push((name, place));
        }
    }
    if write {
        for (name, place) in &reachable {
            check_write(place.as_ref(), name, patience, checks).await;
        }
    }
    // A replica alone can be read too, but then the failure above says what to do first.
    let largest = match reachable.is_empty() {
        true => None,
        false => check_repository(context, &places, checks).await,
    };
    for (name, place) in &reachable {
        let location = place.location();
        let path = Path::new(&location);
        if path.is_absolute() {
            let needed = largest.unwrap_or(FIRST_BACKUP).max(1 << 20);
            host::check_space(checks, &format!("{name} space"), path, needed, "a backup");
        }
    }
}

/// Returns whether the place holds a repository.
async fn check_place(place: &dyn Storage, name: &str, patience: Duration, checks: &mut Checks) -> bool {
    let location = place.location();
    match limited(patience, &location, place.head(&key("repo.json"))).await {
        Ok(_) => {
            checks.ok(name, format!("{location} can be read"));
            true
        }
        Err(StorageError::NotFound { .. }) => {
            let next = if name == "repository" {
                "check the address (`--repository`), or make one there with `erpgo-dr init`"
            } else {
                "`erpgo-dr repair` gives a new replica what the repository has"
            };
            checks.fail(name, format!("{location} can be reached, and holds no repository"), next);
            false
        }
        Err(error) => {
            checks.error(name, error);
            false
        }
    }
}

async fn check_write(place: &dyn Storage, name: &str, patience: Duration, checks: &mut Checks) {
    let probe = async {
        let key = key(&format!("state/doctor/{}", BackupId::generate(Utc::now())));
        place.create(&key, b"{}".to_vec().into()).await?;
        let here = Utc::now();
        let found = place.head(&key).await.map(|meta| (meta.last_modified, here));
        place.delete(&key).await?;
        found
    };
    let probed = limited(patience, &place.location(), probe).await;
    match probed {
        Ok((there, here)) => {
            checks.ok(format!("{name} writes"), "an object was made, found and removed");
            check_clock(name, there, here, checks);
        }
        Err(error) => checks.error(format!("{name} writes"), error),
    }
}

fn check_clock(name: &str, there: DateTime<Utc>, here: DateTime<Utc>, checks: &mut Checks) {
    let skew = (there - here).as_seconds_f64();
    let (name, detail) = (format!("{name} clock"), format!("differs from ours by {}", seconds(skew.abs())));
    if skew.abs() > SKEW {
        checks.warn(name, detail, "set this host's clock by NTP: retention and RPO go by it");
    } else {
        checks.ok(name, detail);
    }
}

/// Returns the stored size of the newest backup, where there is one.
async fn check_repository(context: &Context, places: &Places, checks: &mut Checks) -> Option<u64> {
    let locked = match Repository::open(Arc::clone(&places.storage), context.environment().ok()?).await {
        Ok(repository) => repository,
        Err(error) => {
            checks.error("repository", error);
            return None;
        }
    };
    let unlocked = context.open_at(places, Access::Unlocked).await;
    let repository = match unlocked {
        Ok(repository) => {
            checks.ok("keys", format!("repository {} opens", repository.settings().id));
            repository
        }
        Err(error) => {
            checks.error("keys", error);
            locked
        }
    };
    check_slots(&repository, checks).await;
    check_leases(repository.storage().as_ref(), checks).await;
    match ops::status(&repository).await {
        Ok(status) => check_backups(context, &status, checks),
        Err(error) => checks.error("catalogue", error),
    }
    let catalogue = repository.catalogue().await.ok()?;
    catalogue.latest().map(|entry| entry.summary.stored_bytes)
}

async fn check_slots(repository: &Repository, checks: &mut Checks) {
    let epochs = match repository.epochs().await {
        Ok(epochs) => epochs,
        Err(error) => return checks.error("key slots", error),
    };
    let Some(active) = epochs.iter().find(|epoch| epoch.active) else { return };
    let names: Vec<&str> = active.slots.iter().map(|slot| slot.name.as_str()).collect();
    match names.as_slice() {
        [only] => checks.warn(
            "key slots",
            format!("only one: {only}; if that key is lost, so is every backup"),
            "add another, to be kept elsewhere: `erpgo-dr key add NAME`",
        ),
        names => checks.ok("key slots", format!("{}: {}", names.len(), names.join(", "))),
    }
}

async fn check_leases(storage: &dyn Storage, checks: &mut Checks) {
    let found: Vec<_> = match storage.list("state/leases").try_collect().await {
        Ok(found) => found,
        Err(error) => return checks.error("leases", error),
    };
    let now = Utc::now();
    let ttl = LEASE_TTL.as_secs_f64();
    let is_stale = |time: DateTime<Utc>| (now - time).as_seconds_f64() > ttl;
    let stale: Vec<_> = found.iter().filter(|meta| is_stale(meta.last_modified)).collect();
    match stale.first() {
        None => checks.ok("leases", format!("{} runs under way, none stale", found.len())),
        Some(first) => checks.warn(
            "leases",
            format!(
                "{} stale, of runs that died: {}, {} old",
                stale.len(),
                first.key.file_name(),
                age(first.last_modified, now)
            ),
            "`erpgo-dr prune` removes it, and what that run left",
        ),
    }
}

fn check_backups(context: &Context, status: &Status, checks: &mut Checks) {
    for problem in &status.problems {
        let next = "`erpgo-dr verify --all` shows what else is hit, `erpgo-dr repair` heals from a replica";
        checks.fail("catalogue", format!("{}: {}", problem.subject, problem.problem), next);
    }
    if status.problems.is_empty() {
        let detail = format!("{} backups, {} stored, none missing", status.backups, bytes(status.stored_bytes));
        checks.ok("catalogue", detail);
    }
    for id in &status.failed {
        checks.fail(
            "backups",
            format!("the last verification of {id} failed"),
            format!("`erpgo-dr show {id}` says why"),
        );
    }
    let Some(latest) = &status.latest else {
        return checks.warn("backups", "there is none yet", "`erpgo-dr backup` takes one");
    };
    let now = Utc::now();
    let detail = format!("the newest is {}, {} old", latest.id, age(latest.created, now));
    let limit = context.config.status.max_age.as_deref().and_then(|text| RetentionSettings::parse_duration(text).ok());
    match (&status.latest_proven, limit) {
        (_, Some(limit)) if now - latest.created > limit => {
            checks.fail("backups", detail, "it is older than status.max_age allows: see why the last run failed");
        }
        (None, _) => {
            checks.warn("backups", format!("{detail}; none is proven"), "`erpgo-dr verify --restore` proves it");
        }
        _ if status.restore_tested.is_none() => {
            checks.warn(
                "backups",
                format!("{detail}; no restore was ever tested"),
                "`erpgo-dr verify --restore` tests it",
            );
        }
        _ => checks.ok("backups", detail),
    }
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("made of identifiers and literals")
}

async fn limited<T>(
    patience: Duration,
    location: &str,
    work: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    let late = |_| StorageError::TimedOut { location: location.to_owned(), timeout: patience };
    tokio::time::timeout(patience, work).await.map_err(late)?
}
