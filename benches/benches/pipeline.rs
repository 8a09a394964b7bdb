//! Codecs by themselves, then whole containers written and read, by codec and number of threads.
//!
//! `cargo bench -p erpgo-dr-benches --bench pipeline`; throughput is in bytes of plaintext.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use erpgo_dr_core::codec::Codec;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::container::{
    ContainerOptions, ContainerReader, ContainerWriter, KeySource, ObjectIdentity, ObjectKind, SealingKey,
};
use erpgo_dr_core::crypto::EpochKey;
use erpgo_dr_core::storage::{ObjectMeta, ObjectWriter, StorageError};
use erpgo_dr_core::types::EpochId;
use futures::StreamExt as _;
use tokio::runtime::Runtime;

const MIB: usize = 1 << 20;
const SIZE: usize = 64 * MIB;

/// Rows as `COPY` writes them: numbers that count up, words that repeat, amounts that do not.
fn rows(bytes: usize) -> Bytes {
    let mut state = 1u64;
    let mut out = Vec::with_capacity(bytes + 200);
    let mut number = 0u32;
    while out.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (customer, cents, status) =
            (state >> 50, (state >> 30) & 0xf_ffff, ["open", "paid", "void"][number as usize % 3]);
        let line = format!(
            "{number}\t{customer}\t2026-03-{:02} 12:00:{:02}.{:06}+00\t{}.{:02}\t{status}\t{:016x}\n",
            1 + number / 100_000 % 28,
            number % 60,
            state >> 44,
            cents / 100,
            cents % 100,
            state
        );
        out.extend_from_slice(line.as_bytes());
        number += 1;
    }
    out.truncate(bytes);
    out.into()
}

#[derive(Debug, Default)]
struct Collect {
    keep: bool,
    size: u64,
    data: Arc<std::sync::Mutex<Vec<Bytes>>>,
}

#[async_trait]
impl ObjectWriter for Collect {
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError> {
        self.size += data.len() as u64;
        if self.keep {
            self.data.lock().unwrap().push(data);
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta, StorageError> {
        Ok(ObjectMeta::new("object".parse().unwrap(), self.size, chrono::DateTime::UNIX_EPOCH))
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        Ok(())
    }
}

#[derive(Debug)]
struct Key(SealingKey);

impl KeySource for Key {
    fn epoch_key(&self, _: &EpochId) -> Option<Arc<EpochKey>> {
        Some(Arc::clone(&self.0.key))
    }
}

fn key() -> Key {
    let epoch = "20260102T030405Z-0badcafe".parse().unwrap();
    Key(SealingKey { epoch, key: Arc::new(EpochKey::from_bytes([7; 32])) })
}

fn identity() -> ObjectIdentity {
    ObjectIdentity::new(ObjectKind::Dump, "dumps/bench/0")
}

async fn write(plain: &Bytes, codec: Codec, pool: &ComputePool, target: Collect) -> u64 {
    let options = ContainerOptions::default().with_codec(codec);
    let mut writer = ContainerWriter::new(identity(), &key().0, &options, pool.clone(), Box::new(target)).unwrap();
    for at in (0..plain.len()).step_by(64 << 10) {
        writer.write(plain.slice(at..plain.len().min(at + (64 << 10)))).await.unwrap();
    }
    writer.finish().await.unwrap().stored_bytes
}

async fn open(stored: &[Bytes], pool: &ComputePool) -> ContainerReader {
    // As a network hands it out: chunks that know nothing of segments.
    let chunks: Vec<_> = stored
        .iter()
        .flat_map(|piece| {
            (0..piece.len()).step_by(48 << 10).map(|at| Ok(piece.slice(at..piece.len().min(at + (48 << 10)))))
        })
        .collect();
    ContainerReader::open(futures::stream::iter(chunks).boxed(), &identity(), &key(), pool.clone()).await.unwrap()
}

const CODECS: [Codec; 4] = [Codec::None, Codec::Zstd { level: 1 }, Codec::Zstd { level: 3 }, Codec::Gzip { level: 6 }];

fn codecs(c: &mut Criterion) {
    let plain = rows(MIB);
    let mut group = c.benchmark_group("codec");
    group.throughput(Throughput::Bytes(MIB as u64)).sample_size(20);
    let levels = [1, 3, 9].map(|level| Codec::Zstd { level }).into_iter();
    for codec in levels.chain([1, 6].map(|level| Codec::Gzip { level })) {
        let mut stored = Vec::new();
        codec.compress(&plain, &mut stored).unwrap();
        let ratio = plain.len() as f64 / stored.len() as f64;
        let mut out = Vec::with_capacity(2 * MIB);
        group.bench_function(BenchmarkId::new("compress", format!("{codec} (ratio {ratio:.2})")), |b| {
            b.iter(|| {
                out.clear();
                codec.compress(black_box(&plain), &mut out).unwrap();
            });
        });
        group.bench_function(BenchmarkId::new("decompress", codec), |b| {
            b.iter(|| {
                out.clear();
                codec.decompress(black_box(&stored), MIB, &mut out).unwrap();
            });
        });
    }
}

fn containers(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let plain = rows(SIZE);
    let mut group = c.benchmark_group("container");
    group.throughput(Throughput::Bytes(SIZE as u64)).sample_size(10);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in [1, cores] {
        let pool = ComputePool::new(threads).unwrap();
        for codec in CODECS {
            let name = format!("{codec}/{threads} threads");
            group.bench_function(BenchmarkId::new("write", &name), |b| {
                b.iter(|| runtime.block_on(write(&plain, codec, &pool, Collect::default())));
            });
            let target = Collect { keep: true, ..Collect::default() };
            let data = Arc::clone(&target.data);
            runtime.block_on(write(&plain, codec, &pool, target));
            let stored = data.lock().unwrap().clone();
            group.bench_function(BenchmarkId::new("read", &name), |b| {
                b.iter(|| {
                    runtime.block_on(async {
                        let mut reader = open(&stored, &pool).await;
                        let mut bytes = 0;
                        while let Some(piece) = reader.next().await.unwrap() {
                            bytes += piece.len();
                        }
                        assert_eq!(bytes, SIZE);
                    });
                });
            });
            group.bench_function(BenchmarkId::new("check seals", &name), |b| {
                b.iter(|| runtime.block_on(async { open(&stored, &pool).await.check_seals_to_end().await.unwrap() }));
            });
        }
    }
}

criterion_group!(benches, codecs, containers);
criterion_main!(benches);
