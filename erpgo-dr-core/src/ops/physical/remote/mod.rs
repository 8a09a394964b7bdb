//! Takes a physical backup from anywhere: the server itself sends its files over a replication connection (`BASE_BACKUP`).

mod gather;
mod history;
mod known;
mod spool;
mod unpack;

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;

use self::gather::{Gatherer, Received};
use self::known::{KnownFiles, SortedFiles, UploadManifest};
use self::unpack::{Packed, Unpacker};
use super::backup::ChangeSource;
use super::base::Base;
use super::copy::{Copied, CopiedBase, describe};
use super::earlier::Earlier;
use super::log::Since;
use super::options::{ChangeDetection, ClusterBackupOptions};
use super::resume::Interrupted;
use crate::ops::{Error, Result};
use crate::postgres::physical::{ChangedBlocks, ClusterFacts, PAGE, PageHasher, StoppedBackup, label_timeline, plain};
use crate::postgres::replication::{BaseBackup, BaseBackupEvent, BaseBackupOptions, ReplicationClient};
use crate::postgres::{ConnectionSettings, PostgresError};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{BackupRun, JournalSubject, JournalWriter, PackWriter, Repository};
use crate::types::{Lsn, TimelineId};

/// Messages of up to 32 KiB that may wait to be taken apart.
const PACKED: usize = 256;

/// Chunks of up to 256 KiB that may wait to be stored.
const UNPACKED: usize = 32;

/// The first version whose answer to `BASE_BACKUP` is understood.
const OLDEST: u32 = 15;

/// The first version that sends changes alone.
const INCREMENTAL_SINCE: u32 = 17;

/// SQLSTATE of a server that has no summaries of the log since the earlier backup, or is not in a state to make them.
const NOT_IN_PREREQUISITE_STATE: &str = "55000";

/// Copies the cluster as its server sends it.
pub(super) async fn copy(
    repository: &Repository,
    run: &mut BackupRun<'_>,
    settings: &ConnectionSettings,
    scratch: &Path,
    options: &ClusterBackupOptions,
    progress: &dyn Progress,
) -> Result<Copied> {
    let facts = ClusterFacts::read(settings).await?;
    check(&facts, options)?;
    let mut earlier = Earlier::find(repository, run, &facts, options.changes).await?;
    let mut client = connect(settings, &facts).await?;
    let timeline = client.identify_system().await?.timeline;
    let label = plain(options.label.as_deref().unwrap_or(run.id().as_str()));
    let mut request = BaseBackupOptions { label, fast_checkpoint: options.fast_checkpoint, incremental: false };
    let mut known = None;
    if let Some(base) = &mut earlier.base {
        request.incremental = can_be_told(&facts, base, timeline, options)
            && is_history_of(settings, &facts, Since::of(base), timeline).await;
        let mut manifest = request.incremental.then(|| UploadManifest::begin(scratch, &facts)).transpose()?;
        if request.incremental {
            base.keep_worn();
        }
        let mut files = KnownFiles::begin(scratch)?;
        files.read(base, manifest.as_mut()).await?;
        if let Some(manifest) = manifest {
            client.upload_manifest(manifest.finish(base, scratch)?).await?;
        }
        known = Some(files);
    }
    // What is not sent is as the base has it, and not as any later run has.
    if request.incremental {
        earlier.interrupted = Interrupted::default();
    }
    let (inherited, of_base) = earlier.packs();
    if !earlier.interrupted.packs.is_empty() {
        let files = known.take().map_or_else(|| KnownFiles::begin(scratch), Ok)?;
        known = Some(files.read_interrupted(&mut earlier.interrupted).await?);
    }
    let mut packs = run.pack_writer(options.storage_class.clone(), inherited.len() as u32);
    let subject = JournalSubject { system_identifier: facts.system_identifier, key: earlier.key };
    let journal = run.journal(subject, inherited.len() as u32);
    let (base, key) = (earlier.base, earlier.key);
    let known = known.map(KnownFiles::sorted).transpose()?;
    let patience = options.summary_patience;
    let copy = Copy { run, packs: &mut packs, journal, settings, patience, facts, base, key, known, scratch, progress };
    match copy.run(&mut client, request).await {
        Ok(mut copied) => {
            copied.complete(inherited, of_base, packs.finish().await?);
            Ok(copied)
        }
        Err(error) => {
            packs.abort().await;
            Err(error)
        }
    }
}

fn check(facts: &ClusterFacts, options: &ClusterBackupOptions) -> Result<()> {
    if facts.server.major() < OLDEST {
        let found = facts.server.major();
        let text = format!("a server of version {found} cannot be backed up over a connection: {OLDEST} is the oldest");
        return Err(PostgresError::InvalidOptions(text).into());
    }
    if options.changes == ChangeDetection::Both {
        let text = "over a connection what the log tells cannot be proven by a comparison: compare, or let it tell";
        return Err(PostgresError::InvalidOptions(text.to_owned()).into());
    }
    Ok(())
}

async fn connect(settings: &ConnectionSettings, facts: &ClusterFacts) -> Result<ReplicationClient> {
    let mut client = settings.connect_for_replication().await?;
    let found = client.identify_system().await?.system_identifier;
    if found != facts.system_identifier {
        let text =
            format!("two connections to {settings} reached two clusters, {} and {found}", facts.system_identifier);
        return Err(PostgresError::MalformedCluster(text).into());
    }
    // Without it, a busy server may remove log that a long backup still needs; the backup then fails and says so.
    let slot = format!("erpgo_dr_{:016x}", rand::random::<u64>());
    if let Err(error) = client.create_temporary_slot(&slot).await {
        tracing::info!(server = %settings, %error, "no replication slot keeps the WAL of this backup");
    }
    Ok(client)
}

/// Returns whether the server is asked for changes alone.
fn can_be_told(facts: &ClusterFacts, base: &Base, timeline: TimelineId, options: &ClusterBackupOptions) -> bool {
    let reason = match options.changes {
        ChangeDetection::Compare => return false,
        _ if facts.server.major() < INCREMENTAL_SINCE => "servers before 17 do not tell",
        _ if !base.is_whole() => "pages of it are lost or were damaged",
        _ => match base.doubt(facts, timeline) {
            Some(reason) => reason,
            None => return true,
        },
    };
    tracing::info!(backup = %base.id, reason, "the server is not asked what has changed since: pages are compared");
    false
}

/// Returns whether the server's history goes through the earlier backup for certain.
async fn is_history_of(
    settings: &ConnectionSettings,
    facts: &ClusterFacts,
    since: Since,
    timeline: TimelineId,
) -> bool {
    let own = history::hash_at_server(settings, since, timeline).await;
    let Some(reason) = since.estranged(facts, own) else { return true };
    tracing::info!(from = %since.start, reason, "the server is not asked what has changed: pages are compared");
    false
}

/// A copy under way.
struct Copy<'a, 'r> {
    run: &'a BackupRun<'r>,
    packs: &'a mut PackWriter,
    journal: JournalWriter,
    settings: &'a ConnectionSettings,
    patience: Duration,
    facts: ClusterFacts,
    base: Option<Base>,
    key: [u8; 32],
    known: Option<SortedFiles>,
    scratch: &'a Path,
    progress: &'a dyn Progress,
}

impl Copy<'_, '_> {
    async fn run(self, client: &mut ReplicationClient, mut request: BaseBackupOptions) -> Result<Copied> {
        if request.incremental {
            let since = self.base.as_ref().map(|base| (base.start_lsn, base.stop_lsn));
            match client.base_backup(&request).await {
                Ok(backup) => {
                    match told(self.settings, since, (backup.timeline(), backup.start()), self.patience).await? {
                        Some(told) => return self.receive(backup, Some(told)).await,
                        None => tracing::warn!("the server cannot tell what has changed: all is sent, and compared"),
                    }
                }
                Err(error) if error.sqlstate() == Some(NOT_IN_PREREQUISITE_STATE) => {
                    tracing::warn!(%error, "the server cannot tell what has changed: all is sent, and compared");
                }
                Err(error) => return Err(error.into()),
            }
            request.incremental = false;
            *client = connect(self.settings, &self.facts).await?;
        }
        let backup = client.base_backup(&request).await?;
        self.receive(backup, None).await
    }

    async fn receive(self, mut backup: BaseBackup<'_>, told: Option<ChangedBlocks>) -> Result<Copied> {
        let is_told = told.is_some();
        let Self { run, packs, journal, settings, facts, base, key, known, scratch, progress, .. } = self;
        let hasher = PageHasher::new(&key);
        let (start, timeline) = (backup.start(), backup.timeline());
        let phase = PhaseGuard::start(progress, Phase::Backup, settings.to_string().as_str(), Some(backup.bytes()));
        let (to_unpack, packed) = mpsc::channel(PACKED);
        let (unpacked, mut to_store) = mpsc::channel(UNPACKED);
        let checks_pages = facts.data_checksums && facts.block_size == PAGE as u32;
        let unpacker = Unpacker {
            hasher: hasher.clone(),
            known,
            told,
            checked_from: checks_pages.then_some(start),
            pages_per_file: facts.blocks_per_segment,
            unpacked,
        };
        let unpacking = tokio::task::spawn_blocking(move || unpacker.run(packed));
        let mut gatherer = Gatherer::begin((packs, journal), &phase, scratch, &facts, hasher, start)?;
        let store = async {
            while let Some(unpacked) = to_store.recv().await {
                gatherer.take(unpacked).await?;
            }
            Ok::<_, Error>(())
        };
        let (end, ()) = tokio::try_join!(hear(&mut backup, to_unpack), store)?;
        let died = |source| Error::Io { action: "take apart what the server sent".to_owned(), source };
        unpacking.await.map_err(|error| died(std::io::Error::other(error)))??;
        let end = end.ok_or_else(|| died(std::io::Error::other("the thread that does it ended early")))?;
        if end.timeline != timeline {
            let text = format!("the server went on from timeline {timeline} to {} meanwhile", end.timeline);
            return Err(PostgresError::MalformedCluster(text).into());
        }
        let writers = (run.file_map().await?, run.page_hashes().await?);
        let Received { collected, label, wal_hash, found } = gatherer.finish(writers, (timeline, end.stop)).await?;
        if end.is_damaged && found.damaged.is_empty() {
            let text = "the server found damaged pages, and none of what it sent is damaged: try again";
            return Err(PostgresError::MalformedCluster(text.to_owned()).into());
        }
        phase.finish();
        if label_timeline(&label) != Some(timeline) {
            let text = "the backup label that the server sent names another timeline than the server";
            return Err(PostgresError::MalformedCluster(text.to_owned()).into());
        }
        let stopped = StoppedBackup::new(end.stop, timeline, label);
        let base = base.map(|base| {
            let changes = if is_told { ChangeSource::Summaries } else { ChangeSource::Comparison };
            (base.id, CopiedBase { changes, wal_read_bytes: 0, packs: base.packs.len(), proven_at: base.proven_at })
        });
        Ok(describe(facts, (start, wal_hash), stopped, collected, key, base, found))
    }
}

/// Asks the server what its summaries tell of the time since an earlier backup, which began and ended there. It goes by them itself, but does
/// not say which blocks were cut off and came again as zeros, without a word in the log; nor does it look whether its log goes through that
/// backup.
async fn told(
    settings: &ConnectionSettings,
    since: Option<(Lsn, Lsn)>,
    (timeline, to): (TimelineId, Lsn),
    patience: Duration,
) -> Result<Option<ChangedBlocks>> {
    match since.filter(|(_, stop)| *stop <= to) {
        Some((from, _)) => Ok(ChangedBlocks::told_by(settings, timeline, (from, to), patience).await?),
        None => Ok(None),
    }
}

/// Where a base backup ended.
struct End {
    stop: Lsn,
    timeline: TimelineId,
    is_damaged: bool,
}

/// Hands on what the server sends. Returns `None` if nobody wants it any more.
async fn hear(backup: &mut BaseBackup<'_>, to_unpack: mpsc::Sender<Packed>) -> Result<Option<End>> {
    loop {
        let packed = match backup.next().await? {
            BaseBackupEvent::Archive { tablespace } => Packed::Archive(tablespace),
            BaseBackupEvent::Data(data) => Packed::Data(data),
            BaseBackupEvent::End { stop, timeline, is_damaged } => return Ok(Some(End { stop, timeline, is_damaged })),
        };
        if to_unpack.send(packed).await.is_err() {
            return Ok(None);
        }
    }
}
