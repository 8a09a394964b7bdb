//! Writing one file, a mebibyte at a time.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;

use super::cancel::Caller;
use super::files::TemporaryFile;
use super::{Place, blocking};
use crate::storage::{ObjectMeta, ObjectWriter, StorageError};
use crate::types::ObjectKey;

/// How much is gathered before the disk gets it. Twice as much is held at most: one batch fills as the other is written.
const BATCH: usize = 1 << 20;

/// What a batch on its way to the disk comes back with.
type Written = io::Result<TemporaryFile>;

/// Writes to a temporary file on the blocking pool while the caller makes the next batch.
#[derive(Debug)]
pub(super) struct LocalWriter {
    place: Arc<Place>,
    key: ObjectKey,
    state: State,
    batch: Vec<Bytes>,
    batch_size: usize,
    written: u64,
}

#[derive(Debug)]
enum State {
    Idle(TemporaryFile),
    Writing(JoinHandle<Written>),
    Failed,
}

impl LocalWriter {
    pub(super) fn new(place: Arc<Place>, key: ObjectKey, file: TemporaryFile) -> Self {
        Self { place, key, state: State::Idle(file), batch: Vec::new(), batch_size: 0, written: 0 }
    }

    /// Waits for the batch under way and hands back the file.
    async fn file(&mut self) -> Result<TemporaryFile, StorageError> {
        let outcome = match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(file) => return Ok(file),
            State::Writing(task) => task.await,
            State::Failed => Ok(Err(io::Error::other("an earlier write of this object failed"))),
        };
        let outcome = outcome.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(io::Error::other("the runtime is shutting down")),
        });
        outcome.map_err(|error| self.place.error("write", &self.key, error))
    }

    async fn flush(&mut self) -> Result<(), StorageError> {
        let mut file = self.file().await?;
        let batch = std::mem::take(&mut self.batch);
        self.written += std::mem::take(&mut self.batch_size) as u64;
        self.state = State::Writing(tokio::task::spawn_blocking(move || {
            for piece in &batch {
                file.write(piece)?;
            }
            Ok(file)
        }));
        Ok(())
    }
}

#[async_trait]
impl ObjectWriter for LocalWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError> {
        self.batch_size += data.len();
        self.batch.push(data);
        if self.batch_size >= BATCH || self.batch.len() >= BATCH / 256 { self.flush().await } else { Ok(()) }
    }

    async fn finish(mut self: Box<Self>) -> Result<ObjectMeta, StorageError> {
        self.flush().await?;
        let file = self.file().await?;
        let Self { place, key, written, .. } = *self;
        let caller = Caller::default();
        let called = caller.called();
        blocking(move || match file.publish(&place, &key, &called) {
            Ok(modified) => Ok(ObjectMeta::new(key, written, modified)),
            Err(error) => Err(place.error("write", &key, error)),
        })
        .await
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StorageError> {
        // The file is removed as it drops, after the write that is under way; that one's fate matters no more.
        drop(self.file().await);
        Ok(())
    }
}
