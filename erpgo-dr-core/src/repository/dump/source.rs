//! Reads dump streams back: their parts joined again, whole or by ranges.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};

use super::super::manifest::{StoredObject, StoredStream};
use super::identity;
use crate::compute::ComputePool;
use crate::container::{ContainerError, ContainerReader, KeySource, SeekableContainer};
use crate::postgres::{BackupSource, BoxError, StreamInfo};
use crate::storage::Storage;

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
    use crate::types::{ContentHash, ObjectKey};

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
