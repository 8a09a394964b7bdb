//! Keys, samples, and the ways to read a container, which all must agree.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use erpgo_dr_core::codec::Codec;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::container::{
    ContainerError, ContainerOptions, ContainerReader, ContainerReport, ContainerWriter, KeySource, ObjectIdentity,
    ObjectKind, SealingKey, SeekableContainer, open_bytes,
};
use erpgo_dr_core::crypto::EpochKey;
use erpgo_dr_core::types::EpochId;
use futures::TryStreamExt as _;
use tokio::runtime::Runtime;

use crate::store::{MemoryPlace, stream_of};

pub(crate) const CODECS: [Codec; 3] = [Codec::None, Codec::Zstd { level: 3 }, Codec::Gzip { level: 6 }];

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

pub(crate) fn pool() -> ComputePool {
    static POOL: LazyLock<ComputePool> = LazyLock::new(|| ComputePool::new(2).unwrap());
    POOL.clone()
}

/// The keys of some epochs.
#[derive(Debug, Default)]
pub(crate) struct Keys(pub(crate) Vec<SealingKey>);

impl KeySource for Keys {
    fn epoch_key(&self, epoch: &EpochId) -> Option<Arc<EpochKey>> {
        self.0.iter().find(|key| key.epoch == *epoch).map(|key| Arc::clone(&key.key))
    }
}

pub(crate) fn epoch(text: &str) -> EpochId {
    text.parse().unwrap()
}

pub(crate) fn sealing_key() -> SealingKey {
    SealingKey { epoch: epoch("20260102T030405Z-0badcafe"), key: Arc::new(EpochKey::from_bytes([7; 32])) }
}

pub(crate) fn keys() -> Keys {
    Keys(vec![sealing_key()])
}

pub(crate) fn identity(name: &str) -> ObjectIdentity {
    ObjectIdentity::new(ObjectKind::Dump, name)
}

/// Bytes of which stretches compress well, some not at all.
pub(crate) fn sample(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut out = Vec::with_capacity(len + 64);
    while out.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (out.len() / 3000) % 3 {
            0 => out.extend_from_slice(&state.to_le_bytes()),
            1 => out.extend_from_slice(format!("{}\tinvoice\t{}\n", out.len(), state >> 60).as_bytes()),
            _ => out.extend_from_slice(&[0; 32]),
        }
    }
    out.truncate(len);
    out
}

pub(crate) fn options(codec: Codec) -> ContainerOptions {
    ContainerOptions::default().with_codec(codec).with_frame_len(4096).with_segment_len(1024)
}

/// Writes a container in pieces of `cut` bytes.
pub(crate) async fn write(
    place: &MemoryPlace,
    name: &str,
    options: &ContainerOptions,
    plain: &[u8],
    cut: usize,
) -> Result<ContainerReport, ContainerError> {
    let target = place.writer(name).await;
    let mut writer = ContainerWriter::new(identity(name), &sealing_key(), options, pool(), target)?;
    for piece in plain.chunks(cut.max(1)) {
        writer.write(Bytes::copy_from_slice(piece)).await?;
    }
    writer.finish().await
}

/// Returns a container's bytes.
pub(crate) fn sealed(name: &str, options: &ContainerOptions, plain: &[u8]) -> Vec<u8> {
    let place = MemoryPlace::new();
    block_on(write(&place, name, options, plain, 10_000)).unwrap();
    place.object(name).unwrap().to_vec()
}

/// Reads front to back: what was released, and how it ended.
pub(crate) async fn stream(
    stored: &[u8],
    chunk: usize,
    expected: &ObjectIdentity,
    keys: &Keys,
) -> (Vec<u8>, Result<(), ContainerError>) {
    let mut released = Vec::new();
    let mut reader = match ContainerReader::open(stream_of(stored, chunk), expected, keys, pool()).await {
        Ok(reader) => reader,
        Err(error) => return (released, Err(error)),
    };
    loop {
        match reader.next().await {
            Ok(Some(bytes)) => released.extend_from_slice(&bytes),
            Ok(None) => return (released, Ok(())),
            Err(error) => {
                assert!(matches!(reader.next().await, Err(ContainerError::Unusable { .. })), "an error is final");
                return (released, Err(error));
            }
        }
    }
}

/// Opens for ranges and reads all of it.
pub(crate) async fn seek(stored: &[u8], expected: &ObjectIdentity, keys: &Keys) -> Result<Vec<u8>, ContainerError> {
    let place = MemoryPlace::new();
    place.put_object("object", stored.to_vec());
    let key = "object".parse().unwrap();
    let container = SeekableContainer::open(Arc::new(place), key, expected, keys, pool()).await?;
    let pieces: Vec<Bytes> = container.read(0..container.plaintext_bytes()).try_collect().await?;
    Ok(pieces.concat())
}

/// Asserts that no way of reading takes `stored` for the truth, and that none releases anything but a beginning of it.
pub(crate) fn assert_refused(stored: &[u8], name: &str, truth: &[u8], what: &str) -> ContainerError {
    let expected = identity(name);
    let (released, outcome) = block_on(stream(stored, 777, &expected, &keys()));
    let error = outcome.expect_err(what);
    assert!(truth.starts_with(&released), "{what}: wrong plaintext was released");
    open_bytes(stored, &expected, &keys(), usize::MAX).expect_err(what);
    let reader = block_on(ContainerReader::open(stream_of(stored, 5000), &expected, &keys(), pool()));
    if let Ok(reader) = reader {
        block_on(reader.check_seals_to_end()).expect_err(what);
    }
    error
}
