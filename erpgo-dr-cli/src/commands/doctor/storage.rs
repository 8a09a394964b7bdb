//! The places of the repository: whether each answers, holds it, takes writes, and has room.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use erpgo_dr_core::Error;
use erpgo_dr_core::storage::{Storage, StorageError};
use erpgo_dr_core::types::{BackupId, ObjectKey};

use super::checks::Checks;
use super::patience::Patience;
use super::{host, repository};
use crate::context::{Context, Places};
use crate::error::CliError;
use crate::output::seconds;

/// A difference of clocks beyond which leases and times of backups begin to mislead.
const SKEW: f64 = 30.0;
/// What a place should have room for, when no backup says it.
const FIRST_BACKUP: u64 = 256 << 20;

/// Checks every place, then the repository at them.
pub(super) async fn check(context: &Context, write: bool, patience: Patience, checks: &mut Checks) {
    if context.named_repository().is_none() && !context.faults.is_empty() {
        let next = "mend the configuration first, or give --repository ADDRESS";
        return checks.skip("repository", "none is named, unless by the file that cannot be read", next);
    }
    let places = match context.places() {
        Ok(places) => places,
        Err(error) => return checks.error("repository", error),
    };
    let reachable = check_places(&places, patience, checks).await;
    check_writes(&reachable, write, patience, checks).await;
    // What a place that does not answer has, is not waited for again.
    let all_answer = places.replicated.as_ref().is_none_or(|replicated| replicated.places().len() == reachable.len());
    let places = if all_answer { places } else { Places { replicated: None, ..places } };
    // A replica alone can be read too, but then the failure above says what to do first.
    let largest = match reachable.is_empty() {
        true => None,
        false => repository::check(context, &places, patience, checks).await,
    };
    for (name, place) in &reachable {
        let location = place.location();
        let path = Path::new(&location);
        if path.is_absolute() {
            let needed = largest.unwrap_or(FIRST_BACKUP).max(1 << 20);
            host::check_space(checks, patience, &format!("{name} space"), path, needed, "a backup").await;
        }
    }
}

type Named = (String, Arc<dyn Storage>);

/// Returns the places that hold the repository.
async fn check_places(places: &Places, patience: Patience, checks: &mut Checks) -> Vec<Named> {
    let all: Vec<Arc<dyn Storage>> = match &places.replicated {
        Some(replicated) => replicated.places().to_vec(),
        None => vec![Arc::clone(&places.storage)],
    };
    let mut reachable = Vec::new();
    for (number, place) in all.into_iter().enumerate() {
        let name = if number == 0 { "repository".to_owned() } else { format!("replica {number}") };
        if check_place(place.as_ref(), &name, patience, checks).await {
            reachable.push((name, place));
        }
    }
    if places.replicated.is_none() {
        let next = "a second place outlives the loss of this one: --replica ADDRESS, or [[replica]] in erpgo-dr.toml";
        checks.skip("replica", "none is configured", next);
    }
    reachable
}

/// Returns whether the place holds a repository.
async fn check_place(place: &dyn Storage, name: &str, patience: Patience, checks: &mut Checks) -> bool {
    let location = place.location();
    match patience.with(&location, place.head(&key("repo.json"))).await {
        Ok(_) => {
            checks.ok(name, format!("{location} can be read"));
            true
        }
        Err(error) if is_nothing_there(&error) => {
            let next = if name == "repository" {
                "check the address (`--repository`), or make one there with `erpgo-dr init`"
            } else {
                "`erpgo-dr repair` gives a new replica what the repository has"
            };
            checks.fail(name, format!("{location} holds no repository"), next);
            false
        }
        Err(error) => {
            checks.error(name, error);
            false
        }
    }
}

/// Returns whether a place has no repository, as far as it can be seen; a disk that is not mounted looks the same.
fn is_nothing_there(error: &CliError) -> bool {
    let is_missing = |core: &Error| matches!(core, Error::Storage(StorageError::FolderMissing { .. }));
    matches!(error, CliError::Core(core) if is_missing(core)) || error.kind_name() == "not-found"
}

async fn check_writes(reachable: &[Named], write: bool, patience: Patience, checks: &mut Checks) {
    if !write {
        checks.skip("writes", "not tried, nor the clocks of the places", "`erpgo-dr doctor --write` tries them");
        return;
    }
    for (name, place) in reachable {
        check_write(place.as_ref(), name, patience, checks).await;
    }
}

async fn check_write(place: &dyn Storage, name: &str, patience: Patience, checks: &mut Checks) {
    let probe = async {
        let key = key(&format!("state/doctor/{}", BackupId::generate(Utc::now())));
        place.create(&key, b"{}".to_vec().into()).await?;
        let here = Utc::now();
        let found = place.head(&key).await.map(|meta| (meta.last_modified, here));
        place.delete(&key).await?;
        found
    };
    let probed: Result<_, _> = patience.with::<_, StorageError>(&place.location(), probe).await;
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

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("made of identifiers and literals")
}
