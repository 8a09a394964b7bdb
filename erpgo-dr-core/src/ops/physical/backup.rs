//! Takes a physical backup: the files of a cluster while it runs, and the WAL that makes them consistent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::WAL_FOLDER;
use super::collect::{Collected, Collector};
use super::feed::{Event, Feed};
use super::scatter::blocking;
use super::wal::segments_between;
use crate::codec::Codec;
use crate::ops::backup::verify_new;
use crate::ops::{BackupReport, Error, Result};
use crate::postgres::physical::{
    BackupSession, ClusterEntry, ClusterEntryKind, ClusterFacts, ClusterListing, ClusterReader, StoppedBackup,
};
use crate::postgres::{BackupContents, ConnectionSettings, Scope};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{
    BackupRun, DamagedPage, FileKind, FileRecord, Finished, PHYSICAL, PackWriter, PhysicalContents, Repository,
    Tablespace, VerifyLevel,
};
use crate::storage::StorageClass;
use crate::types::{Lsn, TimelineId};

/// Threads that read files, at most: one reads several times as fast as a core compresses.
const MOST_READERS: usize = 4;

/// How a physical backup is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterBackupOptions {
    /// Another codec than the repository's.
    pub codec: Option<Codec>,
    /// The storage class of the packs; catalogue, manifest and map stay in the place's default class.
    pub storage_class: Option<StorageClass>,
    /// A name for people.
    pub label: Option<String>,
    /// Whether the server hurries with the checkpoint that the backup begins with, or spreads it.
    pub fast_checkpoint: bool,
    /// How deep the backup is verified before this returns; `None` leaves that for later.
    pub verify: Option<VerifyLevel>,
}

impl Default for ClusterBackupOptions {
    fn default() -> Self {
        Self { codec: None, storage_class: None, label: None, fast_checkpoint: true, verify: Some(VerifyLevel::Mac) }
    }
}

impl ClusterBackupOptions {
    /// Sets another codec than the repository's.
    pub fn with_codec(mut self, codec: Option<Codec>) -> Self {
        self.codec = codec;
        self
    }

    /// Sets the storage class of the packs.
    pub fn with_storage_class(mut self, class: Option<StorageClass>) -> Self {
        self.storage_class = class;
        self
    }

    /// Sets a name for people.
    pub fn with_label(mut self, label: Option<String>) -> Self {
        self.label = label;
        self
    }

    /// Sets whether the server hurries with its checkpoint.
    pub fn with_fast_checkpoint(mut self, fast: bool) -> Self {
        self.fast_checkpoint = fast;
        self
    }

    /// Sets how deep the backup is verified at once.
    pub fn with_verify(mut self, level: Option<VerifyLevel>) -> Self {
        self.verify = level;
        self
    }
}

/// A physical backup that has been taken.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClusterBackupReport {
    /// What every backup has.
    #[serde(flatten)]
    pub backup: BackupReport,
    /// Files in it.
    pub files: u64,
    /// Where replay begins.
    pub start_lsn: Lsn,
    /// Where the cluster is consistent: from here on every moment can be restored to.
    pub stop_lsn: Lsn,
    /// The timeline that it was taken on.
    pub timeline: TimelineId,
    /// Pages that are damaged in the cluster itself.
    pub damaged_pages: Vec<DamagedPage>,
}

impl ClusterBackupReport {
    /// Returns whether the backup is durable everywhere, was found good as far as was asked, and shows no damage of the cluster.
    pub fn is_complete(&self) -> bool {
        self.backup.is_complete() && self.damaged_pages.is_empty()
    }
}

/// Backs up the cluster of the server that `settings` connect to, from its data directory: `data`, or where the server says.
///
/// The WAL from the beginning to the end of the backup is part of it, so that it can be restored by itself. When this returns an
/// error before the commit, nothing of the run is visible; prune removes what is left of it.
///
/// # Errors
/// Of the server, of the files, of the storage place or the repository.
pub async fn back_up_cluster(
    repository: &Repository,
    settings: &ConnectionSettings,
    data: Option<&Path>,
    options: &ClusterBackupOptions,
    progress: &dyn Progress,
) -> Result<ClusterBackupReport> {
    let started = Instant::now();
    let run = BackupRun::begin(repository, options.codec, None).await?;
    let mut packs = run.pack_writer(options.storage_class.clone());
    let copied = match copy(&run, &mut packs, settings, data, options, progress).await {
        Ok(copied) => copied,
        Err(error) => {
            packs.abort().await;
            run.abandon().await;
            return Err(error);
        }
    };
    let packs = match packs.finish().await {
        Ok(packs) => packs,
        Err(error) => {
            run.abandon().await;
            return Err(error.into());
        }
    };
    let finished = Finished {
        kind: PHYSICAL,
        contents: copied.contents,
        streams: Vec::new(),
        label: options.label.clone(),
        origin: None,
        physical: Some(PhysicalContents { packs, ..copied.physical }),
    };
    let (summary, manifest) = run.commit(finished).await?;
    let missed = repository.storage().take_missed_writes();
    let mut backup = BackupReport::new(&summary, manifest.databases(), started.elapsed().as_secs_f64(), missed);
    tracing::info!(backup = %backup.id, bytes = backup.plaintext_bytes, stored = backup.stored_bytes, "physical backup committed");
    if let Some(level) = options.verify {
        backup.verdict = Some(verify_new(repository, None, &summary, level, progress).await?);
        backup.missed.extend(repository.storage().take_missed_writes());
    }
    let physical = manifest.physical.expect("committed above");
    Ok(ClusterBackupReport {
        backup,
        files: physical.files,
        start_lsn: physical.start_lsn,
        stop_lsn: physical.stop_lsn,
        timeline: physical.timeline,
        damaged_pages: physical.damaged_pages,
    })
}

/// What was copied, but for the table of packs.
struct Copied {
    contents: BackupContents,
    physical: PhysicalContents,
}

/// Copies the cluster while the server is in backup mode, then the control file, then the WAL of the meantime.
async fn copy(
    run: &BackupRun<'_>,
    packs: &mut PackWriter,
    settings: &ConnectionSettings,
    data: Option<&Path>,
    options: &ClusterBackupOptions,
    progress: &dyn Progress,
) -> Result<Copied> {
    let label = options.label.as_deref().unwrap_or(run.id().as_str());
    let session = BackupSession::start(settings, label, options.fast_checkpoint).await?;
    let facts = session.facts().clone();
    let root = data.map_or_else(|| PathBuf::from(&facts.data_directory), Path::to_owned);
    let (reader, listing) = {
        let (facts, start) = (facts.clone(), session.start_lsn());
        blocking(move || {
            let reader = ClusterReader::new(&root, &facts, start)?;
            Ok((Arc::new(reader), ClusterListing::read(&root, &facts.version_folder)?))
        })
        .await?
    };
    let phase = PhaseGuard::start(progress, Phase::Backup, settings.to_string().as_str(), Some(listing.bytes));
    let entries: Arc<[ClusterEntry]> = listing.entries.into();
    let mut collector = Collector::new(packs, run.file_map().await?, &phase);
    let damaged_pages = copy_files(&reader, &entries, &mut collector).await?;
    // Before the end: a standby's may say later that it is consistent only beyond the end of this backup.
    let control = {
        let reader = Arc::clone(&reader);
        blocking(move || Ok(reader.control_file()?)).await?
    };
    let stopped = session.stop().await?;
    let (entry, contents) = control;
    collector.whole(record(&entry), contents).await?;
    let segments = segments_between(stopped.timeline, session.start_lsn(), stopped.stop, facts.wal_segment_size);
    for name in segments {
        let reader = Arc::clone(&reader);
        let contents = blocking(move || Ok(reader.wal_segment(name)?)).await?;
        let kind = FileKind::File { modified: 0, extents: Vec::new() };
        collector.whole(FileRecord::new(format!("{WAL_FOLDER}/{name}"), kind, 0o600), contents).await?;
    }
    let start_lsn = session.start_lsn();
    session.close().await;
    let collected = collector.finish().await?;
    phase.finish();
    Ok(describe(facts, start_lsn, stopped, collected, damaged_pages))
}

/// Reads all files on a few threads, and stores them as they come. Returns the pages that are damaged on the server.
async fn copy_files(
    reader: &Arc<ClusterReader>,
    entries: &Arc<[ClusterEntry]>,
    collector: &mut Collector<'_>,
) -> Result<Vec<DamagedPage>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_READERS);
    let mut feed = {
        let (reader, entries) = (Arc::clone(reader), Arc::clone(entries));
        Feed::start(entries.len(), threads, move |number, forward| reader.read(&entries[number], forward))
    };
    let (mut damaged, mut ended) = (Vec::new(), 0);
    while let Some((number, event)) = feed.next().await? {
        let entry = &entries[number];
        match event {
            Event::Chunk(chunk) => collector.chunk(number, chunk).await?,
            Event::End(outcome) => {
                ended += 1;
                for page in &outcome.damaged {
                    tracing::warn!(path = %entry.path, block = page.block, "a page of the cluster is damaged");
                    damaged.push(DamagedPage { path: entry.path.to_string(), block: page.block });
                }
                collector.end(number, (!outcome.vanished).then(|| record(entry))).await?;
            }
        }
    }
    if ended != entries.len() {
        // A reader that died takes its file with it, and the others go on to the end.
        let source = std::io::Error::other("a thread that reads files died");
        return Err(Error::Io { action: format!("read all files: {ended} of {} were read", entries.len()), source });
    }
    Ok(damaged)
}

fn record(entry: &ClusterEntry) -> FileRecord {
    let kind = match &entry.kind {
        ClusterEntryKind::File { modified, .. } => FileKind::File { modified: *modified, extents: Vec::new() },
        ClusterEntryKind::Directory => FileKind::Directory,
        ClusterEntryKind::Tablespace(target) => FileKind::Tablespace { target: target.to_string() },
    };
    FileRecord::new(&*entry.path, kind, entry.mode)
}

fn describe(
    facts: ClusterFacts,
    start_lsn: Lsn,
    stopped: StoppedBackup,
    collected: Collected,
    damaged_pages: Vec<DamagedPage>,
) -> Copied {
    let contents = BackupContents {
        dumped_with: facts.server.major(),
        scope: Scope::Full,
        databases: Vec::new(),
        warnings: Vec::new(),
        server: facts.server,
    };
    let tablespaces =
        facts.tablespaces.into_iter().map(|space| Tablespace { oid: space.oid, location: space.location });
    let physical = PhysicalContents {
        backup_label: stopped.backup_label,
        tablespace_map: stopped.tablespace_map,
        start_lsn,
        stop_lsn: stopped.stop,
        timeline: stopped.timeline,
        wal_segment_bytes: facts.wal_segment_size.bytes(),
        from_standby: contents.server.in_recovery,
        data_checksums: facts.data_checksums,
        tablespaces: tablespaces.collect(),
        superuser: facts.superuser,
        databases: facts.databases,
        damaged_pages,
        files: collected.files,
        bytes: collected.bytes,
        map: collected.map,
        packs: Vec::new(),
    };
    Copied { contents, physical }
}
