//! Several sessions take one segment after the other, until none is left.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::super::archive::BlockExtent;
use super::super::super::{PostgresError, SegmentSink, TableContents};
use super::plan::Segment;
use super::reader::Reader;
use super::tables::Table;
use crate::progress::PhaseGuard;

/// Counts of bytes that may wait to be added to the progress.
const PROGRESS_QUEUE: usize = 64;

/// A segment that waits to be read, and where it goes.
pub(super) struct Task {
    pub(super) number: usize,
    pub(super) segment: Segment,
    pub(super) sink: Box<dyn SegmentSink>,
}

/// A segment that has been read.
struct Done {
    number: usize,
    segment: Segment,
    extents: Vec<BlockExtent>,
}

/// What the sessions read, and the numbers of the entries that it belongs to.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) tables: Vec<Table>,
    pub(super) dump_ids: Vec<i32>,
}

/// Sessions at work. Dropping it ends them.
pub(crate) struct Copying {
    workers: JoinSet<Result<Vec<Done>, PostgresError>>,
    counts: mpsc::Receiver<u64>,
    wanted: Arc<Wanted>,
}

impl Copying {
    /// Begins; the tasks are taken in their order.
    pub(super) fn start(readers: Vec<Reader>, wanted: Wanted, mut tasks: Vec<Task>) -> Self {
        tasks.reverse();
        let (wanted, tasks) = (Arc::new(wanted), Arc::new(Mutex::new(tasks)));
        let (progress, counts) = mpsc::channel(PROGRESS_QUEUE);
        let mut workers = JoinSet::new();
        for reader in readers {
            workers.spawn(work(reader, Arc::clone(&wanted), Arc::clone(&tasks), progress.clone()));
        }
        Self { workers, counts, wanted }
    }

    /// Waits until all is read. Returns what the tables hold, of which the first segment begins at the end of the stream itself.
    pub(crate) async fn finish(&mut self, guard: &PhaseGuard<'_>) -> Result<Copied, PostgresError> {
        let mut done = Vec::new();
        loop {
            tokio::select! {
                Some(bytes) = self.counts.recv() => guard.advance(bytes),
                joined = self.workers.join_next() => match joined {
                    Some(Ok(outcome)) => done.extend(outcome?),
                    Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Some(Err(error)) => return Err(PostgresError::Sink(error.into())),
                    None => break,
                },
            }
        }
        while let Ok(bytes) = self.counts.try_recv() {
            guard.advance(bytes);
        }
        done.sort_by_key(|done| done.number);
        Ok(Copied { wanted: Arc::clone(&self.wanted), done })
    }

    /// Ends the sessions, and returns when nothing more is stored.
    pub(crate) async fn stop(mut self) {
        self.workers.shutdown().await;
    }
}

async fn work(
    reader: Reader,
    wanted: Arc<Wanted>,
    tasks: Arc<Mutex<Vec<Task>>>,
    progress: mpsc::Sender<u64>,
) -> Result<Vec<Done>, PostgresError> {
    let mut done = Vec::new();
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(Task { number, segment, mut sink }) = task else { break };
        let extents = reader.read(&segment, &wanted, sink.as_mut(), &progress).await?;
        sink.end().await.map_err(PostgresError::Sink)?;
        done.push(Done { number, segment, extents });
    }
    reader.close().await;
    Ok(done)
}

/// Sends bytes on, and counts them.
pub(super) async fn store(
    sink: &mut dyn SegmentSink,
    data: Bytes,
    progress: &mpsc::Sender<u64>,
) -> Result<(), PostgresError> {
    let bytes = data.len() as u64;
    sink.write(data).await.map_err(PostgresError::Sink)?;
    // Nobody listens any more when the dump has failed elsewhere.
    let _ = progress.send(bytes).await;
    Ok(())
}

/// The rows of tables in the segments of a stream.
pub(crate) struct Copied {
    wanted: Arc<Wanted>,
    done: Vec<Done>,
}

impl Copied {
    /// Describes the tables, whose segments begin at `offset` of the stream.
    pub(crate) fn contents(self, mut offset: u64) -> Vec<TableContents> {
        let describe = |(table, dump_id): (&Table, &i32)| TableContents {
            schema: table.schema.clone(),
            name: table.name.clone(),
            dump_id: *dump_id,
            rows: 0,
            bytes: 0,
            checksum: 0,
            offset: 0,
            length: 0,
            cuts: Vec::new(),
        };
        let mut contents: Vec<TableContents> =
            self.wanted.tables.iter().zip(&self.wanted.dump_ids).map(describe).collect();
        for Done { segment, extents, .. } in self.done {
            let mut length = 0;
            for (part, extent) in segment.iter().zip(extents) {
                let table = &mut contents[part.table];
                match part.is_first() {
                    true => table.offset = offset + extent.offset,
                    false => table.cuts.push(offset + extent.offset),
                }
                table.rows += extent.rows;
                table.bytes += extent.bytes;
                table.checksum = table.checksum.wrapping_add(extent.checksum);
                table.length += extent.length;
                length = extent.offset + extent.length;
            }
            offset += length;
        }
        contents
    }
}
