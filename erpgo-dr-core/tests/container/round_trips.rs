//! Whatever its length, however it was cut, a container gives back what was written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use erpgo_dr_core::codec::Codec;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::container::{
    ContainerError, ContainerOptions, ContainerReader, ContainerWriter, ObjectIdentity, ObjectKind, open_bytes,
    seal_bytes,
};
use erpgo_dr_core::storage::{ObjectMeta, ObjectWriter, StorageError};
use erpgo_dr_core::types::ContentHash;
use futures::{StreamExt as _, TryStreamExt as _};
use proptest::prelude::*;

use crate::store::{MemoryPlace, stream_of};
use crate::support::*;

/// Writes, reads in every way, and holds all against each other.
async fn assert_round_trip(options: &ContainerOptions, plain: &[u8], cut: usize, chunk: usize) {
    let place = MemoryPlace::new();
    let report = write(&place, "a/b", options, plain, cut).await.unwrap();
    let stored = place.object("a/b").unwrap();
    let expected = identity("a/b");

    assert_eq!(report.plaintext_bytes, plain.len() as u64);
    assert_eq!((report.stored_bytes, report.object.size), (stored.len() as u64, stored.len() as u64));
    assert_eq!(report.content_hash, ContentHash::of(&stored));
    assert_eq!(report.frames, plain.len().div_ceil(options.frame_len) as u64);

    let (released, outcome) = stream(&stored, chunk, &expected, &keys()).await;
    outcome.unwrap();
    assert!(released == plain);
    assert!(seek(&stored, &expected, &keys()).await.unwrap() == plain);
    assert!(open_bytes(&stored, &expected, &keys(), plain.len()).unwrap() == plain);
    for seals_only in [false, true] {
        let reader = ContainerReader::open(stream_of(&stored, chunk), &expected, &keys(), pool()).await.unwrap();
        let summary = if seals_only { reader.check_seals_to_end().await } else { reader.check_to_end().await };
        let summary = summary.unwrap();
        assert_eq!((summary.plaintext_bytes, summary.stored_bytes), (report.plaintext_bytes, report.stored_bytes));
        assert_eq!((summary.frames, summary.content_hash), (report.frames, report.content_hash));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_length_and_cut(
        len in 0usize..300_000,
        seed: u64,
        codec in 0usize..3,
        frame_len in 4096usize..70_000,
        segment_units in 64usize..1200,
        cut in 1usize..100_000,
        chunk in 1usize..80_000,
    ) {
        // One-byte pieces of a large object would only test patience.
        let cut = cut.max(len / 2000);
        let chunk = chunk.max(len / 2000);
        let options = ContainerOptions::default()
            .with_codec(CODECS[codec])
            .with_frame_len(frame_len)
            .with_segment_len(segment_units * 16);
        block_on(assert_round_trip(&options, &sample(len, seed), cut, chunk));
    }

    #[test]
    fn what_is_sealed_in_memory_is_opened_as_a_stream(len in 0usize..50_000, seed: u64, codec in 0usize..3) {
        let plain = sample(len, seed);
        let stored = seal_bytes(&identity("m"), &sealing_key(), &options(CODECS[codec]), &plain).unwrap();
        let (released, outcome) = block_on(stream(&stored, 4096, &identity("m"), &keys()));
        outcome.unwrap();
        prop_assert!(released == plain);
        prop_assert!(open_bytes(&stored, &identity("m"), &keys(), len).unwrap() == plain);
    }
}

#[test]
fn lengths_around_every_boundary() {
    // Raw frames: the body is eight bytes a frame longer than the plaintext.
    let body = |len: usize| len + 8 * len.div_ceil(4096);
    let around = |len: usize| [len - 1, len, len + 1];
    let one_segment = 1024 - 8;
    let one_batch = (1..70_000).find(|&len| body(len) == 64 * 1024).unwrap();
    let lengths = [vec![0, 1, 2], around(one_segment).into(), around(4096).into(), around(8192).into()];
    for len in lengths.into_iter().flatten().chain(around(one_batch)) {
        for codec in CODECS {
            block_on(assert_round_trip(&options(codec), &sample(len, 3), 1000, 3333));
        }
    }
}

#[test]
fn default_options_on_some_megabytes() {
    for codec in CODECS {
        let options = ContainerOptions::default().with_codec(codec);
        block_on(assert_round_trip(&options, &sample(9_500_000, 5), 1 << 20, 1 << 18));
    }
}

#[test]
fn an_index_of_several_batches() {
    // 64 segments of 1024 bytes hold 8192 entries.
    let options = options(Codec::None);
    block_on(async {
        let place = MemoryPlace::new();
        let target = place.writer("a").await;
        let mut writer = ContainerWriter::new(identity("a"), &sealing_key(), &options, pool(), target).unwrap();
        for number in 0..20_000u32 {
            writer.write(Bytes::copy_from_slice(&number.to_le_bytes())).await.unwrap();
            writer.flush_frame().await.unwrap();
            // A second flush has nothing to end.
            writer.flush_frame().await.unwrap();
        }
        assert_eq!(writer.plaintext_bytes(), 80_000);
        let report = writer.finish().await.unwrap();
        assert_eq!(report.frames, 20_000);
        let plain: Vec<u8> = (0..20_000u32).flat_map(u32::to_le_bytes).collect();
        let stored = place.object("a").unwrap();
        let (released, outcome) = stream(&stored, 9999, &identity("a"), &keys()).await;
        outcome.unwrap();
        assert!(released == plain);
        assert!(seek(&stored, &identity("a"), &keys()).await.unwrap() == plain);
    });
}

#[test]
fn two_writings_of_the_same_share_nothing_behind_their_headers() {
    let plain = sample(5000, 1);
    let (one, two) = (sealed("x", &options(Codec::None), &plain), sealed("x", &options(Codec::None), &plain));
    assert_eq!(one[..24], two[..24]);
    let same = one.iter().zip(&two).skip(200).filter(|(a, b)| a == b).count();
    assert!(same < one.len() / 20, "{same} of {} bytes are the same", one.len());
}

#[test]
fn options_that_the_format_does_not_allow() {
    let seal = |options: &ContainerOptions, name: &str| seal_bytes(&identity(name), &sealing_key(), options, b"x");
    let base = ContainerOptions::default();
    for frame_len in [0, 4095, (1 << 20) + 1] {
        let error = seal(&base.clone().with_frame_len(frame_len), "a").unwrap_err();
        assert!(matches!(error, ContainerError::InvalidOption { option: "frame_len", .. }));
    }
    for segment_len in [0, 1008, 1032, (1 << 20) + 16] {
        let error = seal(&base.clone().with_segment_len(segment_len), "a").unwrap_err();
        assert!(matches!(error, ContainerError::InvalidOption { option: "segment_len", .. }));
    }
    let long = "n".repeat(256);
    assert!(matches!(seal(&base, &long), Err(ContainerError::InvalidOption { option: "name length", value: 256 })));
    assert!(seal(&base, &long[..255]).is_ok() && seal(&base, "").is_ok());
    let error = seal(&base.with_codec(Codec::Zstd { level: 99 }), "a").unwrap_err();
    assert!(matches!(error, ContainerError::Codec { .. }));
}

#[test]
fn a_limit_in_memory_is_kept() {
    let identity = ObjectIdentity::new(ObjectKind::Manifest, "m");
    let stored = seal_bytes(&identity, &sealing_key(), &ContainerOptions::default(), &[0; 5000]).unwrap();
    assert!(matches!(open_bytes(&stored, &identity, &keys(), 4999), Err(ContainerError::TooLarge { .. })));
    assert_eq!(open_bytes(&stored, &identity, &keys(), 5000).unwrap().len(), 5000);
}

/// Knows at any moment how many bytes have gone in and not yet come out.
#[derive(Debug)]
struct Gauge {
    written: Arc<AtomicU64>,
    stored: u64,
    peak: Arc<Mutex<u64>>,
}

#[async_trait::async_trait]
impl ObjectWriter for Gauge {
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError> {
        let held = self.written.load(Ordering::SeqCst).saturating_sub(self.stored);
        let mut peak = self.peak.lock().unwrap();
        *peak = held.max(*peak);
        self.stored += data.len() as u64;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta, StorageError> {
        Ok(ObjectMeta::new("a".parse().unwrap(), self.stored, chrono::DateTime::UNIX_EPOCH))
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        Ok(())
    }
}

#[test]
fn what_is_in_flight_is_bounded_however_long_the_stream() {
    const MIB: u64 = 1 << 20;
    let pool = ComputePool::new(2).unwrap();
    let (frames, batches) = (2 * 2 + 1, 2 + 3);
    block_on(async {
        let (written, peak) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(0)));
        let target = Box::new(Gauge { written: Arc::clone(&written), stored: 0, peak: Arc::clone(&peak) });
        let options = ContainerOptions::default().with_codec(Codec::None);
        let mut writer = ContainerWriter::new(identity("a"), &sealing_key(), &options, pool.clone(), target).unwrap();
        let piece = Bytes::from(vec![1; MIB as usize]);
        for _ in 0..100 {
            written.fetch_add(MIB, Ordering::SeqCst);
            writer.write(piece.clone()).await.unwrap();
        }
        writer.finish().await.unwrap();
        let peak = *peak.lock().unwrap();
        assert!(peak <= (frames + batches) * MIB, "{} MiB were held by the writer", peak / MIB);
    });

    let stored = sealed("a", &ContainerOptions::default().with_codec(Codec::None), &vec![1; 50 << 20]);
    let stored = Bytes::from(stored);
    let fetched = Arc::new(AtomicU64::new(0));
    let counting = {
        let fetched = Arc::clone(&fetched);
        let chunks: Vec<_> = (0..stored.len()).step_by(1 << 16).collect();
        futures::stream::iter(chunks).map(move |at| {
            let chunk = stored.slice(at..stored.len().min(at + (1 << 16)));
            fetched.fetch_add(chunk.len() as u64, Ordering::SeqCst);
            Ok(chunk)
        })
    };
    block_on(async {
        let reader = ContainerReader::open(counting.boxed(), &identity("a"), &keys(), pool).await.unwrap();
        let mut released = 0;
        let mut plain = reader.into_stream();
        while let Some(bytes) = plain.try_next().await.unwrap() {
            let held = fetched.load(Ordering::SeqCst).saturating_sub(released);
            assert!(held <= (2 + 2 + 2 * 2 + 1) * MIB, "{} MiB were held by the reader", held / MIB);
            released += bytes.len() as u64;
        }
        assert_eq!(released, 50 * MIB);
    });
}
