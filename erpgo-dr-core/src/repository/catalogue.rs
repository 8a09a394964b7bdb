//! Which backups there are: reads catalogue entries, checks them, and commits new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};

use super::keyring::Keyring;
use super::record::{self, Record};
use super::summary::{DOMAIN, Entry, PHYSICAL, PreviousEntry, Summary, SummaryDetails};
use super::verdict::{HOLD_DOMAIN, Hold, VERDICT_DOMAIN, Verdict, VerifyLevel};
use super::{RepositoryError, layout};
use crate::container::KeySource as _;
use crate::retention::RetentionCandidate;
use crate::storage::Storage;
use crate::types::{BackupId, ContentHash, ObjectKey};

/// Small reads that are under way at once.
const CONCURRENCY: usize = 16;
pub(super) const EXPIRED_DOMAIN: &str = "expired";

/// A backup as the catalogue knows it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CatalogueEntry {
    /// What anyone may know of it.
    pub summary: Summary,
    /// What the holder of a key may know; `None` while its epoch is locked, and then nothing of the entry is proven.
    pub details: Option<SummaryDetails>,
    /// Hash of the entry as it is stored.
    pub hash: ContentHash,
    /// What verifications found, oldest first.
    pub verdicts: Vec<Verdict>,
    /// The hold on it.
    pub hold: Option<Hold>,
}

impl CatalogueEntry {
    /// Returns the backup's identifier.
    pub fn id(&self) -> &BackupId {
        &self.summary.id
    }

    /// Describes a backup that this process has just committed.
    pub(crate) fn committed(summary: Summary) -> Self {
        let hash = summary.manifest.hash;
        Self { summary, details: None, hash, verdicts: Vec::new(), hold: None }
    }

    /// Returns the deepest level that was passed and not contradicted since, with its time.
    pub fn proven(&self) -> Option<(VerifyLevel, DateTime<Utc>)> {
        let after_failure = self.verdicts.iter().rposition(|v| !v.passed).map_or(0, |at| at + 1);
        self.verdicts[after_failure..]
            .iter()
            .filter(|verdict| verdict.level >= VerifyLevel::Mac)
            .map(|verdict| (verdict.level, verdict.at))
            .max()
    }

    /// Returns what a retention policy may know of it.
    pub fn candidate(&self) -> RetentionCandidate {
        let group = self.details.as_ref().map_or_else(String::new, |details| match details.system_identifier {
            Some(cluster) if self.summary.is_physical() => format!("{PHYSICAL} {cluster}"),
            _ => format!("{:?} {}", details.scope, details.databases.join(" ")),
        });
        let mut candidate = RetentionCandidate::new(self.id().clone(), self.summary.created, group);
        candidate.verified = self.proven().map(|(_, at)| at);
        candidate.held = self.hold.is_some();
        candidate
    }
}

/// Something in the catalogue that should not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CatalogueProblem {
    /// The object or backup.
    pub subject: String,
    /// What is wrong with it.
    pub problem: String,
}

impl CatalogueProblem {
    pub(super) fn new(subject: &dyn Display, problem: &dyn Display) -> Self {
        Self { subject: subject.to_string(), problem: problem.to_string() }
    }
}

/// All backups of a repository, oldest first, and what is wrong with the catalogue.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Catalogue {
    /// The backups.
    pub entries: Vec<CatalogueEntry>,
    /// Entries that cannot be read or trusted, removed or replaced ones. One bad entry hides no good one.
    pub problems: Vec<CatalogueProblem>,
    /// Runs that were revoked, and when.
    pub(super) revoked: BTreeMap<BackupId, DateTime<Utc>>,
    /// What prune removed.
    pub(super) expired: BTreeMap<BackupId, ExpiredEntry>,
}

/// Prune's word that it was prune who removed a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExpiredEntry {
    /// When it was removed.
    pub(super) at: DateTime<Utc>,
    /// Hash of its catalogue entry.
    pub(super) hash: ContentHash,
    /// The entry before it.
    pub(super) previous: Option<PreviousEntry>,
}

impl Catalogue {
    /// Reads the catalogue as it is now.
    pub(super) async fn load(storage: &dyn Storage, keyring: &Keyring) -> Result<Self, RepositoryError> {
        let mut catalogue = Self::default();
        catalogue.read_entries(storage, keyring).await?;
        catalogue.read_state(storage, keyring).await?;
        catalogue.check_chain();
        Ok(catalogue)
    }

    /// Returns a backup by its identifier.
    pub fn find(&self, id: &BackupId) -> Option<&CatalogueEntry> {
        self.entries.iter().find(|entry| entry.id() == id)
    }

    /// Returns the newest backup.
    pub fn latest(&self) -> Option<&CatalogueEntry> {
        self.entries.last()
    }

    /// Returns the newest backup that is proven good.
    pub fn latest_proven(&self) -> Option<&CatalogueEntry> {
        self.entries.iter().rev().find(|entry| entry.proven().is_some())
    }

    /// Returns the backups that prune removed, as far as their records are still there.
    pub(crate) fn removed(&self) -> impl Iterator<Item = &BackupId> {
        self.expired.keys()
    }

    /// Returns whether prune says that it removed a backup.
    pub(super) fn is_removed(&self, id: &BackupId) -> bool {
        self.expired.contains_key(id)
    }

    async fn read_entries(&mut self, storage: &dyn Storage, keyring: &Keyring) -> Result<(), RepositoryError> {
        let wanted = |key: &ObjectKey| key.file_name() == "summary";
        for (key, found) in read_records::<Entry>(storage, layout::BACKUPS, wanted).await? {
            let Some(id) = layout::backup_of(layout::BACKUPS, &key) else { continue };
            match found.and_then(|record| admit(&id, record, keyring)) {
                Ok(Admitted::Committed(entry)) => self.entries.push(*entry),
                Ok(Admitted::Revoked(at)) => drop(self.revoked.insert(id, at)),
                Err(error) => self.problems.push(CatalogueProblem::new(&key, &error)),
            }
        }
        // Identifiers tell seconds only.
        self.entries.sort_by(|a, b| (a.summary.created, a.id()).cmp(&(b.summary.created, b.id())));
        Ok(())
    }

    async fn read_state(&mut self, storage: &dyn Storage, keyring: &Keyring) -> Result<(), RepositoryError> {
        for (key, found) in read_trusted::<Verdict>(storage, layout::VERDICTS, VERDICT_DOMAIN, keyring).await? {
            let Some(id) = layout::backup_of(layout::VERDICTS, &key) else { continue };
            match (found, self.entries.iter_mut().find(|entry| *entry.id() == id)) {
                (Ok(verdict), Some(entry)) => entry.verdicts.extend(verdict),
                (Err(error), _) => self.problems.push(CatalogueProblem::new(&key, &error)),
                // Of a backup that prune has removed since: the chain tells whether it was prune.
                (Ok(_), None) => {}
            }
        }
        for entry in &mut self.entries {
            entry.verdicts.sort_by_key(|verdict| verdict.at);
        }
        for (key, found) in read_trusted::<Hold>(storage, layout::HOLDS, HOLD_DOMAIN, keyring).await? {
            let Some(id) = layout::backup_of(layout::HOLDS, &key) else { continue };
            match found {
                Ok(hold) => {
                    if let Some(entry) = self.entries.iter_mut().find(|entry| *entry.id() == id) {
                        entry.hold = hold;
                    }
                }
                Err(error) => self.problems.push(CatalogueProblem::new(&key, &error)),
            }
        }
        for (key, found) in read_trusted::<ExpiredEntry>(storage, layout::EXPIRED, EXPIRED_DOMAIN, keyring).await? {
            match (layout::backup_of(layout::EXPIRED, &key), found) {
                (Some(id), Ok(Some(expired))) => drop(self.expired.insert(id, expired)),
                (_, Err(error)) => self.problems.push(CatalogueProblem::new(&key, &error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Follows every entry's link to the one before it, through what prune removed.
    fn check_chain(&mut self) {
        let present: BTreeMap<_, _> = self.entries.iter().map(|entry| (entry.id(), entry)).collect();
        let mut seen = BTreeSet::new();
        let mut problems = Vec::new();
        for entry in &self.entries {
            let mut link = entry.summary.previous.as_ref();
            while let Some(previous) = link {
                if !seen.insert(previous.clone()) {
                    break;
                }
                let expired = self.expired.get(&previous.id);
                let found = present.get(&previous.id).map(|entry| entry.hash).or(expired.map(|expired| expired.hash));
                match found {
                    None => problems.push(CatalogueProblem::new(
                        &previous.id,
                        &"removed: a later backup names it, and prune did not remove it",
                    )),
                    Some(hash) if hash != previous.hash => problems.push(CatalogueProblem::new(
                        &previous.id,
                        &"replaced: its catalogue entry is not the one that a later backup names",
                    )),
                    Some(_) => {}
                }
                link = match present.contains_key(&previous.id) {
                    true => None,
                    false => expired.and_then(|expired| expired.previous.as_ref()),
                };
            }
        }
        self.problems.extend(problems);
    }

    /// Returns which records of removed backups are no longer needed.
    ///
    /// Those that something remaining names are anchored first, by writing them anew without a link: the chain
    /// then ends there by the word of someone with a key, and not because something is missing.
    pub(super) fn forgettable(&self) -> Forgettable {
        let Some(oldest) = self.entries.first() else { return Forgettable::default() };
        let (old, recent): (Vec<_>, Vec<_>) = self.expired.iter().partition(|(id, _)| *id < oldest.id());
        let from_entries = self.entries.iter().filter_map(|entry| entry.summary.previous.as_ref());
        let from_recent = recent.iter().filter_map(|(_, expired)| expired.previous.as_ref());
        let named: BTreeSet<&BackupId> = from_entries.chain(from_recent).map(|previous| &previous.id).collect();
        let (anchors, dead): (Vec<_>, Vec<_>) = old.into_iter().partition(|(id, _)| named.contains(id));
        Forgettable {
            anchors: anchors
                .into_iter()
                .filter(|(_, e)| e.previous.is_some())
                .map(|(id, e)| (id.clone(), e.clone()))
                .collect(),
            dead: dead.into_iter().map(|(id, _)| id.clone()).collect(),
        }
    }

    /// Returns the link that the next entry carries: to the one that was committed last, which an imported
    /// backup of old data may be without being the newest.
    pub(super) fn link(&self) -> Option<PreviousEntry> {
        let last = self.entries.iter().max_by_key(|entry| entry.summary.finished);
        last.map(|entry| PreviousEntry { id: entry.id().clone(), hash: entry.hash })
    }
}

/// Records of removed backups that have served their time.
#[derive(Debug, Default)]
pub(super) struct Forgettable {
    /// To be written anew without a link.
    pub(super) anchors: Vec<(BackupId, ExpiredEntry)>,
    /// To be deleted after that.
    pub(super) dead: Vec<BackupId>,
}

enum Admitted {
    Committed(Box<CatalogueEntry>),
    Revoked(DateTime<Utc>),
}

/// Checks an entry as far as the keys allow.
fn admit(id: &BackupId, record: Record<Entry>, keyring: &Keyring) -> Result<Admitted, RepositoryError> {
    if let Some(key) = keyring.epoch_key(&record.epoch) {
        record.authenticate(DOMAIN, &key)?;
    }
    let summary = match record.value {
        Entry::Committed(summary) => summary,
        Entry::Revoked { at } => return Ok(Admitted::Revoked(at)),
    };
    if summary.id != *id {
        let reason = format!("it describes {}", summary.id);
        return Err(RepositoryError::Damaged { record: layout::summary(id).to_string(), reason });
    }
    let details = summary.details(keyring)?;
    let hash = ContentHash::of(&record.stored);
    Ok(Admitted::Committed(Box::new(CatalogueEntry {
        summary: *summary,
        details,
        hash,
        verdicts: Vec::new(),
        hold: None,
    })))
}

type Found<T> = Vec<(ObjectKey, Result<T, RepositoryError>)>;

/// Reads all records of a folder; one that is damaged is an error of its own, an outage is one of the whole.
async fn read_records<T>(
    storage: &dyn Storage,
    folder: &str,
    wanted: impl Fn(&ObjectKey) -> bool,
) -> Result<Found<Record<T>>, RepositoryError>
where
    T: serde::de::DeserializeOwned + Send,
{
    let keys: Vec<ObjectKey> = storage
        .list(folder)
        .map_ok(|meta| meta.key)
        .try_filter(|key| futures::future::ready(wanted(key)))
        .try_collect()
        .await?;
    let mut found = Vec::with_capacity(keys.len());
    let mut reads = futures::stream::iter(keys)
        .map(|key| async move { (record::load::<T>(storage, &key).await, key) })
        .buffer_unordered(CONCURRENCY);
    while let Some((outcome, key)) = reads.next().await {
        match outcome {
            Ok(Some(record)) => found.push((key, Ok(record))),
            // Deleted between listing and reading.
            Ok(None) => {}
            Err(RepositoryError::Storage(error)) => return Err(error.into()),
            Err(error) => found.push((key, Err(error))),
        }
    }
    Ok(found)
}

/// Reads records and checks their MACs; `None` stands for one whose epoch is locked.
pub(super) async fn read_trusted<T>(
    storage: &dyn Storage,
    folder: &str,
    domain: &str,
    keyring: &Keyring,
) -> Result<Found<Option<T>>, RepositoryError>
where
    T: serde::de::DeserializeOwned + Send,
{
    let trusted = |record: Record<T>| match keyring.epoch_key(&record.epoch) {
        None => Ok(None),
        Some(key) => record.authenticate(domain, &key).map(|()| Some(record.value)),
    };
    let records = read_records::<T>(storage, folder, |_| true).await?;
    Ok(records.into_iter().map(|(key, found)| (key, found.and_then(trusted))).collect())
}

/// Returns the stored form of a committed entry.
pub(super) fn encode_entry(summary: Summary, key: &crate::container::SealingKey) -> (ObjectKey, Bytes) {
    let object = layout::summary(&summary.id);
    let entry = Entry::Committed(Box::new(summary));
    let stored = record::encode(&object, DOMAIN, &key.epoch, &key.key, &entry);
    (object, stored)
}
