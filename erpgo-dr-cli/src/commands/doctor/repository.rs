//! The repository: whether it opens, who else could open it, and what is at work in it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use erpgo_dr_core::Repository;
use erpgo_dr_core::ops;
use erpgo_dr_core::repository::LEASE_TTL;
use erpgo_dr_core::storage::Storage;
use futures::TryStreamExt as _;

use super::backups;
use super::checks::Checks;
use super::patience::Patience;
use crate::context::{Access, Context, Places};
use crate::error::CliError;
use crate::output::age;

/// Returns the stored size of the newest backup, where there is one.
pub(super) async fn check(context: &Context, places: &Places, patience: Patience, checks: &mut Checks) -> Option<u64> {
    let repository = match open(context, places, patience, checks).await {
        Ok(repository) => repository,
        Err(error) => {
            checks.error("repository", error);
            return None;
        }
    };
    let location = repository.storage().location();
    check_slots(&repository, &location, patience, checks).await;
    check_leases(repository.storage().as_ref(), &location, patience, checks).await;
    match patience.with(&location, context.catalogue_at(places, &repository)).await {
        Ok(catalogue) => {
            let status = ops::status_of(&repository, &catalogue);
            backups::check(context, &status, repository.sealing_key().is_ok(), checks);
            catalogue.latest().map(|entry| entry.summary.stored_bytes)
        }
        Err(error) => {
            checks.error("catalogue", error);
            None
        }
    }
}

/// Opens the repository with the keys at hand; with none, or wrong ones, what anyone may read is left to check.
async fn open(
    context: &Context,
    places: &Places,
    patience: Patience,
    checks: &mut Checks,
) -> Result<Repository, CliError> {
    let location = places.storage.location();
    let opening = Repository::open(Arc::clone(&places.storage), context.environment()?);
    let locked = patience.with(&location, opening).await?;
    match context.has_keys() {
        Ok(true) => {}
        Ok(false) => {
            no_keys(context, checks);
            return Ok(locked);
        }
        Err(error) => {
            checks.error("keys", error);
            return Ok(locked);
        }
    }
    match patience.with(&location, context.open_at(places, Access::Unlocked)).await {
        Ok(repository) => {
            checks.ok("keys", format!("repository {} opens", repository.settings().id));
            Ok(repository)
        }
        Err(error) => {
            checks.error("keys", error);
            Ok(locked)
        }
    }
}

fn no_keys(context: &Context, checks: &mut Checks) {
    let next =
        "give --identity FILE, --passphrase-file FILE or ERPGO_DR_PASSPHRASE where backups are verified and restored";
    match context.recipients() {
        Ok(_) => checks.skip("keys", "none is configured: this host seals for public keys, and reads nothing", next),
        Err(error) if context.has_recipients() => checks.error("keys", error),
        Err(_) => checks.warn("keys", "none is configured: without one nothing can be backed up or restored", next),
    }
}

async fn check_slots(repository: &Repository, location: &str, patience: Patience, checks: &mut Checks) {
    let epochs = match patience.with(location, repository.epochs()).await {
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

async fn check_leases(storage: &dyn Storage, location: &str, patience: Patience, checks: &mut Checks) {
    let listed = storage.list("state/leases").try_collect::<Vec<_>>();
    let found = match patience.with(location, listed).await {
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
