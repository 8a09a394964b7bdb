//! Proves that stored backups can be trusted, as deep as asked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::{Error, ErrorKind, Result};
use crate::causes::chain;
use crate::container::ContainerReader;
use crate::postgres::{CheckDepth, DatabaseDriver};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{
    CatalogueEntry, CatalogueProblem, Manifest, PACKS, Repository, StoredObject, Verdict, VerifyLevel, identity_of,
};
use crate::storage::StorageError;
use crate::types::{BackupId, ContentHash, ContentHasher, ObjectKey};

/// Objects that are read at once.
///
/// Their streams are boxed: a closure over references in the type of a future keeps rustc from seeing that it is `Send`.
const CONCURRENCY: usize = 2;

/// What is verified, and how deep.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// How deep; [`VerifyLevel::Restore`] is what [`restore_test`](super::restore_test()) does.
    pub level: VerifyLevel,
    /// Whether the verdict is written into the repository (a scrub's never is: it proves too little).
    pub record: bool,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { level: VerifyLevel::Mac, record: true }
    }
}

impl VerifyOptions {
    /// Sets how deep.
    pub fn with_level(mut self, level: VerifyLevel) -> Self {
        self.level = level;
        self
    }

    /// Sets whether the verdict is written into the repository.
    pub fn with_record(mut self, record: bool) -> Self {
        self.record = record;
        self
    }
}

/// What a verification of a repository found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// A verdict for each backup that was asked about.
    pub verdicts: Vec<Verdict>,
    /// What is wrong with the catalogue itself.
    pub problems: Vec<CatalogueProblem>,
}

impl VerifyReport {
    /// Returns whether nothing at all was wrong with what is stored; verdicts may still not have been recorded.
    pub fn passed(&self) -> bool {
        self.problems.is_empty() && self.verdicts.iter().all(|verdict| verdict.passed)
    }
}

/// Packs that were found good, which other backups need not have read again: they share them.
#[derive(Debug, Default)]
pub(super) struct GoodPacks {
    packs: BTreeSet<(ObjectKey, ContentHash)>,
    /// When those were read that this call has not read itself.
    read_at: Option<DateTime<Utc>>,
}

impl GoodPacks {
    /// Takes packs for good that a backup took over from one whose packs were read at `read_at`.
    pub(super) fn inherited(packs: &[StoredObject], read_at: DateTime<Utc>) -> Self {
        let mut good = Self { read_at: Some(read_at), ..Self::default() };
        good.extend(packs);
        good
    }

    fn extend<'a>(&mut self, objects: impl IntoIterator<Item = &'a StoredObject>) {
        let packs = objects.into_iter().filter(|object| object.key.is_under(PACKS));
        self.packs.extend(packs.map(|pack| (pack.key.clone(), pack.hash)));
    }

    fn contains(&self, object: &StoredObject) -> bool {
        !self.packs.is_empty() && self.packs.contains(&(object.key.clone(), object.hash))
    }
}

/// Verifies `backups`, or all of them when the slice is empty, and the catalogue with its chain.
///
/// A backup that is found bad is a failed verdict in the report, and is recorded. `checker` reads the
/// streams as the restore tools would; without one, only MACs, hashes and sizes are checked.
///
/// # Errors
/// When the repository cannot be read at all, is locked for what was asked, or has no such backup.
pub async fn verify(
    repository: &Repository,
    backups: &[BackupId],
    checker: Option<&dyn DatabaseDriver>,
    options: &VerifyOptions,
    progress: &dyn Progress,
) -> Result<VerifyReport> {
    let catalogue = repository.catalogue().await?;
    let mut report = VerifyReport { verdicts: Vec::new(), problems: catalogue.problems.clone() };
    for id in backups {
        if catalogue.find(id).is_none() {
            return Err(crate::repository::RepositoryError::NoSuchBackup(id.to_string()).into());
        }
    }
    let mut good = GoodPacks::default();
    for entry in catalogue.entries.iter().filter(|entry| backups.is_empty() || backups.contains(entry.id())) {
        report.verdicts.push(verify_entry(repository, entry, checker, &mut good, options, progress).await?);
    }
    Ok(report)
}

/// Verifies one backup. What is wrong with it goes into the verdict; what hinders the work is an error.
pub(super) async fn verify_entry(
    repository: &Repository,
    entry: &CatalogueEntry,
    checker: Option<&dyn DatabaseDriver>,
    good: &mut GoodPacks,
    options: &VerifyOptions,
    progress: &dyn Progress,
) -> Result<Verdict> {
    let started = Instant::now();
    let name = if options.level == VerifyLevel::Scrub { Phase::Scrub } else { Phase::Verify };
    let objects: Vec<&StoredObject> = entry.summary.objects.iter().filter(|object| !good.contains(object)).collect();
    let bytes = objects.iter().map(|object| object.stored_bytes).sum::<u64>() + entry.summary.manifest.stored_bytes;
    let phase = PhaseGuard::start(progress, name, entry.id().as_str(), Some(bytes));
    let mut findings = Vec::new();
    match options.level {
        VerifyLevel::Scrub => scrub(repository, entry, &objects, &phase, &mut findings).await?,
        level => check_backup(repository, entry, &objects, checker, level, &phase, &mut findings).await?,
    }
    phase.finish();
    if findings.is_empty() {
        good.extend(objects);
    }
    let now = repository.environment().clock.now();
    let mut verdict = Verdict::new(entry.id().clone(), now, options.level, started.elapsed().as_secs_f64(), findings);
    verdict.packs_read_at = good.read_at;
    if options.record && options.level != VerifyLevel::Scrub {
        record(repository, &mut verdict).await;
    }
    Ok(verdict)
}

/// Writes a verdict into the repository. What was found is told also where that fails, as on a disk that is full or read-only.
pub(super) async fn record(repository: &Repository, verdict: &mut Verdict) {
    if let Err(error) = repository.record_verdict(verdict).await {
        verdict.unrecorded = Some(chain(&error));
    }
}

/// Compares every stored object of a backup with its recorded hash. Needs no key.
async fn scrub(
    repository: &Repository,
    entry: &CatalogueEntry,
    objects: &[&StoredObject],
    phase: &PhaseGuard<'_>,
    findings: &mut Vec<String>,
) -> Result<()> {
    let objects = std::iter::once(&entry.summary.manifest).chain(objects.iter().copied());
    let checks = futures::stream::iter(objects).map(|object| compare_hash(repository, object, phase));
    let mut checks = checks.buffered(CONCURRENCY).boxed();
    while let Some(outcome) = checks.next().await {
        findings.extend(finding(outcome)?);
    }
    Ok(())
}

async fn compare_hash(
    repository: &Repository,
    object: &StoredObject,
    phase: &PhaseGuard<'_>,
) -> Result<Option<String>> {
    let mut stream = repository.storage().get(&object.key, None).await?;
    let (mut hasher, mut size) = (ContentHasher::new(), 0);
    while let Some(chunk) = stream.try_next().await? {
        hasher.update(&chunk);
        size += chunk.len() as u64;
        phase.advance(chunk.len() as u64);
    }
    Ok(match (size == object.stored_bytes, hasher.finish() == object.hash) {
        (false, _) => Some(format!("{}: {size} bytes are stored, {} were written", object.key, object.stored_bytes)),
        (true, false) => Some(format!("{}: its bytes are not those that were written", object.key)),
        (true, true) => None,
    })
}

/// Checks the manifest, every MAC of every object, and what the restore tools make of the streams.
async fn check_backup(
    repository: &Repository,
    entry: &CatalogueEntry,
    objects: &[&StoredObject],
    checker: Option<&dyn DatabaseDriver>,
    level: VerifyLevel,
    phase: &PhaseGuard<'_>,
    findings: &mut Vec<String>,
) -> Result<()> {
    let manifest = match repository.manifest(&entry.summary).await.map_err(Error::from) {
        Ok(manifest) => manifest,
        Err(error) => {
            findings.extend(finding(Err(error))?);
            return Ok(());
        }
    };
    if !manifest.objects().eq(&entry.summary.objects) {
        findings.push("manifest and catalogue entry do not name the same objects".to_owned());
    }
    let checks = futures::stream::iter(objects).map(|part| check_macs(repository, part, phase));
    let mut checks = checks.buffered(CONCURRENCY).boxed();
    while let Some(outcome) = checks.next().await {
        findings.extend(finding(outcome)?);
    }
    if let (Some(checker), true) = (checker, findings.is_empty()) {
        findings.extend(finding(check_contents(repository, &manifest, checker, level).await)?);
    }
    Ok(())
}

async fn check_macs(repository: &Repository, part: &StoredObject, phase: &PhaseGuard<'_>) -> Result<Option<String>> {
    let stream = repository.storage().get(&part.key, None).await?;
    let identity = identity_of(&part.key);
    let pool = repository.environment().pool.clone();
    let reader = ContainerReader::open(stream, &identity, repository.keyring(), pool).await?;
    let summary = reader.check_seals_to_end().await?;
    phase.advance(summary.stored_bytes);
    let same = summary.content_hash == part.hash && summary.plaintext_bytes == part.plaintext_bytes;
    Ok((!same).then(|| format!("{}: authentic, but not the object that the manifest names", part.key)))
}

async fn check_contents(
    repository: &Repository,
    manifest: &Manifest,
    checker: &dyn DatabaseDriver,
    level: VerifyLevel,
) -> Result<Option<String>> {
    let depth = if level >= VerifyLevel::Contents { CheckDepth::Contents } else { CheckDepth::List };
    let source = Arc::new(repository.dump_source(manifest));
    checker.check(source.as_ref(), &manifest.contents, depth).await?;
    Ok(None)
}

/// Tells what is wrong with a backup from what hinders the work.
fn finding(outcome: Result<Option<String>>) -> Result<Option<String>> {
    match outcome {
        Ok(found) => Ok(found),
        Err(error) => match error.kind() {
            ErrorKind::Integrity => Ok(Some(chain(&error))),
            ErrorKind::NotFound if is_missing_object(&error) => Ok(Some(chain(&error))),
            _ => Err(error),
        },
    }
}

fn is_missing_object(error: &Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(StorageError::NotFound { .. })) {
            return true;
        }
        next = error.source();
    }
    // A transparent variant shows the error it holds only as itself.
    matches!(
        error,
        Error::Storage(StorageError::NotFound { .. })
            | Error::Container(crate::container::ContainerError::Storage(StorageError::NotFound { .. }))
            | Error::Repository(crate::repository::RepositoryError::Storage(StorageError::NotFound { .. }))
    )
}
