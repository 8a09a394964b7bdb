//! A storage place that fails on demand, in front of one that works.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _};

use crate::storage::{
    ByteStream, Capabilities, MissedWrite, ObjectMeta, ObjectWriter, PutOptions, Storage, StorageError, ThawOptions,
    ThawState,
};
use crate::types::ObjectKey;

/// A call that a fault can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Storage::put`].
    Put,
    /// [`ObjectWriter::write`].
    Write,
    /// [`ObjectWriter::finish`].
    Finish,
    /// [`Storage::create`].
    Create,
    /// [`Storage::get`].
    Get,
    /// [`Storage::head`].
    Head,
    /// [`Storage::list`].
    List,
    /// [`Storage::delete`].
    Delete,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It fails with [`StorageError::Unavailable`], and nothing is done.
    Unavailable,
    /// It fails with [`StorageError::PermissionDenied`], and nothing is done.
    PermissionDenied,
    /// It fails with [`StorageError::NoSpace`], and nothing is done.
    NoSpace,
    /// It is done, and its answer gets lost: [`StorageError::Unavailable`].
    LostAnswer,
    /// It never returns.
    Hang,
    /// It takes so much longer.
    Delay(Duration),
    /// The bytes that are read end with [`StorageError::Unavailable`] after so many. For [`Operation::Get`].
    CutAfter(u64),
    /// One bit of the byte at this offset of what is read is flipped. For [`Operation::Get`].
    FlipBit(u64),
}

/// A rule: which calls have which effect.
#[derive(Debug, Clone)]
pub struct Fault {
    operation: Operation,
    folder: String,
    skip: u64,
    times: u64,
    effect: Effect,
}

impl Fault {
    /// Makes each `operation` have `effect`.
    pub fn new(operation: Operation, effect: Effect) -> Self {
        Self { operation, folder: String::new(), skip: 0, times: u64::MAX, effect }
    }

    /// Restricts the rule to keys that equal `folder` or lie in it.
    pub fn under(mut self, folder: impl Into<String>) -> Self {
        self.folder = folder.into();
        self
    }

    /// Lets so many calls pass first.
    pub fn after(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Ends the rule after so many calls.
    pub fn times(mut self, calls: u64) -> Self {
        self.times = calls;
        self
    }

    /// Counts a call, and says whether it is met.
    fn meets(&mut self, operation: Operation, key: &str) -> bool {
        let folder = self.folder.trim_end_matches('/');
        let inside =
            folder.is_empty() || key.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if operation != self.operation || !inside {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let met = self.times > 0;
        self.times = self.times.saturating_sub(1);
        met
    }
}

/// A storage place that fails on demand. Clones share their rules.
#[derive(Debug, Clone)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    faults: Vec<Fault>,
    calls: HashMap<Operation, u64>,
}

impl FaultyStorage {
    /// Stands before `inner`, without a fault so far.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, script: Arc::default() }
    }

    /// Adds a rule. The first rule that meets a call decides.
    pub fn inject(&self, fault: Fault) {
        self.with_script(|script| script.faults.push(fault));
    }

    /// Removes all rules.
    pub fn heal(&self) {
        self.with_script(|script| script.faults.clear());
    }

    /// Returns how many calls of a kind there were.
    pub fn calls(&self, operation: Operation) -> u64 {
        self.with_script(|script| script.calls.get(&operation).copied().unwrap_or(0))
    }

    fn with_script<T>(&self, action: impl FnOnce(&mut Script) -> T) -> T {
        action(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn effect(&self, operation: Operation, key: &str) -> Option<Effect> {
        self.with_script(|script| {
            *script.calls.entry(operation).or_default() += 1;
            // Every rule counts, also behind the one that decides.
            let met: Vec<Effect> = script
                .faults
                .iter_mut()
                .filter_map(|fault| fault.meets(operation, key).then_some(fault.effect))
                .collect();
            met.first().copied()
        })
    }

    /// Meets a call: fails or waits, and returns the effect that is left to its caller.
    async fn meet(&self, operation: Operation, key: &str) -> Result<Option<Effect>, StorageError> {
        let effect = self.effect(operation, key);
        match effect {
            Some(Effect::Unavailable | Effect::PermissionDenied | Effect::NoSpace) => Err(self.error(effect, key)),
            Some(Effect::Hang) => std::future::pending().await,
            Some(Effect::Delay(pause)) => {
                tokio::time::sleep(pause).await;
                Ok(None)
            }
            other => Ok(other),
        }
    }

    fn error(&self, effect: Option<Effect>, subject: &str) -> StorageError {
        let (location, subject, source) = (self.location(), subject.to_owned(), "a fault was injected".into());
        match effect {
            Some(Effect::PermissionDenied) => StorageError::PermissionDenied { location, subject, source },
            Some(Effect::NoSpace) => StorageError::NoSpace { location, source },
            _ => StorageError::Unavailable { location, action: "reach", subject, source },
        }
    }

    /// Loses the answer if that is the effect.
    fn answer<T>(&self, effect: Option<Effect>, key: &ObjectKey, result: T) -> Result<T, StorageError> {
        if effect == Some(Effect::LostAnswer) { Err(self.error(effect, key.as_str())) } else { Ok(result) }
    }
}

#[async_trait]
impl Storage for FaultyStorage {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn prepare(&self) -> Result<(), StorageError> {
        self.inner.prepare().await
    }

    async fn put(&self, key: &ObjectKey, options: &PutOptions) -> Result<Box<dyn ObjectWriter>, StorageError> {
        self.meet(Operation::Put, key.as_str()).await?;
        let inner = self.inner.put(key, options).await?;
        Ok(Box::new(FaultyWriter { storage: self.clone(), key: key.clone(), inner }))
    }

    async fn create(&self, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
        let effect = self.meet(Operation::Create, key.as_str()).await?;
        let meta = self.inner.create(key, data).await?;
        self.answer(effect, key, meta)
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        let effect = self.meet(Operation::Get, key.as_str()).await?;
        let stream = self.inner.get(key, range).await?;
        Ok(match effect {
            Some(Effect::CutAfter(bytes)) => cut(stream, bytes, self.error(None, key.as_str())).boxed(),
            Some(Effect::FlipBit(offset)) => flip(stream, offset).boxed(),
            _ => self.answer(effect, key, stream)?,
        })
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError> {
        self.meet(Operation::Head, key.as_str()).await?;
        self.inner.head(key).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        let (storage, prefix) = (self.clone(), prefix.to_owned());
        stream::once(async move {
            match storage.meet(Operation::List, &prefix).await {
                Ok(_) => storage.inner.list(&prefix),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        })
        .flatten()
        .boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        let effect = self.meet(Operation::Delete, key.as_str()).await?;
        self.inner.delete(key).await?;
        self.answer(effect, key, ())
    }

    async fn thaw(&self, key: &ObjectKey, options: &ThawOptions) -> Result<ThawState, StorageError> {
        self.inner.thaw(key, options).await
    }

    async fn sweep(&self, older_than: DateTime<Utc>) -> Result<u64, StorageError> {
        self.inner.sweep(older_than).await
    }

    fn take_missed_writes(&self) -> Vec<MissedWrite> {
        self.inner.take_missed_writes()
    }
}

#[derive(Debug)]
struct FaultyWriter {
    storage: FaultyStorage,
    key: ObjectKey,
    inner: Box<dyn ObjectWriter>,
}

#[async_trait]
impl ObjectWriter for FaultyWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError> {
        let effect = self.storage.meet(Operation::Write, self.key.as_str()).await?;
        self.inner.write(data).await?;
        self.storage.answer(effect, &self.key, ())
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta, StorageError> {
        let effect = self.storage.meet(Operation::Finish, self.key.as_str()).await?;
        let meta = self.inner.finish().await?;
        self.storage.answer(effect, &self.key, meta)
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        self.inner.abort().await
    }
}

fn cut(
    stream: ByteStream,
    bytes: u64,
    error: StorageError,
) -> impl futures::Stream<Item = Result<Bytes, StorageError>> {
    stream::unfold((stream, bytes, Some(error)), |(mut stream, left, error)| async move {
        let error = error?;
        if left == 0 {
            return Some((Err(error), (stream, 0, None)));
        }
        match stream.next().await? {
            Ok(mut chunk) => {
                chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - chunk.len() as u64;
                Some((Ok(chunk), (stream, left, Some(error))))
            }
            Err(other) => Some((Err(other), (stream, 0, None))),
        }
    })
}

fn flip(stream: ByteStream, offset: u64) -> impl futures::Stream<Item = Result<Bytes, StorageError>> {
    let mut position = 0;
    stream.map(move |chunk| {
        chunk.map(|chunk| {
            let start = position;
            position += chunk.len() as u64;
            if !(start..position).contains(&offset) {
                return chunk;
            }
            let mut changed = chunk.to_vec();
            changed[(offset - start) as usize] ^= 1;
            Bytes::from(changed)
        })
    })
}
