//! Repeats the library's own work for a while, and divides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use erpgo_dr_core::Encryptor as _;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::container::{
    ContainerOptions, ContainerReader, ContainerWriter, KeySource, ObjectIdentity, ObjectKind, SealingKey,
};
use erpgo_dr_core::crypto::{Aes256CbcHmac, EpochKey, ObjectBinding, SegmentRun};
use erpgo_dr_core::storage::{ObjectMeta, ObjectWriter, StorageError};
use erpgo_dr_core::types::{EpochId, ObjectKey};
use futures::StreamExt as _;

use super::data;
use super::rows::Row;
use crate::error::{self, CliError};

/// Plaintext bytes of a segment, as containers cut them.
const SEGMENT: usize = 16 * 1024 - 16;
/// Plaintext of one container.
const CONTAINER: usize = 32 << 20;

/// Runs work of the CPU on so many threads at once. Returns bytes of plaintext a second, of all together.
pub(super) fn on_threads(row: Row, bytes: usize, threads: usize, span: Duration) -> Result<f64, CliError> {
    let plain = data::rows(bytes);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| repeat(row, &plain, span))).collect();
        let rates = workers.into_iter().map(|worker| match worker.join() {
            Ok(rate) => rate,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        rates.sum()
    })
}

fn repeat(row: Row, plain: &[u8], span: Duration) -> Result<f64, CliError> {
    let mut work = work(row, plain)?;
    // Once beforehand: tables and pages are made then.
    work()?;
    let (started, mut rounds) = (Instant::now(), 0_u64);
    while started.elapsed() < span {
        work()?;
        rounds += 1;
    }
    Ok(rounds as f64 * plain.len() as f64 / started.elapsed().as_secs_f64())
}

/// Prepares the work of a row: what it reads is made here, and is not measured.
fn work<'a>(row: Row, plain: &'a [u8]) -> Result<Box<dyn FnMut() -> Result<(), CliError> + 'a>, CliError> {
    let binding = ObjectBinding { salt: [1; 32], context: [2; 32] };
    let cipher = Aes256CbcHmac::new().for_object(&EpochKey::generate(), &binding);
    let run = SegmentRun { layer: 0, first: 0, segment_len: SEGMENT, last: true };
    let (mut stored, mut out) = (Vec::new(), Vec::new());
    match row {
        Row::Seal => Ok(Box::new(move || {
            out.clear();
            cipher.seal(run, plain, &mut out);
            Ok(())
        })),
        Row::Open => {
            cipher.seal(run, plain, &mut stored);
            Ok(Box::new(move || {
                out.clear();
                Ok(cipher.open(run, &stored, &mut out)?)
            }))
        }
        Row::Compress(codec) | Row::Write(codec) => Ok(Box::new(move || {
            out.clear();
            Ok(codec.compress(plain, &mut out)?)
        })),
        Row::Decompress(codec) | Row::Read(codec) => {
            codec.compress(plain, &mut stored)?;
            Ok(Box::new(move || {
                out.clear();
                Ok(codec.decompress(&stored, plain.len(), &mut out)?)
            }))
        }
    }
}

/// Writes or reads whole containers on a pool of so many threads, `chunk` bytes of it at a time.
pub(super) async fn container(row: Row, chunk: usize, threads: usize, span: Duration) -> Result<f64, CliError> {
    let pool = ComputePool::new(threads).map_err(|source| error::io("start the compute threads", source))?;
    let plain = Bytes::from(data::rows(CONTAINER));
    let (Row::Write(codec) | Row::Read(codec)) = row else { return Ok(0.0) };
    let options = ContainerOptions::default().with_codec(codec);
    let key = Key::generate();
    let write = async |keep| {
        let (target, stored) = Target::new(keep);
        let mut writer = ContainerWriter::new(identity(), &key.0, &options, pool.clone(), Box::new(target))?;
        for at in (0..plain.len()).step_by(chunk) {
            writer.write(plain.slice(at..plain.len().min(at + chunk))).await?;
        }
        writer.finish().await?;
        Ok::<_, CliError>(stored)
    };
    let stored = write(true).await?;
    let stored = std::mem::take(&mut *stored.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let read = async || {
        let pieces = futures::stream::iter(stored.clone()).map(Ok).boxed();
        let mut reader = ContainerReader::open(pieces, &identity(), &key, pool.clone()).await?;
        while reader.next().await?.is_some() {}
        Ok::<_, CliError>(())
    };
    let (started, mut rounds) = (Instant::now(), 0_u64);
    while rounds == 0 || started.elapsed() < span {
        match row {
            Row::Read(_) => read().await?,
            _ => drop(write(false).await?),
        }
        rounds += 1;
    }
    Ok(rounds as f64 * CONTAINER as f64 / started.elapsed().as_secs_f64())
}

fn identity() -> ObjectIdentity {
    ObjectIdentity::new(ObjectKind::File, "bench")
}

#[derive(Debug)]
struct Key(SealingKey);

impl Key {
    fn generate() -> Self {
        Self(SealingKey { epoch: EpochId::generate(Utc::now()), key: Arc::new(EpochKey::generate()) })
    }
}

impl KeySource for Key {
    fn epoch_key(&self, epoch: &EpochId) -> Option<Arc<EpochKey>> {
        (*epoch == self.0.epoch).then(|| Arc::clone(&self.0.key))
    }
}

type Stored = Arc<std::sync::Mutex<Vec<Bytes>>>;

/// A place that is as fast as memory, or forgets at once.
#[derive(Debug)]
struct Target {
    keep: bool,
    size: u64,
    stored: Stored,
}

impl Target {
    fn new(keep: bool) -> (Self, Stored) {
        let stored = Stored::default();
        (Self { keep, size: 0, stored: Arc::clone(&stored) }, stored)
    }
}

#[async_trait]
impl ObjectWriter for Target {
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError> {
        self.size += data.len() as u64;
        if self.keep {
            self.stored.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(data);
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta, StorageError> {
        let key = ObjectKey::new("bench").expect("a literal of the alphabet of keys");
        Ok(ObjectMeta::new(key, self.size, Utc::now()))
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        Ok(())
    }
}
