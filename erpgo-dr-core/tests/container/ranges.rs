//! Any range is what the same range of the whole is, for one read of storage.

use std::sync::Arc;

use bytes::Bytes;
use erpgo_dr_core::codec::Codec;
use erpgo_dr_core::container::{ContainerError, ContainerOptions, ContainerWriter, SeekableContainer};
use erpgo_dr_core::storage::Storage;
use futures::TryStreamExt as _;
use proptest::prelude::*;

use crate::store::MemoryPlace;
use crate::support::*;

async fn open(place: &MemoryPlace, name: &str) -> Result<SeekableContainer, ContainerError> {
    let storage: Arc<dyn Storage> = Arc::new(place.clone());
    SeekableContainer::open(storage, name.parse().unwrap(), &identity(name), &keys(), pool()).await
}

async fn read(container: &SeekableContainer, range: std::ops::Range<u64>) -> Result<Vec<u8>, ContainerError> {
    Ok(container.read(range).try_collect::<Vec<Bytes>>().await?.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_range_is_a_slice_of_the_whole(
        len in 1usize..200_000,
        seed: u64,
        codec in 0usize..3,
        frame_len in 4096usize..40_000,
        segment_units in 64usize..600,
        ranges in prop::collection::vec((0.0f64..1.0, 0.0f64..1.0), 8),
    ) {
        let options = ContainerOptions::default()
            .with_codec(CODECS[codec])
            .with_frame_len(frame_len)
            .with_segment_len(segment_units * 16);
        let plain = sample(len, seed);
        block_on(async {
            let place = MemoryPlace::new();
            write(&place, "r", &options, &plain, 50_000).await.unwrap();
            let container = open(&place, "r").await.unwrap();
            for (one, two) in ranges {
                let (one, two) = ((one * len as f64) as usize, (two * (len + 1) as f64) as usize);
                let range = one.min(two)..one.max(two).min(len);
                place.shelf.gets.lock().unwrap().clear();
                let found = read(&container, range.start as u64..range.end as u64).await.unwrap();
                assert!(found == plain[range.clone()], "{range:?}");
                assert_eq!(place.shelf.gets.lock().unwrap().len(), usize::from(!range.is_empty()));
            }
        });
    }
}

#[test]
fn a_range_fetches_little_more_than_itself() {
    let plain = sample(3_000_000, 4);
    block_on(async {
        let place = MemoryPlace::new();
        let options = ContainerOptions::default().with_codec(Codec::None).with_frame_len(64 << 10);
        write(&place, "r", &options, &plain, 1 << 20).await.unwrap();
        let container = open(&place, "r").await.unwrap();
        // Head of the object and its tail, in which the index lies.
        assert_eq!(place.shelf.gets.lock().unwrap().len(), 2);
        place.shelf.gets.lock().unwrap().clear();
        assert_eq!(read(&container, 1_500_000..1_500_001).await.unwrap(), plain[1_500_000..1_500_001]);
        let fetched = place.shelf.gets.lock().unwrap()[0].clone().unwrap();
        assert!(fetched.end - fetched.start <= (64 << 10) + 3 * 16_424, "{fetched:?}");
    });
}

#[test]
fn an_index_that_does_not_fit_the_first_read_is_fetched_whole() {
    block_on(async {
        let place = MemoryPlace::new();
        let target = place.writer("r").await;
        let mut writer =
            ContainerWriter::new(identity("r"), &sealing_key(), &options(Codec::None), pool(), target).unwrap();
        for number in 0..30_000u32 {
            writer.write(Bytes::copy_from_slice(&number.to_be_bytes())).await.unwrap();
            writer.flush_frame().await.unwrap();
        }
        writer.finish().await.unwrap();
        let container = open(&place, "r").await.unwrap();
        assert_eq!(place.shelf.gets.lock().unwrap().len(), 3);
        assert_eq!(read(&container, 4 * 12_345..4 * 12_346).await.unwrap(), 12_345u32.to_be_bytes());
        assert_eq!(read(&container, 119_996..120_000).await.unwrap(), 29_999u32.to_be_bytes());
    });
}

#[test]
fn ranges_that_do_not_lie_in_the_object() {
    block_on(async {
        let place = MemoryPlace::new();
        write(&place, "r", &options(Codec::None), &sample(5000, 1), 5000).await.unwrap();
        write(&place, "empty", &options(Codec::None), &[], 1).await.unwrap();
        let container = open(&place, "r").await.unwrap();
        #[allow(clippy::reversed_empty_ranges)]
        for range in [0..5001, 5001..5001, 4000..3000, u64::MAX - 1..u64::MAX] {
            let error = read(&container, range).await.unwrap_err();
            assert!(matches!(error, ContainerError::OutOfRange { length: 5000, .. }), "{error:?}");
        }
        assert!(read(&container, 5000..5000).await.unwrap().is_empty());
        let empty = open(&place, "empty").await.unwrap();
        assert_eq!(empty.plaintext_bytes(), 0);
        assert!(read(&empty, 0..0).await.unwrap().is_empty());
    });
}

#[test]
fn an_object_that_changes_behind_an_open_container_is_found() {
    block_on(async {
        let place = MemoryPlace::new();
        let plain = sample(50_000, 1);
        write(&place, "r", &options(Codec::None), &plain, 5000).await.unwrap();
        let container = open(&place, "r").await.unwrap();
        let stored = place.object("r").unwrap();
        write(&place, "r", &options(Codec::None), &plain, 5000).await.unwrap();
        assert!(matches!(read(&container, 20_000..30_000).await, Err(ContainerError::Crypto { .. })));
        place.put_object("r", stored.slice(..25_000));
        assert!(matches!(read(&container, 20_000..30_000).await, Err(ContainerError::Truncated { .. })));
        place.put_object("r", stored);
        assert!(read(&container, 20_000..30_000).await.is_ok());
    });
}

#[test]
fn several_ranges_are_read_at_once() {
    block_on(async {
        let place = MemoryPlace::new();
        let plain = sample(1_000_000, 9);
        write(&place, "r", &ContainerOptions::default().with_frame_len(16 << 10), &plain, 1 << 20).await.unwrap();
        let container = open(&place, "r").await.unwrap();
        let reads = (0..10u64).map(|n| read(&container, n * 100_000..(n + 1) * 100_000));
        let all = futures::future::try_join_all(reads).await.unwrap();
        assert!(all.concat() == plain);
    });
}
