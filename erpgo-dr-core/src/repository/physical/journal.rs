//! What a run notes of the files that it has stored while it goes on, so that the next one need not store them again if it breaks off.
//!
//! A journal is a row of parts. Each names the packs that have become durable since the part before it, and the files of which every
//! stored byte lies in durable packs of the run: a line of JSON, and the hashes of the file's pages behind it. It tells where bytes
//! lie, and never that a file has not changed since.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::super::catalogue::Catalogue;
use super::super::keyring::Keyring;
use super::super::manifest::StoredObject;
use super::super::{Repository, RepositoryError, layout};
use super::{Extent, FileKind, FileRecord, PackWriter};
use crate::container::{ContainerOptions, ContainerReader, SealingKey, open_bytes, seal_bytes};
use crate::postgres::physical::hash_bytes;
use crate::storage::{PutOptions, Storage, StorageExt as _};
use crate::types::{BackupId, ObjectKey};

/// Packs after which a part is written, at least.
const PACKS: u32 = 4;
/// The share of its packs that a run leaves unnamed, at most, so that a long one has few parts.
const SHARE: u32 = 32;
/// Bytes of notes after which a part is written as soon as there is a new pack.
const NOTES: usize = 8 << 20;
/// The largest part that is read.
const PART_LIMIT: usize = 256 << 20;

/// The first line of a part.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    system_identifier: u64,
    /// The key of the hashes, as 64 hexadecimal digits.
    #[serde(with = "hex::serde")]
    key: [u8; 32],
    /// The number of the first of the packs, of those that the run itself wrote.
    first: u32,
    packs: Vec<StoredObject>,
}

/// What a journal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalSubject {
    /// The cluster.
    pub(crate) system_identifier: u64,
    /// The key of the hashes of its pages.
    pub(crate) key: [u8; 32],
}

/// Writes the journal of a run.
#[derive(Debug)]
pub(crate) struct JournalWriter {
    storage: Arc<dyn Storage>,
    key: SealingKey,
    options: ContainerOptions,
    id: BackupId,
    subject: JournalSubject,
    /// Packs of other backups, which come first in the run's table.
    inherited: u32,
    /// Parts that have been written, or may have been.
    parts: Arc<AtomicU32>,
    /// Packs that parts have named.
    named: u32,
    /// Packs that were durable when it was last looked.
    seen: u32,
    notes: Vec<Note>,
    bytes: usize,
}

/// A file that waits for its packs.
#[derive(Debug)]
struct Note {
    last_pack: u32,
    text: Vec<u8>,
}

impl JournalWriter {
    pub(crate) fn new(
        (storage, id): (Arc<dyn Storage>, BackupId),
        key: SealingKey,
        options: ContainerOptions,
        parts: Arc<AtomicU32>,
        subject: JournalSubject,
        inherited: u32,
    ) -> Self {
        let (named, seen, notes, bytes) = (0, 0, Vec::new(), 0);
        Self { storage, key, options, id, subject, inherited, parts, named, seen, notes, bytes }
    }

    /// Notes a file whose pages have these hashes. What lies in packs of other backups, or in none, is left out.
    pub(crate) fn note(&mut self, record: &FileRecord, hashes: &[u8]) {
        let FileKind::File { modified, extents } = &record.kind else { return };
        let own = |extent: &Extent| match *extent {
            Extent::Stored { pack, offset, length } => {
                pack.checked_sub(self.inherited).map(|pack| Extent::Stored { pack, offset, length })
            }
            zeros @ Extent::Zeros { .. } => Some(zeros),
        };
        let Some(extents) = extents.iter().map(own).collect::<Option<Vec<Extent>>>() else { return };
        let packs = extents.iter().filter_map(|extent| match *extent {
            Extent::Stored { pack, .. } => Some(pack),
            Extent::Zeros { .. } => None,
        });
        let Some(last_pack) = packs.max() else { return };
        let kind = FileKind::File { modified: *modified, extents };
        let record = FileRecord::new(&*record.path, kind, record.mode);
        let mut text = serde_json::to_vec(&record).expect("a record is plain JSON");
        text.push(b'\n');
        text.extend_from_slice(hashes);
        self.bytes += text.len();
        self.notes.push(Note { last_pack, text });
    }

    /// Writes a part, if there is enough for one. A part that cannot be written costs a later run some work, and this one nothing.
    pub(crate) fn write<'s>(&'s mut self, packs: &PackWriter) -> impl Future<Output = ()> + Send + use<'s> {
        let (durable, part) = (packs.durable(), self.part(packs));
        async move {
            if let Some(part) = part {
                self.put(durable, &part).await;
            }
        }
    }

    /// Takes the notes of files that lie in durable packs; `None` while that is not worth a part.
    fn part(&mut self, packs: &PackWriter) -> Option<Vec<u8>> {
        let durable = packs.durable();
        if durable == self.seen {
            return None;
        }
        self.seen = durable;
        if durable - self.named < PACKS.max(durable / SHARE) && self.bytes < NOTES {
            return None;
        }
        let (ready, waiting): (Vec<Note>, Vec<Note>) =
            std::mem::take(&mut self.notes).into_iter().partition(|note| note.last_pack < durable);
        self.bytes = waiting.iter().map(|note| note.text.len()).sum();
        self.notes = waiting;
        if ready.is_empty() {
            return None;
        }
        let JournalSubject { system_identifier, key } = self.subject;
        let head = Head { system_identifier, key, first: self.named, packs: packs.durable_from(self.named) };
        let mut plain = serde_json::to_vec(&head).expect("a head is plain JSON");
        plain.push(b'\n');
        ready.iter().for_each(|note| plain.extend_from_slice(&note.text));
        Some(plain)
    }

    async fn put(&mut self, durable: u32, plain: &[u8]) {
        // Before the part: who cleans up behind the run must not take packs away that it names.
        let number = self.parts.fetch_add(1, Ordering::SeqCst) + 1;
        match self.store(number, plain).await {
            Ok(()) => self.named = durable,
            Err(error) => {
                tracing::warn!(backup = %self.id, %error, "what is stored could not be noted: if this run breaks off, it is stored again");
            }
        }
    }

    async fn store(&self, number: u32, plain: &[u8]) -> Result<(), RepositoryError> {
        let object = layout::journal(&self.id, number);
        let sealed = seal_bytes(&layout::identity_of(&object), &self.key, &self.options, plain)?;
        self.storage.write(&object, sealed.into(), &PutOptions::default()).await?;
        Ok(())
    }
}

/// Reads the journal of a run that did not commit.
#[derive(Debug)]
pub(crate) struct JournalReader {
    storage: Arc<dyn Storage>,
    keys: Keyring,
    pub(crate) id: BackupId,
    pub(crate) subject: JournalSubject,
    /// The durable packs of the run, by their numbers among those that it wrote.
    pub(crate) packs: BTreeMap<u32, StoredObject>,
    /// Parts that have not been read yet, the last one first.
    parts: Vec<ObjectKey>,
    rest: Bytes,
}

impl JournalReader {
    /// Returns the next file that the journal names, with the numbers of packs among those that the run wrote, and the hashes of its
    /// pages.
    pub(crate) async fn next(&mut self) -> Result<Option<(FileRecord, Bytes)>, RepositoryError> {
        while self.rest.is_empty() {
            let Some(part) = self.parts.pop() else { return Ok(None) };
            let stored = self.storage.read(&part, PART_LIMIT).await?;
            let identity = layout::identity_of(&part);
            self.rest = open_bytes(&stored, &identity, &self.keys, PART_LIMIT)?.into();
            self.line()?;
        }
        let line = self.line()?;
        let record: FileRecord = serde_json::from_slice(&line).map_err(|error| damaged(&self.id, &error))?;
        let hashes = hash_bytes(record.size());
        if self.rest.len() < hashes {
            return Err(damaged(&self.id, &"it ends before the hashes of its last file do"));
        }
        Ok(Some((record, self.rest.split_to(hashes))))
    }

    fn line(&mut self) -> Result<Bytes, RepositoryError> {
        let end = memchr::memchr(b'\n', &self.rest).ok_or_else(|| damaged(&self.id, &"its last line is cut short"))?;
        let line = self.rest.split_to(end);
        self.rest.advance(1);
        Ok(line)
    }
}

impl Repository {
    /// Finds the journals of runs that did not commit, the newest first; without those that cannot be read here.
    ///
    /// `catalogue` is to be read after the run that asks has left word of itself: prune then removes no pack of a run that is not
    /// revoked in it.
    pub(crate) async fn journals(&self, catalogue: &Catalogue) -> Result<Vec<JournalReader>, RepositoryError> {
        let mut runs: BTreeMap<BackupId, Vec<ObjectKey>> = BTreeMap::new();
        let mut objects = self.storage.list(layout::BACKUPS);
        while let Some(meta) = objects.try_next().await? {
            if let Some(id) = layout::parse_journal(&meta.key) {
                runs.entry(id).or_default().push(meta.key);
            }
        }
        let mut journals = Vec::new();
        for (id, parts) in runs.into_iter().rev() {
            if catalogue.find(&id).is_some() || catalogue.is_removed(&id) || catalogue.revoked.contains_key(&id) {
                continue;
            }
            match self.open_journal(&id, parts).await {
                Ok(journal) => journals.push(journal),
                Err(error) => {
                    tracing::warn!(run = %id, %error, "what it had stored when it broke off cannot be read: it is stored again");
                }
            }
        }
        Ok(journals)
    }

    async fn open_journal(&self, id: &BackupId, mut parts: Vec<ObjectKey>) -> Result<JournalReader, RepositoryError> {
        parts.sort_unstable_by(|one, other| other.cmp(one));
        let (mut subject, mut packs) = (None, BTreeMap::new());
        for part in &parts {
            let Head { system_identifier, key, first, packs: named } = self.journal_head(id, part).await?;
            let found = JournalSubject { system_identifier, key };
            if *subject.get_or_insert(found) != found {
                return Err(damaged(id, &"its parts tell of different clusters"));
            }
            packs.extend((first..).zip(named));
        }
        let subject = subject.ok_or_else(|| damaged(id, &"it has no parts"))?;
        let (storage, keys) = (Arc::clone(&self.storage), self.keyring.clone());
        Ok(JournalReader { storage, keys, id: id.clone(), subject, packs, parts, rest: Bytes::new() })
    }

    /// Reads the beginning of a part. What it yields is authentic.
    async fn journal_head(&self, id: &BackupId, part: &ObjectKey) -> Result<Head, RepositoryError> {
        let stored = self.storage.get(part, None).await?;
        let (identity, pool) = (layout::identity_of(part), self.environment.pool.clone());
        let mut reader = ContainerReader::open(stored, &identity, &self.keyring, pool).await?;
        let mut line = BytesMut::new();
        while let Some(chunk) = reader.next().await? {
            line.extend_from_slice(&chunk);
            if let Some(end) = memchr::memchr(b'\n', &line) {
                return serde_json::from_slice(&line[..end]).map_err(|error| damaged(id, &error));
            }
            if line.len() > PART_LIMIT {
                break;
            }
        }
        Err(damaged(id, &"its first line has no end"))
    }
}

fn damaged(id: &BackupId, reason: &dyn std::fmt::Display) -> RepositoryError {
    RepositoryError::Damaged { record: format!("journal of {id}"), reason: reason.to_string() }
}
