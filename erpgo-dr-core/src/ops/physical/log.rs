//! What has changed since an earlier backup, by the records of the log itself: for servers that keep no summaries of it.
//!
//! Nothing is believed that is not shown. The log must be had from where replay of the earlier backup begins to where this one's does,
//! begin with the very bytes that the earlier backup came with, have the right checksum in every record, miss none between two of
//! them, and have a record at the very position where this backup begins. Whatever is not so leaves pages to be compared.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _};

use super::WAL_FOLDER;
use super::base::Base;
use super::wal::{WalHasher, segments_between};
use crate::container::ContainerError;
use crate::postgres::physical::{BackupSession, ChangedBlocks, ClusterFacts, Untold, WalSummarizer};
use crate::postgres::wal::records::{LogPlace, RecordFault, RecordReader};
use crate::postgres::wal::{SegmentHeader, WalError};
use crate::repository::{Repository, RepositoryError};
use crate::types::{ContentHash, Lsn, TimelineId, WalFileName, WalSegmentName};

/// The log is read when it is at most this part of the cluster: a byte of it takes about three times as long as comparing one.
const SHARE: u64 = 4;
/// Segments that are opened before their turn: what lies far away takes its time.
const AHEAD: usize = 4;
/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;
/// Pages of the log are at most this large, and begin at multiples of their size.
const LARGEST_PAGE: u64 = 1 << 16;

/// The earlier backup since which changes are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    /// Where replay of it begins.
    pub(super) start: Lsn,
    /// Where it was consistent.
    pub(super) stop: Lsn,
    /// Bytes of its files.
    pub(super) bytes: u64,
    /// The hash of the log that it came with.
    pub(super) wal_hash: Option<ContentHash>,
    /// When the server was started that it was taken from.
    server_started: Option<DateTime<Utc>>,
}

impl Since {
    pub(super) fn of(base: &Base) -> Self {
        Self {
            start: base.start_lsn,
            stop: base.stop_lsn,
            bytes: base.bytes,
            wal_hash: base.wal_hash,
            server_started: base.server_started,
        }
    }

    /// Returns why it is not certain that the history of a server goes through the earlier backup; `None` where it is.
    ///
    /// `log` is the hash of the log of that backup's time as the server has it, which decides. Where that is gone, a server that has run without
    /// a break since then has seen no other disk. Positions prove nothing: two histories of a cluster on one timeline, as after a snapshot of
    /// its disk was put back, begin backups at the same ones, which are those of segments.
    pub(super) fn estranged(&self, facts: &ClusterFacts, log: Option<ContentHash>) -> Option<&'static str> {
        match log.zip(self.wal_hash) {
            Some((found, own)) if found == own => None,
            Some(_) => Some("it is another log than the one that the earlier backup came with"),
            None if self.server_started == Some(facts.started) => None,
            None => Some(
                "the log that it came with is gone, and the server was started anew: that may have been with another history",
            ),
        }
    }
}

/// What the log told.
#[derive(Debug)]
pub(super) struct LogChanges {
    pub(super) changed: ChangedBlocks,
    /// Bytes of it that were read.
    pub(super) read_bytes: u64,
}

/// Why the log does not tell.
#[derive(Debug, thiserror::Error)]
enum Doubt {
    #[error("it has {log} bytes since then, and the cluster only {cluster}")]
    TooMuch { log: u64, cluster: u64 },
    #[error("the earlier backup does not say which log it came with")]
    Unnamed,
    #[error("it is another log than the one that the earlier backup came with")]
    OtherHistory,
    #[error("its segments have another size now")]
    SegmentSize,
    #[error("{0} is neither with the server nor in the archive")]
    Missing(WalSegmentName),
    #[error("no record of it begins at {0}, where this backup does")]
    NoRecord(Lsn),
    #[error("{0}")]
    Wal(#[from] WalError),
    #[error("{0}")]
    Fault(#[from] RecordFault),
    #[error("{0}")]
    Untold(#[from] Untold),
    #[error("{0}")]
    Repository(#[from] RepositoryError),
    #[error("{0}")]
    Container(#[from] ContainerError),
    #[error("{0}")]
    File(#[from] io::Error),
}

/// Returns which blocks may have changed since replay of the earlier backup began, by the log that the server with the data directory `root`
/// still has, and where that begins too late by the archive; `None` when it does not tell for certain.
pub(super) async fn changed_since(
    repository: &Repository,
    session: &BackupSession,
    root: &Path,
    since: Since,
) -> Option<LogChanges> {
    let (from, to, timeline) = (since.start, session.start_lsn(), session.timeline());
    let log = Log { repository, folder: root.join(WAL_FOLDER), facts: session.facts(), timeline };
    match log.read(since, to).await {
        Ok(changes) => {
            tracing::info!(%from, %to, bytes = changes.read_bytes, "the log tells what has changed");
            Some(changes)
        }
        Err(doubt) => {
            tracing::info!(%from, %to, %doubt, "the log does not tell what has changed: pages are compared");
            None
        }
    }
}

/// Returns the hash of the log of the earlier backup's time as the server itself has it; `None` where it has not all of it any more.
///
/// What the archive has of that time is no word of the server's own history.
pub(super) async fn hash_at_server(
    repository: &Repository,
    session: &BackupSession,
    root: &Path,
    since: Since,
) -> Option<ContentHash> {
    let log = Log { repository, folder: root.join(WAL_FOLDER), facts: session.facts(), timeline: session.timeline() };
    match log.hash_at_server(since).await {
        Ok(hash) => hash,
        Err(doubt) => {
            tracing::debug!(from = %since.start, to = %since.stop, %doubt, "the server has not all of the earlier backup's log any more");
            None
        }
    }
}

/// Where the log lies.
struct Log<'a> {
    repository: &'a Repository,
    folder: PathBuf,
    facts: &'a ClusterFacts,
    timeline: TimelineId,
}

/// A segment, as it is read.
struct Segment {
    header: SegmentHeader,
    /// Where the next chunk begins.
    at: Lsn,
    chunks: BoxStream<'static, Result<Bytes, Doubt>>,
}

impl Log<'_> {
    async fn read(&self, since: Since, to: Lsn) -> Result<LogChanges, Doubt> {
        let own = since.wal_hash.ok_or(Doubt::Unnamed)?;
        let bytes = to.0 - since.start.0;
        if bytes > since.bytes / SHARE {
            return Err(Doubt::TooMuch { log: bytes, cluster: since.bytes });
        }
        let size = self.facts.wal_segment_size;
        // The record at the end may reach into the next segment.
        let end = Lsn(to.0.saturating_add(size.bytes()));
        let names = segments_between(self.timeline, since.start, end, size);
        let opened = stream::iter(names).map(|name| self.open(name, since.start)).buffered(AHEAD);
        let (mut segments, mut walk): (_, Option<Walk>) = (std::pin::pin!(opened), None);
        while let Some(segment) = segments.next().await {
            let mut segment = segment?;
            let mut next = match walk.take() {
                Some(walk) => walk,
                None => Walk::new(LogPlace::new(&segment.header, self.timeline)?, since, own, to),
            };
            while let Some(chunk) = segment.chunks.next().await {
                let (at, chunk) = (segment.at, chunk?);
                segment.at.0 += chunk.len() as u64;
                let fed = self.repository.environment().pool.run(move || next.feed(at, &chunk).map(|()| next));
                next = fed.await?;
                if next.has_arrived {
                    return next.finish();
                }
            }
            walk = Some(next);
        }
        Err(Doubt::NoRecord(to))
    }

    async fn hash_at_server(&self, since: Since) -> Result<Option<ContentHash>, Doubt> {
        let mut hasher = WalHasher::new(since.start, since.stop);
        for name in segments_between(self.timeline, since.start, since.stop, self.facts.wal_segment_size) {
            let mut segment = self.open_file(name, since.start).await?;
            while let Some(chunk) = segment.chunks.next().await {
                let (at, chunk) = (segment.at, chunk?);
                segment.at.0 += chunk.len() as u64;
                let hashed = self.repository.environment().pool.run(move || (hasher.update(at, &chunk), hasher));
                let (hash, next) = hashed.await;
                if hash.is_some() {
                    return Ok(hash);
                }
                hasher = next;
            }
        }
        Ok(None)
    }

    /// Opens a segment where it can be read: where the server has it, or in the archive.
    async fn open(&self, name: WalSegmentName, wanted: Lsn) -> Result<Segment, Doubt> {
        match self.open_file(name, wanted).await {
            Ok(segment) => Ok(segment),
            Err(doubt) => {
                tracing::debug!(%name, %doubt, "the server does not have this segment any more");
                self.open_archived(name).await
            }
        }
    }

    async fn open_file(&self, name: WalSegmentName, wanted: Lsn) -> Result<Segment, Doubt> {
        let path = self.folder.join(name.to_string());
        let (mut file, begin, length) = in_background(move || begin_of(&path)).await?;
        let (header, at) = self.check(name, &begin)?;
        header.check_length(name, length)?;
        let at = Lsn((wanted.0 - wanted.0 % LARGEST_PAGE).max(at.0));
        file.seek(SeekFrom::Start(at.0 % header.segment_size.bytes()))?;
        Ok(Segment { header, at, chunks: chunks(file) })
    }

    async fn open_archived(&self, name: WalSegmentName) -> Result<Segment, Doubt> {
        let (storage, system) = (self.repository.storage().as_ref(), self.facts.system_identifier);
        let reader = self.repository.open_wal(storage, system, WalFileName::Segment(name)).await?;
        let mut chunks = reader.ok_or(Doubt::Missing(name))?.into_stream().map(|chunk| Ok(chunk?)).boxed();
        let first = chunks.next().await.ok_or(Doubt::Missing(name))??;
        let (header, at) = self.check(name, &first)?;
        Ok(Segment { header, at, chunks: stream::once(std::future::ready(Ok(first))).chain(chunks).boxed() })
    }

    /// Checks that a file is the segment of its name, of this cluster; returns where it begins.
    fn check(&self, name: WalSegmentName, begin: &[u8]) -> Result<(SegmentHeader, Lsn), Doubt> {
        let header = SegmentHeader::parse(&name.to_string(), begin)?;
        header.check(name, Some(self.facts.system_identifier))?;
        match header.segment_size == self.facts.wal_segment_size {
            true => Ok((header, header.start)),
            false => Err(Doubt::SegmentSize),
        }
    }
}

/// The way along the records.
struct Walk {
    reader: RecordReader,
    summarizer: WalSummarizer,
    hasher: WalHasher,
    /// The hash of the log that the earlier backup came with.
    own: ContentHash,
    from: Lsn,
    to: Lsn,
    /// Whether a record was found at the end.
    has_arrived: bool,
}

impl Walk {
    fn new(place: LogPlace, since: Since, own: ContentHash, to: Lsn) -> Self {
        Self {
            reader: RecordReader::new(place, since.start),
            summarizer: WalSummarizer::new(place.timeline()),
            hasher: WalHasher::new(since.start, since.stop),
            own,
            from: since.start,
            to,
            has_arrived: false,
        }
    }

    /// Takes the bytes of the log at a position.
    fn feed(&mut self, at: Lsn, chunk: &[u8]) -> Result<(), Doubt> {
        let known = usize::try_from(self.reader.position().0.saturating_sub(at.0)).unwrap_or(usize::MAX);
        let chunk = chunk.get(known..).unwrap_or_default();
        if let Some(hash) = self.hasher.update(self.reader.position(), chunk)
            && hash != self.own
        {
            return Err(Doubt::OtherHistory);
        }
        let (summarizer, to, mut reached, mut untold) = (&mut self.summarizer, self.to, None, None);
        let outcome = self.reader.feed(chunk, &mut |record| {
            if record.at >= to {
                reached = Some(record.at);
                return ControlFlow::Break(());
            }
            match summarizer.add(record) {
                Ok(()) => ControlFlow::Continue(()),
                Err(reason) => {
                    untold = Some(reason);
                    ControlFlow::Break(())
                }
            }
        });
        if outcome?.is_continue() {
            return Ok(());
        }
        match (untold, reached) {
            (Some(untold), _) => Err(untold.into()),
            (None, reached) if reached == Some(to) => {
                self.has_arrived = true;
                Ok(())
            }
            _ => Err(Doubt::NoRecord(to)),
        }
    }

    fn finish(self) -> Result<LogChanges, Doubt> {
        // What the earlier backup came with ends before this one begins, and has been passed.
        match self.hasher.is_complete() {
            true => Ok(LogChanges { changed: self.summarizer.finish(), read_bytes: self.to.0 - self.from.0 }),
            false => Err(Doubt::OtherHistory),
        }
    }
}

/// Opens a file, and reads what a segment's header takes and the file's length.
fn begin_of(path: &Path) -> io::Result<(File, [u8; SegmentHeader::LEN], u64)> {
    let mut file = File::open(path)?;
    let mut begin = [0; SegmentHeader::LEN];
    file.read_exact(&mut begin)?;
    let length = file.metadata()?.len();
    Ok((file, begin, length))
}

fn chunks(file: File) -> BoxStream<'static, Result<Bytes, Doubt>> {
    let chunks = stream::try_unfold(file, |mut file| async move {
        let read = in_background(move || {
            let mut chunk = Vec::with_capacity(CHUNK);
            file.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
            Ok((Bytes::from(chunk), file))
        });
        let (chunk, file) = read.await?;
        Ok((!chunk.is_empty()).then_some((chunk, file)))
    });
    chunks.boxed()
}

async fn in_background<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Doubt> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::other)??)
}
