//! What runs that broke off have stored of a cluster: pages that need not be stored again.

use std::collections::HashMap;

use futures::TryStreamExt as _;
use roaring::RoaringBitmap;

use super::base::KnownFile;
use crate::ops::Result;
use crate::postgres::physical::KnownPages;
use crate::repository::{
    Catalogue, Extent, FileKind, FileRecord, JournalReader, JournalSubject, PACKS, Repository, StoredObject,
};
use crate::types::{BackupId, ObjectKey};

/// The runs that broke off since the last backup of the cluster, read side by side with the files as they are now.
///
/// What is known of them is where pages lie and how they hash: every page is read again, and taken over if it is still the same.
#[derive(Debug, Default)]
pub(super) struct Interrupted {
    /// Their packs: the next ones of the new backup's table.
    pub(super) packs: Vec<StoredObject>,
    /// The newest first, of which what a file is like is known best.
    runs: Vec<Run>,
    /// The key of their hashes.
    pub(super) key: Option<[u8; 32]>,
}

#[derive(Debug)]
struct Run {
    journal: JournalReader,
    /// The number that each of its packs has in the new backup's table.
    numbers: HashMap<u32, u32>,
    /// What was read last of the journal, and is not asked for yet.
    ahead: Option<KnownFile>,
}

impl Interrupted {
    /// Finds the runs that broke off after the backup `base` of the same cluster, or since ever, and hashed with its key.
    ///
    /// `inherited` packs come before theirs in the new backup's table.
    pub(super) async fn find(
        repository: &Repository,
        catalogue: &Catalogue,
        system_identifier: u64,
        base: Option<(&BackupId, [u8; 32])>,
        inherited: u32,
    ) -> Result<Self> {
        let mut found = Self { key: base.map(|(_, key)| key), ..Self::default() };
        for journal in repository.journals(catalogue).await? {
            // The key of another cluster's is not this one's.
            if journal.subject.system_identifier != system_identifier {
                continue;
            }
            let key = *found.key.get_or_insert(journal.subject.key);
            let is_later = base.is_none_or(|(base, _)| journal.id > *base);
            if is_later && journal.subject == (JournalSubject { system_identifier, key }) {
                found.add(repository, catalogue, journal, inherited).await?;
            }
        }
        Ok(found)
    }

    async fn add(
        &mut self,
        repository: &Repository,
        catalogue: &Catalogue,
        journal: JournalReader,
        inherited: u32,
    ) -> Result<()> {
        // A pack that was found damaged would spoil every later backup.
        let findings: Vec<&str> = catalogue
            .entries
            .iter()
            .filter_map(|entry| entry.verdicts.last().filter(|verdict| !verdict.passed))
            .flat_map(|verdict| verdict.findings.iter().map(String::as_str))
            .collect();
        let is_damaged = |key: &ObjectKey| findings.iter().any(|finding| finding.contains(key.as_str()));
        let folder = format!("{PACKS}/{}", journal.id);
        let present: HashMap<ObjectKey, u64> =
            repository.storage().list(&folder).map_ok(|meta| (meta.key, meta.size)).try_collect().await?;
        let mut numbers = HashMap::new();
        for (own, pack) in &journal.packs {
            if present.get(&pack.key) == Some(&pack.stored_bytes) && !is_damaged(&pack.key) {
                numbers.insert(*own, inherited + self.packs.len() as u32);
                self.packs.push(pack.clone());
            }
        }
        tracing::info!(run = %journal.id, packs = numbers.len(), "what a run that broke off has stored is used");
        self.runs.push(Run { journal, numbers, ahead: None });
        Ok(())
    }

    /// Returns what the runs have of the file at `path`. Paths are asked for in their order.
    pub(super) async fn file(&mut self, path: &str) -> Option<KnownFile> {
        let mut number = 0;
        while number < self.runs.len() {
            match self.runs[number].file(path).await {
                Ok(Some(known)) => return Some(known),
                Ok(None) => number += 1,
                Err(error) => self.give_up(number, &error),
            }
        }
        None
    }

    /// Reads all that the runs know, the oldest first: what comes later holds.
    pub(super) async fn next(&mut self) -> Option<KnownFile> {
        while let Some(run) = self.runs.last_mut() {
            match run.next().await {
                Ok(Some(known)) => return Some(known),
                Ok(None) => drop(self.runs.pop()),
                Err(error) => self.give_up(self.runs.len() - 1, &error),
            }
        }
        None
    }

    fn give_up(&mut self, number: usize, error: &crate::ops::Error) {
        let run = self.runs.remove(number);
        tracing::warn!(run = %run.journal.id, %error, "what it had stored cannot be used any further: the rest is stored anew");
    }
}

impl Run {
    async fn file(&mut self, path: &str) -> Result<Option<KnownFile>> {
        loop {
            if self.ahead.is_none() {
                self.ahead = self.next().await?;
            }
            match self.ahead.as_ref().map(|known| known.path.as_str().cmp(path)) {
                Some(std::cmp::Ordering::Less) => self.ahead = None,
                Some(std::cmp::Ordering::Equal) => return Ok(self.ahead.take()),
                Some(std::cmp::Ordering::Greater) | None => return Ok(None),
            }
        }
    }

    /// Reads on to the next file of which all packs are there.
    async fn next(&mut self) -> Result<Option<KnownFile>> {
        while let Some((record, hashes)) = self.journal.next().await? {
            let size = record.size();
            let FileRecord { path, kind: FileKind::File { extents, .. }, .. } = record else { continue };
            let Some(extents) = self.translate(&extents) else { continue };
            let pages = KnownPages { size, hashes, renewed: RoaringBitmap::new() };
            return Ok(Some(KnownFile { path, pages, extents }));
        }
        Ok(None)
    }

    fn translate(&self, extents: &[Extent]) -> Option<Vec<Extent>> {
        let numbered = extents.iter().map(|extent| match *extent {
            Extent::Stored { pack, offset, length } => {
                self.numbers.get(&pack).map(|pack| Extent::Stored { pack: *pack, offset, length })
            }
            zeros @ Extent::Zeros { .. } => Some(zeros),
        });
        numbered.collect()
    }
}
