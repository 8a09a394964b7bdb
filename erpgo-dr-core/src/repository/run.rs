//! A backup in the making: from its lease to its commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};

use super::lease::Lease;
use super::manifest::{MANIFEST_FORMAT, Manifest, StoredObject, StoredStream};
use super::physical::{
    FileMapWriter, JournalSubject, JournalWriter, PackOptions, PackWriter, PageHashWriter, PhysicalContents,
};
use super::summary::{Summary, SummaryDetails, seal_details};
use super::{DumpSink, Repository, RepositoryError, catalogue, dump, layout, manifest_identity, packs, sweep};
use crate::codec::Codec;
use crate::container::{SealingKey, seal_bytes};
use crate::postgres::BackupContents;
use crate::storage::{PutOptions, Storage, StorageClass, StorageError, StorageExt as _};
use crate::types::{BackupId, ContentHash};

/// The purpose of the lease that a running backup holds.
pub(super) const PURPOSE: &str = "backup";

/// Plaintext bytes of a frame in packs: what is read to get at one page.
const PACK_FRAME: usize = 1 << 20;

/// Objects that are removed at once.
const REMOVALS: usize = 16;

/// A backup that has begun and does not exist yet.
#[derive(Debug)]
pub(crate) struct BackupRun<'a> {
    repository: &'a Repository,
    key: SealingKey,
    id: BackupId,
    created: DateTime<Utc>,
    codec: Option<Codec>,
    /// `None` once the run has ended, well or not.
    lease: Option<Lease>,
    /// Whether word of it lies in the repository until it commits.
    announced: bool,
    /// Parts of its journal that have been written, or may have been.
    journal: Arc<AtomicU32>,
}

/// What a backup turned out to be.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) kind: &'static str,
    pub(crate) contents: BackupContents,
    pub(crate) streams: Vec<StoredStream>,
    pub(crate) label: Option<String>,
    pub(crate) origin: Option<super::ImportOrigin>,
    pub(crate) physical: Option<PhysicalContents>,
}

impl<'a> BackupRun<'a> {
    /// Draws an identifier and takes the lease that keeps prune away from what is written under it.
    ///
    /// `created` is the moment whose data it holds, where that is not now.
    pub(crate) async fn begin(
        repository: &'a Repository,
        codec: Option<Codec>,
        created: Option<DateTime<Utc>>,
    ) -> Result<Self, RepositoryError> {
        let key = repository.sealing_key()?;
        let created = created.unwrap_or_else(|| repository.environment.clock.now());
        let id = BackupId::generate(created);
        let lease = Lease::share(&repository.storage, PURPOSE, id.as_str()).await?;
        Ok(Self { repository, key, id, created, codec, lease: Some(lease), announced: false, journal: Arc::default() })
    }

    /// Returns the identifier of the backup.
    pub(crate) fn id(&self) -> &BackupId {
        &self.id
    }

    /// Returns the sink that seals this backup's streams.
    pub(crate) fn sink(&self, class: Option<StorageClass>) -> DumpSink {
        let settings = &self.repository.settings;
        let options = dump::DumpSinkOptions {
            container: settings.container_options(self.codec),
            put: PutOptions::default().with_storage_class(class),
            part_bytes: settings.part_bytes,
        };
        let storage = Arc::clone(&self.repository.storage);
        DumpSink::new(storage, self.repository.environment.pool.clone(), self.key.clone(), self.id.clone(), options)
    }

    /// Returns a writer for the packs of this backup.
    ///
    /// `inherited` packs of other backups come before them in the table.
    pub(crate) fn pack_writer(&self, class: Option<StorageClass>, inherited: u32) -> PackWriter {
        let mut container = self.repository.settings.container_options(self.codec);
        container.frame_len = container.frame_len.min(PACK_FRAME);
        let options = PackOptions { container, put: PutOptions::default().with_storage_class(class) };
        let (storage, pool) = (Arc::clone(&self.repository.storage), self.repository.environment.pool.clone());
        PackWriter::new(storage, pool, self.key.clone(), options, self.id.clone(), inherited)
    }

    /// Leaves word that this run may come to point into packs of other backups. To be called before it reads the catalogue:
    /// prune then removes no pack before it has either seen the run commit, or revoked it.
    pub(crate) async fn announce(&mut self) -> Result<(), RepositoryError> {
        let (object, word) = (layout::begun(&self.id), self.id.to_string());
        self.repository.storage.write(&object, word.into(), &PutOptions::default()).await?;
        self.announced = true;
        Ok(())
    }

    /// Begins the journal of what this run stores, beside `inherited` packs of other backups.
    ///
    /// Once there is something in it, a run that gives up leaves its packs and its journal: the next one goes on from there, or
    /// prune removes them.
    pub(crate) fn journal(&self, subject: JournalSubject, inherited: u32) -> JournalWriter {
        let place = (Arc::clone(&self.repository.storage), self.id.clone());
        let options = self.repository.settings.container_options(None);
        JournalWriter::new(place, self.key.clone(), options, Arc::clone(&self.journal), subject, inherited)
    }

    /// Begins the hashes of this backup's pages.
    pub(crate) async fn page_hashes(&self) -> Result<PageHashWriter, RepositoryError> {
        let options = self.repository.settings.container_options(Some(Codec::None));
        let pool = self.repository.environment.pool.clone();
        PageHashWriter::begin(self.repository.storage.as_ref(), pool, &self.key, &options, &self.id).await
    }

    /// Begins the map of this backup's files.
    pub(crate) async fn file_map(&self) -> Result<FileMapWriter, RepositoryError> {
        let options = self.repository.settings.container_options(None);
        let pool = self.repository.environment.pool.clone();
        FileMapWriter::begin(self.repository.storage.as_ref(), pool, &self.key, &options, &self.id).await
    }

    /// Writes the manifest and then the catalogue entry, with whose creation the backup exists.
    ///
    /// # Errors
    /// [`RepositoryError::Revoked`] when prune took this run for dead meanwhile; any other of the storage place. What was written is
    /// removed if it is certain that the entry will never be there, and no later run can go on from it.
    pub(crate) async fn commit(mut self, finished: Finished) -> Result<(Summary, Manifest), RepositoryError> {
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            id: self.id.clone(),
            kind: finished.kind.to_owned(),
            created: self.created,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            contents: finished.contents,
            streams: finished.streams,
            origin: finished.origin,
            physical: finished.physical,
        };
        let stored_manifest = self.store_manifest(&manifest).await?;
        let summary = self.summarize(&manifest, stored_manifest, finished.label).await?;
        let (object, stored) = catalogue::encode_entry(summary.clone(), &self.key);
        match self.repository.storage.create(&object, stored).await {
            Ok(_) => {}
            Err(StorageError::AlreadyExists { .. }) => return Err(RepositoryError::Revoked { id: self.id.clone() }),
            Err(error) => self.settle(error).await?,
        }
        if self.announced
            && let Err(error) = self.repository.storage.delete(&layout::begun(&self.id)).await
        {
            tracing::warn!(backup = %self.id, %error, "could not take back a word that is of no more use; it does no harm");
        }
        if let Err(error) = self.remove_journal().await {
            tracing::warn!(backup = %self.id, %error, "could not remove a journal that is of no more use; it goes with the backup");
        }
        self.leave().await;
        Ok((summary, manifest))
    }

    async fn remove_journal(&self) -> Result<(), StorageError> {
        let storage = self.repository.storage.as_ref();
        let parts = (1..=self.journal.load(Ordering::SeqCst)).map(|part| layout::journal(&self.id, part));
        let removals = futures::stream::iter(parts).map(|part| async move { storage.delete(&part).await });
        removals.buffer_unordered(REMOVALS).try_collect().await
    }

    /// Finds out what became of the catalogue entry when its creation failed: the entry may be there all the same, or still come.
    ///
    /// What cannot be known leaves the objects to prune, which sees what there is by then.
    async fn settle(&mut self, error: StorageError) -> Result<(), RepositoryError> {
        // Of the entry and the mark of a revoked run one is made: where the mark lies, the entry never will.
        let is_committed = match self.repository.revoke(&self.id).await {
            Ok(revoked) => !revoked,
            Err(unknown) => {
                tracing::warn!(backup = %self.id, error = %unknown, "whether it was committed is not known; nothing of it is removed");
                self.leave().await;
                return Err(error.into());
            }
        };
        match error {
            // It exists, but not where it was wanted too.
            StorageError::Degraded { .. } if is_committed => {
                self.leave().await;
                Err(error.into())
            }
            error if is_committed => {
                tracing::warn!(backup = %self.id, %error, "committed, though the answer to that was lost");
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    /// Ends the run, and leaves what it wrote where it is.
    async fn leave(&mut self) {
        if let Some(lease) = self.lease.take() {
            release(lease, &self.id).await;
        }
    }

    /// Gives up: removes what was written, as far as the storage place still answers, unless a later run can go on from it.
    pub(crate) async fn abandon(mut self) {
        if let Some(lease) = self.lease.take() {
            let keeps = self.keeps_what_it_wrote();
            clean_up(Arc::clone(&self.repository.storage), self.id.clone(), lease, keeps).await;
        }
    }

    /// Whoever has read the journal may point into the packs that it names.
    fn keeps_what_it_wrote(&self) -> bool {
        self.journal.load(Ordering::SeqCst) > 0
    }

    async fn store_manifest(&self, manifest: &Manifest) -> Result<StoredObject, RepositoryError> {
        let plain = serde_json::to_vec(manifest).expect("a manifest is plain JSON");
        let options = self.repository.settings.container_options(None);
        let sealed = seal_bytes(&manifest_identity(&self.id), &self.key, &options, &plain)?;
        let (hash, stored_bytes) = (ContentHash::of(&sealed), sealed.len() as u64);
        let key = layout::manifest(&self.id);
        self.repository.storage.write(&key, sealed.into(), &PutOptions::default()).await?;
        Ok(StoredObject { key, plaintext_bytes: plain.len() as u64, stored_bytes, hash })
    }

    async fn summarize(
        &self,
        manifest: &Manifest,
        stored_manifest: StoredObject,
        label: Option<String>,
    ) -> Result<Summary, RepositoryError> {
        let objects: Vec<StoredObject> = manifest.objects().cloned().collect();
        let server = &manifest.contents.server;
        let details = SummaryDetails {
            scope: manifest.contents.scope,
            databases: manifest.databases(),
            server_version: server.version.clone(),
            server_major: server.major(),
            system_identifier: server.system_identifier,
            label,
        };
        Ok(Summary {
            id: self.id.clone(),
            kind: manifest.kind.clone(),
            created: self.created,
            finished: self.repository.environment.clock.now(),
            plaintext_bytes: match &manifest.physical {
                Some(physical) => physical.bytes,
                None => objects.iter().map(|object| object.plaintext_bytes).sum(),
            },
            stored_bytes: objects.iter().map(|object| object.stored_bytes).sum::<u64>() + stored_manifest.stored_bytes,
            previous: self.repository.catalogue().await?.link(),
            manifest: stored_manifest,
            objects,
            details: seal_details(&self.id, &self.key, &details)?,
        })
    }
}

/// A run that is dropped was cancelled: it is abandoned in the background.
impl Drop for BackupRun<'_> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            let keeps = self.keeps_what_it_wrote();
            let work = clean_up(Arc::clone(&self.repository.storage), self.id.clone(), lease, keeps);
            self.repository.environment.cleanups.spawn(work);
        }
    }
}

async fn clean_up(storage: Arc<dyn Storage>, id: BackupId, lease: Lease, keeps: bool) {
    let removed = async {
        if keeps {
            return Ok(());
        }
        sweep::remove_leftovers(storage.as_ref(), &id).await?;
        packs::remove_of_run(storage.as_ref(), &id).await
    };
    if let Err(error) = removed.await {
        tracing::warn!(backup = %id, %error, "could not remove what a failed backup left; prune will");
    }
    release(lease, &id).await;
}

async fn release(lease: Lease, id: &BackupId) {
    if let Err(error) = lease.release().await {
        tracing::warn!(backup = %id, %error, "could not give up a lease; it will lapse by itself");
    }
}
