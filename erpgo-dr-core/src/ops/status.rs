//! Answers: could we restore right now, to which moment, and how long would it take?

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::Result;
use crate::repository::{Catalogue, CatalogueEntry, CatalogueProblem, Repository, VerifyLevel};
use crate::types::{BackupId, RepositoryId};

/// By how much the clocks of hosts may differ that take backups and look at them.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(5);

/// The state of a repository in facts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The repository.
    pub repository: RepositoryId,
    /// Where it lies.
    pub location: String,
    /// How many backups it has.
    pub backups: u64,
    /// Bytes that they take up.
    pub stored_bytes: u64,
    /// The newest backup.
    pub latest: Option<BackupStatus>,
    /// The newest backup that is proven good: what one would restore now. One that begins in the future, by a clock that was wrong, is not meant.
    pub latest_proven: Option<BackupStatus>,
    /// Seconds since the newest proven backup began: what would be lost by restoring it (observed RPO).
    pub rpo_seconds: Option<f64>,
    /// Seconds that the newest restore test took until the database answered (observed RTO).
    pub rto_seconds: Option<f64>,
    /// When a restore was last tested.
    pub restore_tested: Option<DateTime<Utc>>,
    /// Backups whose last verification failed.
    pub failed: Vec<BackupId>,
    /// Backups that begin in the future: a clock was wrong when they were taken, or is now. They hide how old the others are, and outlive them.
    pub in_the_future: Vec<BackupId>,
    /// What is wrong with the catalogue.
    pub problems: Vec<CatalogueProblem>,
}

/// One backup in a [`Status`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BackupStatus {
    /// The backup.
    pub id: BackupId,
    /// When it began.
    pub created: DateTime<Utc>,
    /// How deep it is proven.
    pub proven: Option<VerifyLevel>,
}

impl Status {
    /// Returns whether there is a proven backup and nothing is known to be wrong.
    pub fn is_healthy(&self) -> bool {
        self.latest_proven.is_some() && self.failed.is_empty() && self.problems.is_empty()
    }
}

/// Reads the state of a repository.
///
/// # Errors
/// When the catalogue cannot be read.
pub async fn status(repository: &Repository) -> Result<Status> {
    Ok(status_of(repository, &repository.catalogue().await?))
}

/// Tells the state of a repository by its catalogue, which may be that of several places.
pub fn status_of(repository: &Repository, catalogue: &Catalogue) -> Status {
    let now = repository.environment().clock.now();
    let is_ahead = |entry: &&CatalogueEntry| entry.summary.created > now + CLOCKS_DIFFER;
    let proven = catalogue.entries.iter().rev().filter(|entry| !is_ahead(entry)).find(|entry| entry.proven().is_some());
    let newest_test = newest_restore_test(catalogue);
    Status {
        repository: repository.settings().id.clone(),
        location: repository.storage().location(),
        backups: catalogue.entries.len() as u64,
        stored_bytes: catalogue.entries.iter().map(|entry| entry.summary.stored_bytes).sum(),
        latest: catalogue.latest().map(backup_status),
        latest_proven: proven.map(backup_status),
        rpo_seconds: proven.map(|entry| (now - entry.summary.created).as_seconds_f64().max(0.0)),
        rto_seconds: newest_test.and_then(|(_, seconds)| seconds),
        restore_tested: newest_test.map(|(at, _)| at),
        failed: catalogue.entries.iter().filter(|entry| last_failed(entry)).map(|entry| entry.id().clone()).collect(),
        in_the_future: catalogue.entries.iter().filter(is_ahead).map(|entry| entry.id().clone()).collect(),
        problems: catalogue.problems.clone(),
    }
}

fn backup_status(entry: &CatalogueEntry) -> BackupStatus {
    let proven = entry.proven().map(|(level, _)| level);
    BackupStatus { id: entry.id().clone(), created: entry.summary.created, proven }
}

fn last_failed(entry: &CatalogueEntry) -> bool {
    entry.verdicts.last().is_some_and(|verdict| !verdict.passed)
}

fn newest_restore_test(catalogue: &Catalogue) -> Option<(DateTime<Utc>, Option<f64>)> {
    let verdicts = catalogue.entries.iter().flat_map(|entry| &entry.verdicts);
    let tests = verdicts.filter(|verdict| verdict.level == VerifyLevel::Restore && verdict.passed);
    tests.max_by_key(|verdict| verdict.at).map(|verdict| (verdict.at, verdict.restore_seconds))
}
