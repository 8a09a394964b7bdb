//! The repository: catalogue, manifests, leases and key epochs over a storage place.
//!
//! `docs/format.md` says which objects there are and in which order they are written. A backup exists when
//! its catalogue entry exists, and never before; whatever a crash leaves behind is invisible, and prune
//! finds it. This layer knows what objects mean, and neither how a database is read nor when to act.

mod alarms;
mod catalogue;
mod drills;
mod dump;
mod epoch;
mod error;
#[cfg(feature = "evidence")]
mod evidence;
mod history;
mod keyring;
mod layout;
mod lease;
mod manifest;
mod packs;
mod physical;
mod record;
mod run;
#[cfg_attr(not(feature = "runbooks"), allow(dead_code, reason = "only runbooks have runs"))]
mod runs;
mod settings;
mod slots;
#[cfg(feature = "local")]
mod spool;
mod summary;
mod sweep;
mod verdict;
mod wal;

pub use crate::cleanup::Cleanups;
pub use alarms::AlarmRecord;
pub use catalogue::{Catalogue, CatalogueEntry, CatalogueProblem};
pub use drills::{DrillRecord, DrillStep, Drills};
pub use epoch::{EpochInfo, EpochRole, SlotInfo};
pub use error::RepositoryError;
pub use history::{History, JobName, JobNameError, JobRun, RunBeginning, RunCause, RunEnding, RunResult};
pub use keyring::Keyring;
pub use lease::LEASE_TTL;
pub use manifest::{ImportOrigin, MANIFEST_FORMAT, Manifest, StoredObject, StoredStream};
pub use physical::{
    ClusterDatabase, DamagedPage, Extent, FileKind, FileRecord, PageHashes, PhysicalContents, Tablespace,
};
pub use settings::{InitOptions, REPOSITORY_FORMAT, RepositorySettings};
#[cfg(feature = "local")]
pub use spool::SpooledPlace;
pub use summary::{PreviousEntry, Summary, SummaryDetails};
pub use verdict::{Hold, Verdict, VerifyLevel};
pub use wal::{SegmentGap, SegmentRange, WalObject, segment_ranges};

pub(crate) use dump::{DumpSink, DumpSource};
#[cfg(feature = "evidence")]
pub(crate) use evidence::EvidenceWriter;
pub(crate) use layout::{BACKUPS, DUMPS, HOLDS, VERDICTS, summary as summary_key};
pub(crate) use layout::{LEASES, PACKS, identity_of, owner_of};
#[cfg(feature = "agent")]
pub(crate) use lease::AgentLease;
#[cfg(feature = "runbooks")]
pub(crate) use lease::OperationLease;
pub(crate) use physical::{
    ExtentCursor, FileMapReader, FileMapWriter, JournalReader, JournalSubject, JournalWriter, OpenPackReader,
    PackReader, PackWriter, PageHashReader, PageHashWriter, push_extent,
};
pub(crate) use run::{BackupRun, Finished};
pub(crate) use summary::PHYSICAL;
pub(crate) use sweep::Leftovers;
pub(crate) use wal::{TailPiece, WAL_IN_MEMORY, WalContent, WalOutcome, WalSource, covered};

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;

use crate::clock::Clock;
use crate::compute::ComputePool;
use crate::container::{ContainerReader, ObjectIdentity, ObjectKind, SealingKey, open_bytes};
use crate::crypto::keys::{SlotName, Unlocker, Wrapper};
use crate::storage::{Storage, StorageError, StorageExt as _};
use crate::types::{BackupId, ContentHash, ObjectKey, RepositoryId};

const MANIFEST_LIMIT: usize = 256 << 20;

/// What a repository works with, beside its storage place.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Environment {
    /// The threads that compress and encrypt.
    pub pool: ComputePool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What cancelled operations leave to be done.
    pub cleanups: Cleanups,
}

impl Environment {
    /// Works with these threads and this clock.
    pub fn new(pool: ComputePool, clock: Arc<dyn Clock>) -> Self {
        Self { pool, clock, cleanups: Cleanups::default() }
    }
}

/// A repository that has been opened. Reading it needs keys: see [`Repository::unlock`]. Cloning shares the place, and copies the keys.
#[derive(Debug, Clone)]
pub struct Repository {
    storage: Arc<dyn Storage>,
    environment: Environment,
    settings: RepositorySettings,
    /// What the settings were read from, until a key has shown that it is authentic.
    unchecked: Option<record::Record<RepositorySettings>>,
    keyring: Keyring,
}

impl Repository {
    /// Makes a repository at an empty place, with a key that each of `slots` can open.
    ///
    /// The last object written is `repo.json`; a crash before that leaves a place that can be used again. Of several calls at once
    /// one makes the repository, and the others take the keys away that they had written.
    ///
    /// # Errors
    /// [`RepositoryError::AlreadyInitialized`]; [`RepositoryError::ForeignPlace`]; [`RepositoryError::Crypto`] when a slot cannot be made.
    pub async fn init(
        storage: Arc<dyn Storage>,
        environment: Environment,
        options: &InitOptions,
        slots: &[(SlotName, Wrapper)],
    ) -> Result<Self, RepositoryError> {
        let place = layout::settings();
        if storage.head(&place).await.is_ok() {
            return Err(RepositoryError::AlreadyInitialized { location: storage.location() });
        }
        storage.prepare().await?;
        let mut objects = storage.list("");
        while let Some(object) = objects.try_next().await? {
            if !layout::is_own(&object.key) {
                return Err(RepositoryError::ForeignPlace { location: storage.location(), found: object.key });
            }
        }
        drop(objects);
        let now = environment.clock.now();
        let (root, key) = epoch::begin(storage.as_ref(), now, None, false, slots).await?;
        let settings = RepositorySettings::new(RepositoryId::generate(), now, root.clone(), options);
        let stored = record::encode(&place, settings::DOMAIN, &root, &key, &settings);
        match storage.create(&place, stored).await {
            Ok(_) => {}
            Err(StorageError::AlreadyExists { location, .. }) => {
                // Nobody can have sealed anything with a key that no repository names.
                epoch::remove(storage.as_ref(), &root).await?;
                return Err(RepositoryError::AlreadyInitialized { location });
            }
            Err(error) => return Err(error.into()),
        }
        let mut keyring = Keyring::default();
        keyring.insert(root, key);
        Ok(Self { storage, environment, settings, unchecked: None, keyring })
    }

    /// Opens the repository at a place, without any key.
    ///
    /// # Errors
    /// [`RepositoryError::NotARepository`], [`RepositoryError::UnsupportedFormat`].
    pub async fn open(storage: Arc<dyn Storage>, environment: Environment) -> Result<Self, RepositoryError> {
        let found = match record::load::<RepositorySettings>(storage.as_ref(), &layout::settings()).await {
            Err(RepositoryError::Storage(StorageError::FolderMissing { .. })) => None,
            found => found?,
        };
        let Some(found) = found else {
            return Err(RepositoryError::NotARepository { location: storage.location() });
        };
        found.value.check_format()?;
        let settings = found.value.clone();
        Ok(Self { storage, environment, settings, unchecked: Some(found), keyring: Keyring::default() })
    }

    /// Opens every epoch that `unlocker` has a slot in, and checks `repo.json` and the chain of epochs.
    ///
    /// May be called several times, with different unlockers.
    ///
    /// # Errors
    /// [`RepositoryError::NoSlotOpened`] or the one slot's own error; [`RepositoryError::NotAuthentic`] and
    /// [`RepositoryError::EpochConflict`] when something was forged.
    pub async fn unlock(&mut self, unlocker: &Unlocker) -> Result<(), RepositoryError> {
        let storage = self.storage.as_ref();
        let table = epoch::list_slots(storage).await?;
        let mut keyring = self.keyring.clone();
        epoch::unlock(storage, &table, unlocker, &mut keyring).await?;
        // What was just read is not asked for again: every archived segment would wait for it.
        let found = match self.unchecked.take() {
            Some(found) => Some(found),
            None => record::load::<RepositorySettings>(storage, &layout::settings()).await?,
        };
        if let Some(found) = found
            && let Ok(key) = keyring.require(&found.epoch)
        {
            found.authenticate(settings::DOMAIN, &key)?;
            self.settings = found.value;
        }
        let active = epoch::active(storage, &table, &keyring, &self.settings.epoch).await?;
        keyring.seal_with(active);
        self.keyring = keyring;
        Ok(())
    }

    /// Begins an epoch for this run alone, which only `slots` can open: for a host that holds no secret.
    ///
    /// What is sealed from now on, this host can read until the value is dropped, and never after.
    ///
    /// # Errors
    /// [`RepositoryError::Crypto`] when a slot cannot be made.
    pub async fn begin_run_epoch(&mut self, slots: &[(SlotName, Wrapper)]) -> Result<(), RepositoryError> {
        let now = self.environment.clock.now();
        let (id, key) = epoch::begin(self.storage.as_ref(), now, None, true, slots).await?;
        self.keyring.insert(id.clone(), key);
        self.keyring.seal_with(id);
        Ok(())
    }

    /// Returns the place that the repository lies in.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Returns what the repository says of itself.
    pub fn settings(&self) -> &RepositorySettings {
        &self.settings
    }

    /// Returns the keys that have been unlocked.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Returns the threads and the clock that the repository works with.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Reads the catalogue as it is now.
    ///
    /// # Errors
    /// [`RepositoryError::Storage`] when the place cannot be read; a bad entry is a problem in the result.
    pub async fn catalogue(&self) -> Result<Catalogue, RepositoryError> {
        Catalogue::load(self.storage.as_ref(), &self.keyring).await
    }

    /// Reads the catalogue of one of several places that this repository lies in.
    pub(crate) async fn catalogue_at(&self, place: &dyn Storage) -> Result<Catalogue, RepositoryError> {
        Catalogue::load(place, &self.keyring).await
    }

    /// Returns whether a stored record is authentic, as far as it can be told: its form without its epoch's key.
    pub(crate) fn is_authentic_record(&self, key: &ObjectKey, stored: Bytes) -> bool {
        let Some(domain) = layout::record_domain(key) else { return true };
        let Ok(found) = record::decode::<serde::de::IgnoredAny>(key, stored) else { return false };
        self.keyring.require(&found.epoch).is_ok_and(|epoch| found.authenticate(domain, &epoch).is_ok())
    }

    /// Returns whether a copy of a file of the write-ahead log, an entry of a journal, or a part of a bundle of evidence is authentic to its end;
    /// `None` for anything else. Without its epoch's key that cannot be told, and it is not.
    pub(crate) async fn is_authentic_container(&self, place: &dyn Storage, key: &ObjectKey) -> Option<bool> {
        let kind = layout::container_kind(key)?;
        if kind == ObjectKind::Wal && !wal::is_named(key) {
            return Some(false);
        }
        let opened = async {
            let stored = place.get(key, None).await?;
            let (identity, pool) = (ObjectIdentity::new(kind, key.as_str()), self.environment.pool.clone());
            ContainerReader::open(stored, &identity, &self.keyring, pool).await
        };
        Some(match opened.await {
            Ok(reader) => reader.check_seals_to_end().await.is_ok(),
            Err(_) => false,
        })
    }

    /// Reads the manifest of a backup, and checks that it is the one its catalogue entry names.
    ///
    /// # Errors
    /// [`RepositoryError::Container`] when it is not authentic, [`RepositoryError::Damaged`] when it is
    /// another one than was committed.
    pub async fn manifest(&self, summary: &Summary) -> Result<Manifest, RepositoryError> {
        let key = &summary.manifest.key;
        let damaged = |reason: String| RepositoryError::Damaged { record: key.to_string(), reason };
        if *key != layout::manifest(&summary.id) {
            return Err(damaged(format!("the catalogue entry of {} does not name it rightly", summary.id)));
        }
        let stored = self.storage.read(key, MANIFEST_LIMIT).await?;
        let plain = open_bytes(&stored, &manifest_identity(&summary.id), &self.keyring, MANIFEST_LIMIT)?;
        if ContentHash::of(&stored) != summary.manifest.hash {
            return Err(damaged("it is not the one that was committed".to_owned()));
        }
        let manifest: Manifest = serde_json::from_slice(&plain).map_err(|error| damaged(error.to_string()))?;
        if manifest.format > MANIFEST_FORMAT {
            return Err(RepositoryError::UnsupportedFormat { format: manifest.format });
        }
        Ok(manifest)
    }

    /// Reads the map of a physical backup's files.
    pub(crate) async fn file_map(&self, id: &BackupId) -> Result<FileMapReader, RepositoryError> {
        FileMapReader::open(self.storage.as_ref(), self.environment.pool.clone(), &self.keyring, id).await
    }

    /// Reads the hashes of a physical backup's pages.
    pub(crate) async fn page_hashes(&self, id: &BackupId) -> Result<PageHashReader, RepositoryError> {
        PageHashReader::open(self.storage.as_ref(), self.environment.pool.clone(), &self.keyring, id).await
    }

    /// Opens the packs that a physical backup points into.
    pub(crate) fn pack_reader(&self, contents: &PhysicalContents) -> PackReader {
        let keys = Arc::new(self.keyring.clone());
        PackReader::new(Arc::clone(&self.storage), self.environment.pool.clone(), keys, contents.packs.clone())
    }

    /// Opens the streams of a backup for reading.
    pub(crate) fn dump_source(&self, manifest: &Manifest) -> DumpSource {
        let keys = Arc::new(self.keyring.clone());
        DumpSource::new(Arc::clone(&self.storage), self.environment.pool.clone(), keys, manifest.streams.clone())
    }

    /// Returns the key that new objects are sealed with, for files of the user's own beside the repository.
    ///
    /// # Errors
    /// [`RepositoryError::Locked`].
    pub fn sealing_key(&self) -> Result<SealingKey, RepositoryError> {
        self.keyring.sealing_key(&self.settings.epoch)
    }
}

fn manifest_identity(id: &BackupId) -> ObjectIdentity {
    ObjectIdentity::new(ObjectKind::Manifest, layout::manifest(id).to_string())
}
