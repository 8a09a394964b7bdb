//! What every [`DatabaseDriver`] must do, and a backup in memory to do it with.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use crate::postgres::{
    BackupContents, BackupSink, BackupSource, BoxError, CheckDepth, DatabaseDriver, PostgresError, SegmentSink,
    StreamInfo, StreamKind,
};
use crate::progress::NoProgress;

/// Bytes that [`MemoryBackup`] yields at once: an odd number, so that nothing ends where a chunk ends.
const CHUNK: usize = 65_521;

/// A backup in memory: a sink that can fail, and a source that can be cut short.
#[derive(Debug, Default)]
pub struct MemoryBackup {
    streams: Vec<StreamInfo>,
    data: Vec<Bytes>,
    open: Option<(StreamKind, BytesMut)>,
    segments: Vec<Arc<Mutex<MemorySegment>>>,
    written: Arc<AtomicU64>,
    fails_after: Option<u64>,
    fails_reading_after: Option<u64>,
    read: AtomicU64,
}

impl MemoryBackup {
    /// Creates an empty backup.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the sink fail once it has taken this many bytes.
    pub fn failing_after(bytes: u64) -> Self {
        Self { fails_after: Some(bytes), ..Self::default() }
    }

    /// Makes each stream end with an error after this many of its bytes, as one that was cut short does.
    pub fn cut_after(&mut self, bytes: u64) {
        self.fails_reading_after = Some(bytes);
    }

    /// Flips a bit of a stream, behind the back of everybody.
    pub fn flip_bit(&mut self, stream: usize, offset: usize) {
        let mut copy = self.data[stream].to_vec();
        copy[offset] ^= 1;
        self.data[stream] = copy.into();
    }

    /// Returns the bytes of a stream.
    pub fn stream(&self, number: usize) -> &Bytes {
        &self.data[number]
    }

    /// Returns the bytes that have been asked for since the last call.
    pub fn take_read(&self) -> u64 {
        self.read.swap(0, Ordering::SeqCst)
    }
}

#[async_trait]
impl BackupSink for MemoryBackup {
    async fn begin(&mut self, kind: &StreamKind) -> Result<(), BoxError> {
        assert!(self.open.is_none(), "a stream begins before the last one has ended");
        self.open = Some((kind.clone(), BytesMut::new()));
        Ok(())
    }

    async fn write(&mut self, data: Bytes) -> Result<(), BoxError> {
        count(&self.written, self.fails_after, &data)?;
        let (_, buffer) = self.open.as_mut().expect("a driver begins a stream before it writes");
        buffer.extend_from_slice(&data);
        Ok(())
    }

    async fn segment(&mut self) -> Result<Box<dyn SegmentSink>, BoxError> {
        assert!(self.open.is_some(), "a segment is one of a stream that has begun");
        let segment = Arc::new(Mutex::new(MemorySegment::default()));
        self.segments.push(Arc::clone(&segment));
        Ok(Box::new(OpenSegment { segment, written: Arc::clone(&self.written), fails_after: self.fails_after }))
    }

    async fn end(&mut self) -> Result<(), BoxError> {
        let (kind, mut buffer) = self.open.take().expect("a driver ends a stream that it began");
        for segment in self.segments.drain(..) {
            let segment = segment.lock().expect("no writer panicked");
            assert!(segment.has_ended, "a driver ends the segments of a stream before the stream");
            buffer.extend_from_slice(&segment.data);
        }
        let number = u32::try_from(self.streams.len())?;
        self.streams.push(StreamInfo { number, kind, bytes: buffer.len() as u64 });
        self.data.push(buffer.freeze());
        Ok(())
    }
}

#[derive(Debug, Default)]
struct MemorySegment {
    data: BytesMut,
    has_ended: bool,
}

struct OpenSegment {
    segment: Arc<Mutex<MemorySegment>>,
    written: Arc<AtomicU64>,
    fails_after: Option<u64>,
}

#[async_trait]
impl SegmentSink for OpenSegment {
    async fn write(&mut self, data: Bytes) -> Result<(), BoxError> {
        count(&self.written, self.fails_after, &data)?;
        self.segment.lock().expect("no writer panicked").data.extend_from_slice(&data);
        Ok(())
    }

    async fn end(self: Box<Self>) -> Result<(), BoxError> {
        self.segment.lock().expect("no writer panicked").has_ended = true;
        Ok(())
    }
}

fn count(written: &AtomicU64, limit: Option<u64>, data: &Bytes) -> Result<(), BoxError> {
    let written = written.fetch_add(data.len() as u64, Ordering::SeqCst) + data.len() as u64;
    match limit {
        Some(limit) if written > limit => Err("the sink is full".into()),
        _ => Ok(()),
    }
}

#[async_trait]
impl BackupSource for MemoryBackup {
    fn streams(&self) -> &[StreamInfo] {
        &self.streams
    }

    async fn open(
        &self,
        stream: u32,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, BoxError>>, BoxError> {
        let data = self.data.get(stream as usize).ok_or("no such stream")?;
        let range = range.unwrap_or(0..data.len() as u64);
        let limit = self.fails_reading_after.unwrap_or(u64::MAX);
        let end = range.end.min(limit.max(range.start));
        let part = data.slice(usize::try_from(range.start)?..usize::try_from(end)?);
        self.read.fetch_add(part.len() as u64, Ordering::SeqCst);
        let mut chunks: Vec<Result<Bytes, BoxError>> = Vec::new();
        let mut rest = part;
        while !rest.is_empty() {
            chunks.push(Ok(rest.split_to(CHUNK.min(rest.len()))));
        }
        if end < range.end {
            chunks.push(Err("the stream is cut short".into()));
        }
        Ok(stream::iter(chunks).boxed())
    }
}

/// Runs the suite for a driver.
///
/// `driver` backs up a server that holds at least 64 KiB of data. Each call of `target` gives a driver that
/// restores into a place where nothing is. `is_restored` tells whether the last target holds what the server holds.
///
/// # Panics
/// Where the driver does not do what a driver must do.
pub async fn run<T, R>(driver: &dyn DatabaseDriver, target: T, is_restored: R)
where
    T: AsyncFn() -> Box<dyn DatabaseDriver>,
    R: AsyncFn() -> bool,
{
    let server = driver.probe().await.expect("a server that is there is probed");
    assert!(server.major() >= 9, "the version of the server is in the probe: {server:?}");
    let (backup, contents) = backs_up(driver).await;
    a_failing_sink_ends_a_backup(driver).await;
    checks(driver, &backup, &contents).await;
    restores(&backup, &contents, &target, &is_restored).await;
    a_truncated_source_fails(driver, contents, &target).await;
}

async fn backs_up(driver: &dyn DatabaseDriver) -> (MemoryBackup, BackupContents) {
    let mut backup = MemoryBackup::new();
    let contents = driver.back_up(&mut backup, &NoProgress).await.expect("a backup of a sound server succeeds");
    assert!(backup.open.is_none(), "every stream is ended");
    let written = backup.written.load(Ordering::SeqCst);
    assert!(written >= 64 << 10, "the suite needs a server with data, not with {written} bytes");
    let text = serde_json::to_string(&contents).expect("contents go into a manifest");
    let again: BackupContents = serde_json::from_str(&text).expect("contents come out of a manifest");
    assert_eq!(again, contents, "contents survive the manifest");
    for database in &contents.databases {
        let kind = StreamKind::Database { database: database.database.clone() };
        let known = backup.streams.iter().any(|stream| stream.number == database.stream && stream.kind == kind);
        assert!(known, "database {} names its stream", database.database);
    }
    (backup, contents)
}

async fn a_failing_sink_ends_a_backup(driver: &dyn DatabaseDriver) {
    for limit in [0, 40 << 10] {
        let mut sink = MemoryBackup::failing_after(limit);
        let outcome = driver.back_up(&mut sink, &NoProgress).await;
        assert!(matches!(outcome, Err(PostgresError::Sink(_))), "a sink's failure is the backup's: {outcome:?}");
    }
}

async fn checks(driver: &dyn DatabaseDriver, backup: &MemoryBackup, contents: &BackupContents) {
    for depth in [CheckDepth::List, CheckDepth::Contents] {
        driver.check(backup, contents, depth).await.expect("a sound backup passes its check");
    }
    let mut other = contents.clone();
    if let Some(table) = other.databases.iter_mut().flat_map(|database| &mut database.tables).next() {
        table.checksum ^= 1;
        let outcome = driver.check(backup, &other, CheckDepth::Contents).await;
        assert!(matches!(outcome, Err(PostgresError::ContentsDiffer(_))), "a changed row is found: {outcome:?}");
    }
}

async fn restores<T, R>(backup: &MemoryBackup, contents: &BackupContents, target: &T, is_restored: &R)
where
    T: AsyncFn() -> Box<dyn DatabaseDriver>,
    R: AsyncFn() -> bool,
{
    let driver = target().await;
    let outcome = driver.restore(backup, contents, &NoProgress).await.expect("a sound backup is restored");
    assert!(outcome.bytes > 0, "a restore tells how much it read");
    assert!(is_restored().await, "what was restored is what was backed up");
}

async fn a_truncated_source_fails<T>(driver: &dyn DatabaseDriver, contents: BackupContents, target: &T)
where
    T: AsyncFn() -> Box<dyn DatabaseDriver>,
{
    let (mut backup, _) = backs_up(driver).await;
    let longest = backup.streams.iter().map(|stream| stream.bytes).max().unwrap_or_default();
    backup.cut_after(longest - 1);
    let outcome = target().await.restore(&backup, &contents, &NoProgress).await;
    assert!(matches!(outcome, Err(PostgresError::Source(_))), "a source's failure is the restore's: {outcome:?}");
    let outcome = driver.check(&backup, &contents, CheckDepth::Contents).await;
    assert!(outcome.is_err(), "a backup that is cut short passes no check");
}
