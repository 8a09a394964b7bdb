//! Targets that fail, and callers that go away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use erpgo_dr_core::codec::Codec;
use erpgo_dr_core::container::{ContainerError, ContainerReader, ContainerWriter};
use erpgo_dr_core::storage::StorageError;
use futures::{FutureExt as _, StreamExt as _};

use crate::store::{MemoryPlace, stream_of};
use crate::support::*;

#[test]
fn a_target_that_fails_anywhere_leaves_nothing() {
    let plain = sample(200_000, 1);
    let whole = sealed("f", &options(Codec::None), &plain).len() as u64;
    for limit in (0..whole).step_by(9973).chain([whole - 1]) {
        let mut place = MemoryPlace::new();
        place.fails_after = Some(limit);
        let error = block_on(write(&place, "f", &options(Codec::None), &plain, 10_000)).unwrap_err();
        assert!(matches!(error, ContainerError::Storage(StorageError::Failed { .. })), "{error:?}");
        assert!(place.object("f").is_none());
    }
}

#[test]
fn a_failed_finish_leaves_nothing() {
    let mut place = MemoryPlace::new();
    place.fails_at_finish = true;
    block_on(write(&place, "f", &options(Codec::None), &sample(200_000, 1), 10_000)).unwrap_err();
    assert!(place.object("f").is_none());
}

#[test]
fn a_failure_in_the_last_bytes_gives_up_what_was_stored() {
    let mut place = MemoryPlace::new();
    place.fails_after = Some(100);
    block_on(write(&place, "f", &options(Codec::None), b"few", 3)).unwrap_err();
    assert_eq!(place.shelf.aborted.load(Ordering::SeqCst), 1);
}

#[test]
fn a_writer_that_failed_takes_nothing_more() {
    let mut place = MemoryPlace::new();
    place.fails_after = Some(1000);
    block_on(async {
        let target = place.writer("f").await;
        let mut writer =
            ContainerWriter::new(identity("f"), &sealing_key(), &options(Codec::None), pool(), target).unwrap();
        let piece = Bytes::from(sample(1_000_000, 1));
        assert!(matches!(writer.write(piece.clone()).await, Err(ContainerError::Storage(_))));
        assert!(matches!(writer.write(piece).await, Err(ContainerError::Unusable { .. })));
        assert!(matches!(writer.flush_frame().await, Err(ContainerError::Unusable { .. })));
        assert!(matches!(writer.finish().await, Err(ContainerError::Unusable { .. })));
        assert!(place.object("f").is_none());
        assert_eq!(place.shelf.aborted.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_cancelled_write_leaves_nothing_and_hangs_nothing() {
    let place = MemoryPlace::new();
    block_on(async {
        let piece = Bytes::from(sample(3_000_000, 1));
        for _ in 0..20 {
            let target = place.writer("f").await;
            let mut writer =
                ContainerWriter::new(identity("f"), &sealing_key(), &options(Codec::None), pool(), target).unwrap();
            // Polled once, then dropped, in the midst of its work.
            assert!(writer.write(piece.clone()).now_or_never().is_none());
            assert!(matches!(writer.write(piece.clone()).await, Err(ContainerError::Unusable { .. })));
            writer.abort().await;
        }
        assert!(place.object("f").is_none());
        // The pool is as good as before.
        let timeout = Duration::from_secs(60);
        tokio::time::timeout(timeout, write(&place, "f", &options(Codec::None), &piece, 1 << 20))
            .await
            .unwrap()
            .unwrap();
    });
}

#[test]
fn a_reader_loses_nothing_when_its_next_is_cancelled() {
    let plain = sample(2_000_000, 2);
    let stored = sealed("f", &options(Codec::Zstd { level: 1 }), &plain);
    block_on(async {
        // A source that is often not ready.
        let slow = stream_of(&stored, 3001).then(|chunk| async {
            tokio::task::yield_now().await;
            chunk
        });
        let mut reader = ContainerReader::open(slow.boxed(), &identity("f"), &keys(), pool()).await.unwrap();
        let mut released = Vec::new();
        let mut cancelled = 0;
        loop {
            let step = match reader.next().now_or_never() {
                Some(step) => step,
                None => {
                    cancelled += 1;
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            match step.unwrap() {
                Some(bytes) => released.extend_from_slice(&bytes),
                None => break,
            }
        }
        assert!(released == plain);
        assert!(cancelled > 100, "{cancelled}");
    });
}

#[test]
fn a_check_begins_at_the_beginning() {
    let stored = sealed("f", &options(Codec::None), &sample(100_000, 2));
    block_on(async {
        let (identity, keys) = (identity("f"), keys());
        let open = || ContainerReader::open(stream_of(&stored, 1000), &identity, &keys, pool());
        let mut reader = open().await.unwrap();
        reader.next().await.unwrap().unwrap();
        assert!(matches!(reader.check_to_end().await, Err(ContainerError::Unusable { .. })));
        // A reader that is dropped half-way leaves the pool as it was.
        for _ in 0..20 {
            open().await.unwrap().next().await.unwrap();
        }
        open().await.unwrap().check_to_end().await.unwrap();
    });
}

#[test]
fn an_error_of_the_source_is_the_readers_error() {
    let stored = sealed("f", &options(Codec::None), &sample(100_000, 2));
    let broken = || {
        let source = std::io::Error::other("cut").into();
        let (location, subject) = ("test".to_owned(), "f".to_owned());
        Err(StorageError::Unavailable { location, action: "read", subject, source })
    };
    for at in [0, 50, 500, 50_000] {
        let stream = stream_of(&stored[..at], 100).chain(futures::stream::once(async move { broken() })).boxed();
        let error = block_on(async {
            let mut reader = ContainerReader::open(stream, &identity("f"), &keys(), pool()).await?;
            while reader.next().await?.is_some() {}
            Ok::<_, ContainerError>(())
        });
        let error = error.unwrap_err();
        assert!(matches!(error, ContainerError::Storage(_)) && error.is_retryable(), "{at}: {error:?}");
    }
}
