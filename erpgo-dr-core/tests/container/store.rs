//! A storage place in memory that counts what it is asked for, hands out chunks of a chosen size, and fails on purpose.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use erpgo_dr_core::storage::{
    ByteStream, Capabilities, ObjectMeta, ObjectWriter, PutOptions, Storage, StorageError, ThawOptions, ThawState,
};
use erpgo_dr_core::types::ObjectKey;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

#[derive(Debug, Default)]
pub(crate) struct Shelf {
    objects: Mutex<HashMap<ObjectKey, Bytes>>,
    pub(crate) gets: Mutex<Vec<Option<Range<u64>>>>,
    pub(crate) aborted: AtomicUsize,
    /// Bytes that writers have taken.
    pub(crate) taken: Arc<AtomicU64>,
}

/// A place in memory. Cloning shares the objects.
#[derive(Debug, Clone)]
pub(crate) struct MemoryPlace {
    pub(crate) shelf: Arc<Shelf>,
    /// Longest chunk that a read hands out.
    pub(crate) chunk: usize,
    /// After how many bytes a write fails.
    pub(crate) fails_after: Option<u64>,
    pub(crate) fails_at_finish: bool,
}

impl MemoryPlace {
    pub(crate) fn new() -> Self {
        Self { shelf: Arc::default(), chunk: 64 << 10, fails_after: None, fails_at_finish: false }
    }

    pub(crate) fn object(&self, key: &str) -> Option<Bytes> {
        self.shelf.objects.lock().unwrap().get(&key.parse().unwrap()).cloned()
    }

    pub(crate) fn put_object(&self, key: &str, data: impl Into<Bytes>) {
        self.shelf.objects.lock().unwrap().insert(key.parse().unwrap(), data.into());
    }

    pub(crate) async fn writer(&self, key: &str) -> Box<dyn ObjectWriter> {
        self.put(&key.parse().unwrap(), &PutOptions::default()).await.unwrap()
    }

    fn broken(&self) -> StorageError {
        let source = std::io::Error::other("the test cut it").into();
        StorageError::Failed { location: self.location(), action: "write", subject: "object".to_owned(), source }
    }
}

/// Streams `data` in chunks of at most `chunk` bytes.
pub(crate) fn stream_of(data: &[u8], chunk: usize) -> ByteStream {
    let chunks: Vec<_> = data.chunks(chunk.max(1)).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks).boxed()
}

#[async_trait]
impl Storage for MemoryPlace {
    fn location(&self) -> String {
        "memory of the test".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::PLAIN
    }

    async fn put(&self, key: &ObjectKey, _: &PutOptions) -> Result<Box<dyn ObjectWriter>, StorageError> {
        Ok(Box::new(Writer { place: self.clone(), key: key.clone(), data: Vec::new() }))
    }

    async fn create(&self, _: &ObjectKey, _: Bytes) -> Result<ObjectMeta, StorageError> {
        Err(StorageError::Unsupported { location: self.location(), action: "create" })
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        self.shelf.gets.lock().unwrap().push(range.clone());
        let objects = self.shelf.objects.lock().unwrap();
        let not_found = || StorageError::NotFound { location: self.location(), key: key.clone() };
        let data = objects.get(key).ok_or_else(not_found)?;
        let range = range.unwrap_or(0..data.len() as u64);
        let clip = |at: u64| at.min(data.len() as u64) as usize;
        Ok(stream_of(&data[clip(range.start)..clip(range.end)], self.chunk))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError> {
        let size = self.object(key.as_str()).map(|data| data.len() as u64);
        let size = size.ok_or_else(|| StorageError::NotFound { location: self.location(), key: key.clone() })?;
        Ok(ObjectMeta::new(key.clone(), size, chrono::DateTime::UNIX_EPOCH))
    }

    fn list(&self, _: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        stream::empty().boxed()
    }

    async fn delete(&self, _: &ObjectKey) -> Result<(), StorageError> {
        Ok(())
    }

    async fn thaw(&self, _: &ObjectKey, _: &ThawOptions) -> Result<ThawState, StorageError> {
        Err(StorageError::Unsupported { location: self.location(), action: "thaw" })
    }
}

#[derive(Debug)]
struct Writer {
    place: MemoryPlace,
    key: ObjectKey,
    data: Vec<u8>,
}

#[async_trait]
impl ObjectWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError> {
        // A real place is not ready at once either: other tasks get their turn here.
        tokio::task::yield_now().await;
        if self.place.fails_after.is_some_and(|limit| (self.data.len() + data.len()) as u64 > limit) {
            return Err(self.place.broken());
        }
        self.place.shelf.taken.fetch_add(data.len() as u64, Ordering::SeqCst);
        self.data.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta, StorageError> {
        if self.place.fails_at_finish {
            return Err(self.place.broken());
        }
        self.place.put_object(self.key.as_str(), self.data);
        self.place.head(&self.key).await
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        self.place.shelf.aborted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}
