//! Moves bytes between programs, sinks and sources, and never lets a part pass for the whole.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdout;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::archive::{ArchiveContents, ArchiveScanner, HeadCollector};
use super::super::programs::RunningProgram;
use super::super::{BackupSink, BoxError, PostgresError, SegmentSink, StreamKind};
use crate::progress::PhaseGuard;

/// Bytes that are handed on at once.
const CHUNK: usize = 512 * 1024;
/// Bytes of a table of contents that is held in memory.
const HEAD_LIMIT: u64 = 1 << 30;
/// Chunks that may wait for the scanner.
const SCANNER_QUEUE: usize = 4;

/// The bytes of a stored stream.
pub(super) type SourceStream = BoxStream<'static, Result<Bytes, BoxError>>;

/// Takes everything and keeps nothing.
#[derive(Debug)]
pub(super) struct Nowhere;

#[async_trait::async_trait]
impl BackupSink for Nowhere {
    async fn begin(&mut self, _kind: &StreamKind) -> Result<(), BoxError> {
        Ok(())
    }

    async fn write(&mut self, _data: Bytes) -> Result<(), BoxError> {
        Ok(())
    }

    async fn segment(&mut self) -> Result<Box<dyn SegmentSink>, BoxError> {
        Ok(Box::new(Self))
    }

    async fn end(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}

#[async_trait::async_trait]
impl SegmentSink for Nowhere {
    async fn write(&mut self, _data: Bytes) -> Result<(), BoxError> {
        Ok(())
    }

    async fn end(self: Box<Self>) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Passes what a program writes on to `sink`. When it returns, the program has ended well.
pub(super) async fn text(
    mut running: RunningProgram,
    sink: &mut dyn BackupSink,
    guard: &PhaseGuard<'_>,
) -> Result<(), PostgresError> {
    let Some(mut stdout) = running.take_stdout() else { return running.finish().await.map(drop) };
    let pipe_error = running.pipe_error();
    let mut buffer = BytesMut::new();
    while let Some(chunk) = next_chunk(&mut stdout, &mut buffer).await.map_err(&pipe_error)? {
        guard.advance(chunk.len() as u64);
        if let Err(error) = sink.write(chunk).await {
            running.kill().await;
            return Err(PostgresError::Sink(error));
        }
    }
    running.finish().await.map(drop)
}

/// As [`text`] for pg_dump's custom format, which is scanned on its way by a thread of its own.
///
/// When it returns, pg_dump has ended well and the archive is whole.
pub(super) async fn archive(
    running: RunningProgram,
    sink: &mut dyn BackupSink,
    guard: &PhaseGuard<'_>,
) -> Result<ArchiveContents, PostgresError> {
    ArchivePump::start(running)?.rest(sink, guard).await
}

/// A pg_dump that writes an archive.
pub(super) struct ArchivePump {
    running: RunningProgram,
    stdout: ChildStdout,
    buffer: BytesMut,
    scanner: ScannerThread,
}

impl ArchivePump {
    /// Begins before the first byte.
    pub(super) fn start(mut running: RunningProgram) -> Result<Self, PostgresError> {
        let Some(stdout) = running.take_stdout() else {
            return Err(PostgresError::MalformedArchive("the program has no standard output".to_owned()));
        };
        Ok(Self { running, stdout, buffer: BytesMut::new(), scanner: ScannerThread::start() })
    }

    /// Reads up to the end of the archive's head. Returns it, and what was read behind it, neither of which has gone anywhere.
    pub(super) async fn head(mut self, guard: &PhaseGuard<'_>) -> Result<(Self, Bytes, Bytes), PostgresError> {
        let mut collector = HeadCollector::new(HEAD_LIMIT);
        while let Some(chunk) = self.next(guard).await? {
            self.scanner.feed(chunk.clone()).await;
            match collector.take(chunk) {
                Ok(Some((head, rest))) => return Ok((self, head, rest)),
                Ok(None) => {}
                Err(error) => {
                    self.running.kill().await;
                    return Err(error);
                }
            }
        }
        // Its failure explains an archive that was cut short, so it comes first.
        self.running.finish().await?;
        Err(PostgresError::MalformedArchive("it ends within its table of contents".to_owned()))
    }

    /// Passes the rest on to `sink`.
    pub(super) async fn rest(
        mut self,
        sink: &mut dyn BackupSink,
        guard: &PhaseGuard<'_>,
    ) -> Result<ArchiveContents, PostgresError> {
        while let Some(chunk) = self.next(guard).await? {
            let is_scanned = self.scanner.feed(chunk.clone()).await;
            if let Err(error) = sink.write(chunk).await {
                self.running.kill().await;
                return Err(PostgresError::Sink(error));
            }
            if !is_scanned {
                self.running.kill().await;
                return self.scanner.finish().await;
            }
        }
        // Its failure explains an archive that was cut short, so it comes first.
        self.running.finish().await?;
        self.scanner.finish().await
    }

    async fn next(&mut self, guard: &PhaseGuard<'_>) -> Result<Option<Bytes>, PostgresError> {
        let chunk = next_chunk(&mut self.stdout, &mut self.buffer).await.map_err(self.running.pipe_error())?;
        guard.advance(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64));
        Ok(chunk)
    }
}

/// Scans a stored stream, without a program.
pub(super) async fn scan(mut stream: SourceStream, guard: &PhaseGuard<'_>) -> Result<ArchiveContents, PostgresError> {
    let scanner = ScannerThread::start();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(PostgresError::Source)?;
        guard.advance(chunk.len() as u64);
        if !scanner.feed(chunk).await {
            break;
        }
    }
    scanner.finish().await
}

/// Feeds streams, one after the other, to a program's standard input. Returns how many bytes were read.
///
/// A program that stops reading has either failed, which [`RunningProgram::finish`] tells, or needs no more.
pub(super) async fn feed(
    mut running: RunningProgram,
    streams: impl IntoIterator<Item = impl Future<Output = Result<SourceStream, PostgresError>> + Send> + Send,
    guard: &PhaseGuard<'_>,
) -> Result<Fed, PostgresError> {
    let pipe_error = running.pipe_error();
    let mut stdin = running.take_stdin();
    let mut bytes = 0;
    for stream in streams {
        let mut stream = match stream.await {
            Ok(stream) => stream,
            Err(error) => {
                running.kill().await;
                return Err(error);
            }
        };
        while let (Some(pipe), Some(chunk)) = (&mut stdin, stream.next().await) {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    // Not the end of the file, which could look like the end of the archive.
                    running.kill().await;
                    return Err(PostgresError::Source(error));
                }
            };
            bytes += chunk.len() as u64;
            guard.advance(chunk.len() as u64);
            match pipe.write_all(&chunk).await {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => stdin = None,
                Err(error) => return Err(pipe_error(error)),
            }
        }
    }
    drop(stdin);
    let mut output = Vec::new();
    if let Some(mut stdout) = running.take_stdout() {
        stdout.read_to_end(&mut output).await.map_err(pipe_error)?;
    }
    Ok(Fed { bytes, end: running.finish().await, output })
}

/// What came of feeding a program.
#[derive(Debug)]
pub(super) struct Fed {
    /// Bytes that were read for it.
    pub(super) bytes: u64,
    /// What it wrote to standard error, or how it failed.
    pub(super) end: Result<String, PostgresError>,
    /// What it wrote to standard output.
    pub(super) output: Vec<u8>,
}

/// Gathers what small writes of the program left in the pipe into a chunk of a good size.
async fn next_chunk(stdout: &mut ChildStdout, buffer: &mut BytesMut) -> std::io::Result<Option<Bytes>> {
    buffer.reserve(CHUNK);
    while buffer.len() < CHUNK / 2 {
        let room = CHUNK - buffer.len();
        if stdout.take(room as u64).read_buf(buffer).await? == 0 {
            break;
        }
    }
    Ok((!buffer.is_empty()).then(|| buffer.split().freeze()))
}

/// A scanner on a thread of its own: reading, storing and scanning go on at the same time.
struct ScannerThread {
    chunks: mpsc::Sender<Bytes>,
    outcome: JoinHandle<Result<ArchiveContents, PostgresError>>,
}

impl ScannerThread {
    fn start() -> Self {
        let (chunks, mut queue) = mpsc::channel::<Bytes>(SCANNER_QUEUE);
        let outcome = tokio::task::spawn_blocking(move || {
            let mut scanner = ArchiveScanner::new();
            while let Some(chunk) = queue.blocking_recv() {
                scanner.update(&chunk)?;
            }
            scanner.finish()
        });
        Self { chunks, outcome }
    }

    /// Returns whether the scanner still takes chunks: it stops at what is no archive.
    async fn feed(&self, chunk: Bytes) -> bool {
        self.chunks.send(chunk).await.is_ok()
    }

    async fn finish(self) -> Result<ArchiveContents, PostgresError> {
        drop(self.chunks);
        match self.outcome.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(PostgresError::MalformedArchive(format!("scanning was interrupted: {error}"))),
        }
    }
}
