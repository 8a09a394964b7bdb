//! Copies a cluster while its server is in backup mode.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};

use super::WAL_FOLDER;
use super::backup::ChangeSource;
use super::base::Base;
use super::collect::{Collected, Collector, Ended};
use super::earlier::Earlier;
use super::feed::{Event, Feed};
use super::log::{self, LogChanges, Since};
use super::options::{ChangeDetection, ClusterBackupOptions};
use super::plan::{FilePlan, Planner, Told};
use super::scatter::blocking;
use super::wal::{WalHasher, segments_between};
use crate::ops::{Error, Result};
use crate::postgres::physical::{
    BackupSession, ClusterEntry, ClusterEntryKind, ClusterFacts, ClusterListing, ClusterReader, PAGE, PageHasher,
    Piece, StoppedBackup,
};
use crate::postgres::{BackupContents, ConnectionSettings, PostgresError, Scope};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{
    BackupRun, ClusterDatabase, DamagedPage, ExtentCursor, FileKind, FileRecord, JournalSubject, JournalWriter,
    PackWriter, PageHashes, PhysicalContents, Repository, StoredObject, Tablespace,
};
use crate::types::{BackupId, ContentHash, Lsn, WalSegmentName, WalSegmentSize};

/// Threads that read files, at most: one reads several times as fast as a core compresses.
const MOST_READERS: usize = 4;

/// What was copied.
pub(super) struct Copied {
    pub(super) contents: BackupContents,
    pub(super) physical: PhysicalContents,
    pub(super) base: Option<CopiedBase>,
    pub(super) read_bytes: u64,
    /// Bytes of files that runs which broke off had stored.
    pub(super) resumed_bytes: u64,
    pub(super) unannounced: Vec<DamagedPage>,
}

impl Copied {
    /// Completes the table of packs: `inherited` ones, of which those behind the first `of_base` are of runs that broke off, and `own` ones.
    pub(super) fn complete(&mut self, inherited: Vec<StoredObject>, of_base: usize, own: Vec<StoredObject>) {
        let (of_others, live) = (inherited.len(), &mut self.physical.live_bytes);
        self.physical.packs = inherited;
        self.physical.packs.extend(own);
        live.resize(self.physical.packs.len(), 0);
        self.resumed_bytes = live[of_base..of_others].iter().sum();
    }
}

/// The earlier backup that was built on.
pub(super) struct CopiedBase {
    pub(super) changes: ChangeSource,
    /// Bytes of WAL that were read to find changes.
    pub(super) wal_read_bytes: u64,
    /// The first so many packs of the table are of it.
    pub(super) packs: usize,
    pub(super) proven_at: Option<DateTime<Utc>>,
}

/// What reading all files found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) damaged: Vec<DamagedPage>,
    pub(super) unannounced: Vec<DamagedPage>,
    pub(super) read_bytes: u64,
}

/// Copies the cluster while the server is in backup mode, then the control file, then the WAL of the meantime.
pub(super) async fn copy(
    repository: &Repository,
    run: &mut BackupRun<'_>,
    settings: &ConnectionSettings,
    data: Option<&Path>,
    options: &ClusterBackupOptions,
    progress: &dyn Progress,
) -> Result<Copied> {
    let label = options.label.as_deref().unwrap_or(run.id().as_str());
    let session = BackupSession::start(settings, label, options.fast_checkpoint).await?;
    let facts = session.facts().clone();
    let root = data.map_or_else(|| PathBuf::from(&facts.data_directory), Path::to_owned);
    if root.as_os_str().is_empty() {
        return Err(PostgresError::InvalidOptions(format!(
            "{settings} does not tell this role where its data directory is"
        ))
        .into());
    }
    let earlier = Earlier::find(repository, run, &facts, options.changes).await?;
    let told = match earlier.base.as_ref().filter(|base| can_be_told(&session, base, options)).map(Since::of) {
        Some(since) => tell(repository, &session, &root, since, options).await?,
        None => None,
    };
    let compare_all = options.changes == ChangeDetection::Both;
    let (inherited, of_base) = earlier.packs();
    let mut packs = run.pack_writer(options.storage_class.clone(), inherited.len() as u32);
    let subject = JournalSubject { system_identifier: facts.system_identifier, key: earlier.key };
    let journal = run.journal(subject, inherited.len() as u32);
    let Earlier { base, interrupted, key } = earlier;
    let pages_per_file = facts.blocks_per_segment;
    let planner = Planner { base, interrupted, told, compare_all, pages_per_file };
    let copy = Copy { run, packs: &mut packs, journal, facts, planner, key, root };
    match copy.run(session, settings, progress).await {
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

/// Returns whether what was logged since the base can tell what has changed, where that is wanted.
fn can_be_told(session: &BackupSession, base: &Base, options: &ClusterBackupOptions) -> bool {
    let reason = match options.changes {
        ChangeDetection::Compare | ChangeDetection::Full => return false,
        // From a standby that is behind, a base may come from what is its future.
        _ if base.stop_lsn > session.start_lsn() => "it comes from behind this one",
        _ => match base.doubt(session.facts(), session.timeline()) {
            Some(reason) => reason,
            None => return true,
        },
    };
    tracing::info!(backup = %base.id, reason, "the log cannot tell what has changed since: pages are compared");
    false
}

/// Finds out what was logged since the base, if the server's history goes through it: by the server's summaries, else from the log itself.
async fn tell(
    repository: &Repository,
    session: &BackupSession,
    root: &Path,
    since: Since,
    options: &ClusterBackupOptions,
) -> Result<Option<Told>> {
    let own = log::hash_at_server(repository, session, root, since).await;
    if let Some(reason) = since.estranged(session.facts(), own) {
        tracing::info!(from = %since.start, reason, "the log cannot tell what has changed: pages are compared");
        return Ok(None);
    }
    if let Some(changed) = session.changed_since(since.start, options.summary_patience).await? {
        return Ok(Some(Told { changed, by: ChangeSource::Summaries, wal_read_bytes: 0 }));
    }
    let changes = log::changed_since(repository, session, root, since).await;
    Ok(changes.map(|LogChanges { changed, read_bytes }| Told {
        changed,
        by: ChangeSource::Wal,
        wal_read_bytes: read_bytes,
    }))
}

/// A copy under way.
struct Copy<'a, 'r> {
    run: &'a BackupRun<'r>,
    packs: &'a mut PackWriter,
    journal: JournalWriter,
    facts: ClusterFacts,
    planner: Planner,
    key: [u8; 32],
    root: PathBuf,
}

impl Copy<'_, '_> {
    async fn run(
        self,
        session: BackupSession,
        settings: &ConnectionSettings,
        progress: &dyn Progress,
    ) -> Result<Copied> {
        let Self { run, packs, journal, facts, planner, key, root } = self;
        let base = planner.base.as_ref().map(|base| (base.id.clone(), described(base, &planner)));
        let hasher = PageHasher::new(&key);
        let (reader, listing) = {
            let (facts, start, hasher) = (facts.clone(), session.start_lsn(), hasher.clone());
            blocking(move || {
                let reader = ClusterReader::new(&root, &facts, start, hasher)?;
                Ok((Arc::new(reader), ClusterListing::read(&root, &facts.version_folder)?))
            })
            .await?
        };
        let phase = PhaseGuard::start(progress, Phase::Backup, settings.to_string().as_str(), Some(listing.bytes));
        let entries: Arc<[ClusterEntry]> = listing.entries.into();
        let writers = (run.file_map().await?, run.page_hashes().await?);
        let mut collector = Collector::new(packs, writers, Some(journal), hasher, &phase);
        let found = copy_files(&reader, &entries, planner, &mut collector).await?;
        // Before the end: a standby's may say later that it is consistent only beyond the end of this backup.
        let control = {
            let reader = Arc::clone(&reader);
            blocking(move || Ok(reader.control_file()?)).await?
        };
        let stopped = session.stop().await?;
        let (entry, contents) = control;
        collector.whole(record(&entry), contents).await?;
        let segments = segments_between(stopped.timeline, session.start_lsn(), stopped.stop, facts.wal_segment_size);
        let mut wal_hash = None;
        let mut hasher = WalHasher::new(session.start_lsn(), stopped.stop);
        for name in segments {
            let reader = Arc::clone(&reader);
            let (size, stop) = (facts.wal_segment_size, stopped.stop);
            let contents = blocking(move || Ok(without_rest(reader.wal_segment(name)?, name, size, stop))).await?;
            if let Some(begin) = name.start(size) {
                wal_hash = hasher.update(begin, &contents).or(wal_hash);
            }
            let kind = FileKind::File { modified: 0, extents: Vec::new() };
            collector.whole(FileRecord::new(format!("{WAL_FOLDER}/{name}"), kind, 0o600), contents).await?;
        }
        let start_lsn = session.start_lsn();
        session.close().await;
        let collected = collector.finish().await?;
        phase.finish();
        Ok(describe(facts, (start_lsn, wal_hash), stopped, collected, key, base, found))
    }
}

/// The length of the record by which a server ends its segment, right behind a backup: the head that every record has
/// (`XLogRecord` in access/xlogrecord.h).
const SWITCH: u64 = 24;

/// Zeros what lies behind the backup's end in its last segment: a server that has used the file before need not have
/// overwritten it yet. The record behind the end stays, also where a page ends within it: a recovery that is to stop as soon as the
/// backup is consistent does so before the next record, and fails where there is none.
pub(super) fn without_rest(contents: Bytes, name: WalSegmentName, size: WalSegmentSize, stop: Lsn) -> Bytes {
    let begin = name.start(size).map_or(0, |start| start.0);
    let used = (stop.0 + SWITCH).saturating_sub(begin).next_multiple_of(PAGE as u64);
    match usize::try_from(used) {
        Ok(used) if used < contents.len() => {
            let mut zeroed = BytesMut::from(contents);
            zeroed[used..].fill(0);
            zeroed.freeze()
        }
        _ => contents,
    }
}

fn described(base: &Base, planner: &Planner) -> CopiedBase {
    let (changes, wal_read_bytes) = match &planner.told {
        Some(told) => (if planner.compare_all { ChangeSource::Both } else { told.by }, told.wal_read_bytes),
        None => (ChangeSource::Comparison, 0),
    };
    CopiedBase { changes, wal_read_bytes, packs: base.packs.len(), proven_at: base.proven_at }
}

/// Reads all files on a few threads, and stores them as they come.
async fn copy_files(
    reader: &Arc<ClusterReader>,
    entries: &Arc<[ClusterEntry]>,
    planner: Planner,
    collector: &mut Collector<'_>,
) -> Result<Found> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_READERS);
    let plans = planner.start(Arc::clone(entries));
    let mut feed = {
        let (reader, entries) = (Arc::clone(reader), Arc::clone(entries));
        Feed::start(plans, threads, move |number, plan: FilePlan, forward| {
            let mut cursor = ExtentCursor::new(&plan.extents);
            reader.read(&entries[number], &plan.read, &mut |piece| match piece {
                Piece::Read(chunk) => {
                    cursor.advance(chunk.len() as u64, |_| {});
                    forward(Event::Chunk(chunk))
                }
                Piece::Known(length) => {
                    let mut extents = Vec::new();
                    cursor.advance(length, |extent| extents.push(extent));
                    forward(Event::Known(extents))
                }
            })
        })
    };
    let (mut found, mut ended) = (Found::default(), 0);
    while let Some((number, event)) = feed.next().await? {
        let entry = &entries[number];
        match event {
            Event::Chunk(chunk) => collector.chunk(number, chunk).await?,
            Event::Known(extents) => collector.known(number, extents),
            Event::End(outcome) => {
                ended += 1;
                found.read_bytes += outcome.read;
                if outcome.changed > 0 {
                    tracing::debug!(path = %entry.path, bytes = outcome.changed, "stored");
                }
                let page = |block| DamagedPage { path: entry.path.to_string(), block };
                for damaged in &outcome.damaged {
                    tracing::warn!(path = %entry.path, block = damaged.block, "a page of the cluster is damaged");
                    found.damaged.push(page(damaged.block));
                }
                for changed in &outcome.unannounced {
                    tracing::warn!(path = %entry.path, block = changed.block, "a page has changed that the log does not name");
                    found.unannounced.push(page(changed.block));
                }
                let is_damaged = !outcome.damaged.is_empty();
                let ended = Ended { record: record(entry), hashes: outcome.hashes, is_damaged };
                collector.end(number, (!outcome.vanished).then_some(ended)).await?;
            }
        }
    }
    if ended != entries.len() {
        // A reader that died takes its file with it, and the others go on to the end.
        let source = std::io::Error::other("a thread that reads files died");
        return Err(Error::Io { action: format!("read all files: {ended} of {} were read", entries.len()), source });
    }
    Ok(found)
}

pub(super) fn record(entry: &ClusterEntry) -> FileRecord {
    let kind = match &entry.kind {
        ClusterEntryKind::File { modified, .. } => FileKind::File { modified: *modified, extents: Vec::new() },
        ClusterEntryKind::Directory => FileKind::Directory,
        ClusterEntryKind::Tablespace(target) => FileKind::Tablespace { target: target.to_string() },
    };
    FileRecord::new(&*entry.path, kind, entry.mode)
}

pub(super) fn describe(
    facts: ClusterFacts,
    (start_lsn, wal_hash): (Lsn, Option<ContentHash>),
    stopped: StoppedBackup,
    collected: Collected,
    key: [u8; 32],
    base: Option<(BackupId, CopiedBase)>,
    mut found: Found,
) -> Copied {
    let (base_id, base) = base.unzip();
    let contents = BackupContents {
        dumped_with: facts.server.major(),
        scope: Scope::Full,
        databases: Vec::new(),
        warnings: Vec::new(),
        server: facts.server,
    };
    let tablespaces =
        facts.tablespaces.into_iter().map(|space| Tablespace { oid: space.oid, location: space.location });
    let database_oids = facts.database_oids.into_iter().map(|(oid, name)| ClusterDatabase { oid, name });
    let physical = PhysicalContents {
        backup_label: stopped.backup_label,
        tablespace_map: stopped.tablespace_map,
        start_lsn,
        stop_lsn: stopped.stop,
        timeline: stopped.timeline,
        wal_segment_bytes: facts.wal_segment_size.bytes(),
        wal_hash,
        server_started: Some(facts.started),
        from_standby: contents.server.in_recovery,
        data_checksums: facts.data_checksums,
        tablespaces: tablespaces.collect(),
        superuser: facts.superuser,
        databases: facts.databases,
        database_oids: database_oids.collect(),
        damaged_pages: std::mem::take(&mut found.damaged),
        files: collected.files,
        bytes: collected.bytes,
        map: collected.map,
        data_directory: facts.data_directory,
        packs: Vec::new(),
        live_bytes: collected.live,
        pages: Some(PageHashes { key, object: collected.hashes }),
        base: base_id,
    };
    let Found { read_bytes, unannounced, .. } = found;
    Copied { contents, physical, base, read_bytes, resumed_bytes: 0, unannounced }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_keeps_what_was_written_before_the_end() {
        let size = WalSegmentSize::DEFAULT;
        let name: WalSegmentName = "000000010000000000000003".parse().unwrap();
        let contents = Bytes::from(vec![1; size.bytes() as usize]);
        let kept =
            |stop| without_rest(contents.clone(), name, size, Lsn(stop)).iter().filter(|byte| **byte == 1).count();
        assert_eq!(kept(0x300_0100), PAGE);
        let third = 0x300_0000 + 3 * PAGE as u64;
        assert_eq!(kept(third - SWITCH), 3 * PAGE, "the record behind ends with the page");
        for within in [third - 16, third] {
            assert_eq!(kept(within), 4 * PAGE, "the record behind is in the next page, all of it or its end");
        }
        assert_eq!(kept(0x300_0001 + 3 * PAGE as u64), 4 * PAGE);
        for whole in [0x400_0000, 0x400_0001, 0x9900_0000] {
            assert_eq!(kept(whole), contents.len());
        }
    }
}
