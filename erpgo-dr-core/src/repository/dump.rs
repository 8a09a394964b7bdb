//! Logical dump streams as objects: cut into parts on the way in, joined again on the way out.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};

use super::layout;
use super::manifest::{StoredObject, StoredStream};
use crate::compute::ComputePool;
use crate::container::{
    ContainerError, ContainerOptions, ContainerReader, ContainerWriter, KeySource, ObjectIdentity, ObjectKind,
    SealingKey, SeekableContainer,
};
use crate::postgres::{BackupSink, BackupSource, BoxError, StreamInfo, StreamKind};
use crate::storage::{PutOptions, Storage};
use crate::types::{BackupId, ObjectKey};

/// Seals the streams of one backup into objects of bounded size.
#[derive(Debug)]
pub(crate) struct DumpSink {
    storage: Arc<dyn Storage>,
    pool: ComputePool,
    key: SealingKey,
    container: ContainerOptions,
    put: PutOptions,
    part_bytes: u64,
    backup: BackupId,
    streams: Vec<StoredStream>,
    open: Option<OpenPart>,
}

#[derive(Debug)]
struct OpenPart {
    key: ObjectKey,
    writer: ContainerWriter,
}

/// What a sink needs to know beside its backup.
#[derive(Debug, Clone)]
pub(crate) struct DumpSinkOptions {
    pub(crate) container: ContainerOptions,
    pub(crate) put: PutOptions,
    pub(crate) part_bytes: u64,
}

impl DumpSink {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        pool: ComputePool,
        key: SealingKey,
        backup: BackupId,
        options: DumpSinkOptions,
    ) -> Self {
        let DumpSinkOptions { container, put, part_bytes } = options;
        Self { storage, pool, key, container, put, part_bytes, backup, streams: Vec::new(), open: None }
    }

    /// Returns the streams that were ended.
    pub(crate) fn into_streams(self) -> Vec<StoredStream> {
        self.streams
    }

    async fn open_part(&mut self) -> Result<(), ContainerError> {
        let stream = self.streams.last().expect("begin() was called");
        let key = layout::dump_part(&self.backup, stream.info.number, stream.parts.len() as u32);
        let target = self.storage.put(&key, &self.put).await?;
        let writer = ContainerWriter::new(identity(&key), &self.key, &self.container, self.pool.clone(), target)?;
        self.open = Some(OpenPart { key, writer });
        Ok(())
    }

    async fn close_part(&mut self) -> Result<(), ContainerError> {
        let Some(part) = self.open.take() else { return Ok(()) };
        let report = part.writer.finish().await?;
        let stream = self.streams.last_mut().expect("a part belongs to a stream");
        stream.info.bytes += report.plaintext_bytes;
        stream.parts.push(StoredObject {
            key: part.key,
            plaintext_bytes: report.plaintext_bytes,
            stored_bytes: report.stored_bytes,
            hash: report.content_hash,
        });
        Ok(())
    }

    async fn write_all(&mut self, mut data: Bytes) -> Result<(), ContainerError> {
        while !data.is_empty() {
            let part = match self.open.as_mut() {
                Some(part) => part,
                None => {
                    self.open_part().await?;
                    continue;
                }
            };
            let room = self.part_bytes - part.writer.plaintext_bytes();
            let now = data.split_to(data.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            part.writer.write(now).await?;
            if part.writer.plaintext_bytes() >= self.part_bytes {
                self.close_part().await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl BackupSink for DumpSink {
    async fn begin(&mut self, kind: &StreamKind) -> Result<(), BoxError> {
        let number = self.streams.len() as u32;
        let info = StreamInfo { number, kind: kind.clone(), bytes: 0 };
        self.streams.push(StoredStream { info, parts: Vec::new() });
        Ok(())
    }

    async fn write(&mut self, data: Bytes) -> Result<(), BoxError> {
        Ok(self.write_all(data).await?)
    }

    async fn end(&mut self) -> Result<(), BoxError> {
        if self.open.is_none() && self.streams.last().is_some_and(|stream| stream.parts.is_empty()) {
            self.open_part().await?;
        }
        Ok(self.close_part().await?)
    }
}

fn identity(key: &ObjectKey) -> ObjectIdentity {
    ObjectIdentity::new(ObjectKind::Dump, key.as_str())
}

/// Reads the streams of one backup. Every byte it yields is authentic, and every part is read to its end.
#[derive(Debug)]
pub(crate) struct DumpSource {
    storage: Arc<dyn Storage>,
    pool: ComputePool,
    keys: Arc<dyn KeySource>,
    infos: Vec<StreamInfo>,
    streams: Vec<StoredStream>,
}

type Chunks = BoxStream<'static, Result<Bytes, ContainerError>>;

impl DumpSource {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        pool: ComputePool,
        keys: Arc<dyn KeySource>,
        streams: Vec<StoredStream>,
    ) -> Self {
        let infos = streams.iter().map(|stream| stream.info.clone()).collect();
        Self { storage, pool, keys, infos, streams }
    }

    fn whole(&self, parts: Vec<StoredObject>) -> Chunks {
        let (storage, pool, keys) = (Arc::clone(&self.storage), self.pool.clone(), Arc::clone(&self.keys));
        stream::iter(parts)
            .then(move |part| {
                let (storage, pool, keys) = (Arc::clone(&storage), pool.clone(), Arc::clone(&keys));
                async move {
                    let stored = storage.get(&part.key, None).await?;
                    let reader = ContainerReader::open(stored, &identity(&part.key), keys.as_ref(), pool).await?;
                    Ok::<_, ContainerError>(reader.into_stream())
                }
            })
            .try_flatten()
            .boxed()
    }

    fn ranged(&self, parts: Vec<StoredObject>, range: Range<u64>) -> Chunks {
        let (storage, pool, keys) = (Arc::clone(&self.storage), self.pool.clone(), Arc::clone(&self.keys));
        stream::iter(overlaps(parts, range))
            .then(move |(part, range)| {
                let (storage, pool, keys) = (Arc::clone(&storage), pool.clone(), Arc::clone(&keys));
                async move {
                    let identity = identity(&part.key);
                    let container = SeekableContainer::open(storage, part.key, &identity, keys.as_ref(), pool).await?;
                    Ok::<_, ContainerError>(container.read(range))
                }
            })
            .try_flatten()
            .boxed()
    }
}

/// Returns the parts that a range of a stream touches, each with the range inside of it.
fn overlaps(parts: Vec<StoredObject>, range: Range<u64>) -> Vec<(StoredObject, Range<u64>)> {
    let mut start = 0;
    let mut touched = Vec::new();
    for part in parts {
        let end = start + part.plaintext_bytes;
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            touched.push((part, from - start..to - start));
        }
        start = end;
    }
    touched
}

#[async_trait]
impl BackupSource for DumpSource {
    fn streams(&self) -> &[StreamInfo] {
        &self.infos
    }

    async fn open(
        &self,
        stream: u32,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, BoxError>>, BoxError> {
        let found = self.streams.iter().find(|found| found.info.number == stream);
        let parts = found.ok_or_else(|| format!("the backup has no stream {stream}"))?.parts.clone();
        let chunks = match range {
            None => self.whole(parts),
            Some(range) => self.ranged(parts, range),
        };
        Ok(chunks.map_err(BoxError::from).boxed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ContentHash;

    #[test]
    fn a_range_touches_exactly_the_parts_it_overlaps() {
        let part = |n: u32, bytes| StoredObject {
            key: ObjectKey::new(format!("p{n}")).unwrap(),
            plaintext_bytes: bytes,
            stored_bytes: bytes,
            hash: ContentHash::of(b""),
        };
        let touched = |range| {
            overlaps(vec![part(0, 10), part(1, 10), part(2, 5)], range)
                .into_iter()
                .map(|(part, range)| (part.key.to_string(), range))
                .collect::<Vec<_>>()
        };
        assert_eq!(touched(0..25), [("p0".into(), 0..10), ("p1".into(), 0..10), ("p2".into(), 0..5)]);
        assert_eq!(touched(9..11), [("p0".into(), 9..10), ("p1".into(), 0..1)]);
        assert_eq!(touched(10..20), [("p1".into(), 0..10)]);
        assert_eq!(touched(25..30), []);
    }
}
