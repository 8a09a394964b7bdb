//! Seals dump streams into objects of bounded size.
//!
//! A stream is its parts in the order in which the manifest lists them. Segments of it are written at the same time, so the
//! numbers of parts tell the order in which they were begun, and nothing else.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::super::layout;
use super::super::manifest::{StoredObject, StoredStream};
use super::identity;
use crate::compute::ComputePool;
use crate::container::{ContainerError, ContainerOptions, ContainerWriter, SealingKey};
use crate::postgres::{BackupSink, BoxError, SegmentSink, StreamInfo, StreamKind};
use crate::storage::{PutOptions, Storage};
use crate::types::{BackupId, ObjectKey};

/// Seals the streams of one backup.
#[derive(Debug)]
pub(crate) struct DumpSink {
    place: Arc<Place>,
    streams: Vec<StoredStream>,
    open: Option<OpenStream>,
}

/// What a sink needs to know beside its backup.
#[derive(Debug, Clone)]
pub(crate) struct DumpSinkOptions {
    pub(crate) container: ContainerOptions,
    pub(crate) put: PutOptions,
    pub(crate) part_bytes: u64,
}

/// Where parts go, and how.
#[derive(Debug)]
struct Place {
    storage: Arc<dyn Storage>,
    pool: ComputePool,
    key: SealingKey,
    backup: BackupId,
    options: DumpSinkOptions,
    /// Several segments are open at the same time: each holds less.
    of_segments: DumpSinkOptions,
}

#[derive(Debug)]
struct OpenStream {
    info: StreamInfo,
    next_part: Arc<AtomicU32>,
    parts: PartWriter,
    segments: Vec<Ended>,
}

/// The parts of a segment, once it has ended.
type Ended = Arc<Mutex<Option<Vec<StoredObject>>>>;

#[derive(Debug)]
struct Segment {
    parts: PartWriter,
    ended: Ended,
}

/// Writes bytes into one part after the other.
#[derive(Debug)]
struct PartWriter {
    place: Arc<Place>,
    stream: u32,
    next_part: Arc<AtomicU32>,
    is_segment: bool,
    parts: Vec<StoredObject>,
    open: Option<OpenPart>,
}

#[derive(Debug)]
struct OpenPart {
    key: ObjectKey,
    writer: ContainerWriter,
}

impl DumpSink {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        pool: ComputePool,
        key: SealingKey,
        backup: BackupId,
        options: DumpSinkOptions,
    ) -> Self {
        let of_segments = DumpSinkOptions {
            container: options.container.clone().with_threads(1),
            put: options.put.clone().with_parts_in_flight(Some(1)),
            part_bytes: options.part_bytes,
        };
        let place = Arc::new(Place { storage, pool, key, backup, options, of_segments });
        Self { place, streams: Vec::new(), open: None }
    }

    /// Returns the streams that were ended.
    pub(crate) fn into_streams(self) -> Vec<StoredStream> {
        self.streams
    }

    fn opened(&mut self) -> &mut OpenStream {
        self.open.as_mut().expect("begin() was called")
    }
}

#[async_trait]
impl BackupSink for DumpSink {
    async fn begin(&mut self, kind: &StreamKind) -> Result<(), BoxError> {
        let number = self.streams.len() as u32;
        let next_part = Arc::new(AtomicU32::new(0));
        let parts = PartWriter::new(&self.place, number, &next_part, false);
        let info = StreamInfo { number, kind: kind.clone(), bytes: 0 };
        self.open = Some(OpenStream { info, next_part, parts, segments: Vec::new() });
        Ok(())
    }

    async fn write(&mut self, data: Bytes) -> Result<(), BoxError> {
        Ok(self.opened().parts.write(data).await?)
    }

    async fn segment(&mut self) -> Result<Box<dyn SegmentSink>, BoxError> {
        let place = Arc::clone(&self.place);
        let stream = self.opened();
        let parts = PartWriter::new(&place, stream.info.number, &stream.next_part, true);
        let ended = Ended::default();
        stream.segments.push(Arc::clone(&ended));
        Ok(Box::new(Segment { parts, ended }))
    }

    async fn end(&mut self) -> Result<(), BoxError> {
        let mut stream = self.open.take().expect("begin() was called");
        if stream.parts.is_empty() && stream.segments.is_empty() {
            stream.parts.open().await?;
        }
        let mut parts = stream.parts.close().await?;
        for segment in stream.segments {
            let ended = segment.lock().unwrap_or_else(PoisonError::into_inner).take();
            parts.extend(ended.ok_or("a segment of the stream was not ended")?);
        }
        stream.info.bytes = parts.iter().map(|part| part.plaintext_bytes).sum();
        self.streams.push(StoredStream { info: stream.info, parts });
        Ok(())
    }
}

#[async_trait]
impl SegmentSink for Segment {
    async fn write(&mut self, data: Bytes) -> Result<(), BoxError> {
        Ok(self.parts.write(data).await?)
    }

    async fn end(self: Box<Self>) -> Result<(), BoxError> {
        let parts = self.parts.close().await?;
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(parts);
        Ok(())
    }
}

impl PartWriter {
    fn new(place: &Arc<Place>, stream: u32, next_part: &Arc<AtomicU32>, is_segment: bool) -> Self {
        let (place, next_part) = (Arc::clone(place), Arc::clone(next_part));
        Self { place, stream, next_part, is_segment, parts: Vec::new(), open: None }
    }

    fn is_empty(&self) -> bool {
        self.open.is_none() && self.parts.is_empty()
    }

    async fn write(&mut self, mut data: Bytes) -> Result<(), ContainerError> {
        let part_bytes = self.place.options.part_bytes;
        while !data.is_empty() {
            let Some(part) = self.open.as_mut() else {
                self.open().await?;
                continue;
            };
            let room = part_bytes - part.writer.plaintext_bytes();
            let now = data.split_to(data.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            part.writer.write(now).await?;
            if part.writer.plaintext_bytes() >= part_bytes {
                self.end_part().await?;
            }
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<(), ContainerError> {
        let Place { storage, pool, key: sealing, backup, options, of_segments } = self.place.as_ref();
        let options = if self.is_segment { of_segments } else { options };
        let number = self.next_part.fetch_add(1, Ordering::Relaxed);
        let key = layout::dump_part(backup, self.stream, number);
        let target = storage.put(&key, &options.put).await?;
        let writer = ContainerWriter::new(identity(&key), sealing, &options.container, pool.clone(), target)?;
        self.open = Some(OpenPart { key, writer });
        Ok(())
    }

    async fn end_part(&mut self) -> Result<(), ContainerError> {
        let Some(part) = self.open.take() else { return Ok(()) };
        let report = part.writer.finish().await?;
        self.parts.push(StoredObject::new(part.key, &report));
        Ok(())
    }

    async fn close(mut self) -> Result<Vec<StoredObject>, ContainerError> {
        self.end_part().await?;
        Ok(self.parts)
    }
}
