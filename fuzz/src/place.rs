//! A storage place that holds one object, and nothing else can be done with.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use erpgo_dr_core::storage::{
    ByteStream, Capabilities, ObjectMeta, ObjectWriter, PutOptions, Storage, StorageError, ThawOptions, ThawState,
};
use erpgo_dr_core::types::ObjectKey;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

/// Streams `data` in chunks of at most `chunk` bytes.
pub(crate) fn stream_of(data: &[u8], chunk: usize) -> ByteStream {
    let chunks: Vec<_> = data.chunks(chunk.max(1)).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks).boxed()
}

#[derive(Debug)]
pub struct OneObject(Vec<u8>);

impl OneObject {
    pub fn new(data: &[u8]) -> Self {
        Self(data.to_vec())
    }

    fn refuse<T>(&self, action: &'static str) -> Result<T, StorageError> {
        Err(StorageError::Unsupported { location: self.location(), action })
    }
}

#[async_trait]
impl Storage for OneObject {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::PLAIN
    }

    async fn put(&self, _: &ObjectKey, _: &PutOptions) -> Result<Box<dyn ObjectWriter>, StorageError> {
        self.refuse("put")
    }

    async fn create(&self, _: &ObjectKey, _: Bytes) -> Result<ObjectMeta, StorageError> {
        self.refuse("create")
    }

    async fn get(&self, _: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        let len = self.0.len() as u64;
        let Range { start, end } = range.unwrap_or(0..len);
        assert!(start < end && start < len, "nobody asks for nothing");
        Ok(stream_of(&self.0[start as usize..end.min(len) as usize], 5000))
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError> {
        Ok(ObjectMeta::new(key.clone(), self.0.len() as u64, std::time::SystemTime::UNIX_EPOCH.into()))
    }

    fn list(&self, _: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        stream::empty().boxed()
    }

    async fn delete(&self, _: &ObjectKey) -> Result<(), StorageError> {
        self.refuse("delete")
    }

    async fn thaw(&self, _: &ObjectKey, _: &ThawOptions) -> Result<ThawState, StorageError> {
        self.refuse("thaw")
    }
}
