//! What the targets share: keys, a storage place in memory, and the three ways to read a container.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arbitrary::{Arbitrary, Unstructured};
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::container::{
    ContainerError, ContainerReader, KeySource, ObjectIdentity, SeekableContainer, open_bytes,
};
use erpgo_dr_core::crypto::EpochKey;
use erpgo_dr_core::storage::Storage;
use erpgo_dr_core::types::EpochId;
use futures::TryStreamExt as _;
use tokio::runtime::Runtime;

mod place;

pub use place::OneObject;

/// Most plaintext that a target lets an input expand to.
pub const LIMIT: usize = 8 << 20;

pub static POOL: LazyLock<ComputePool> = LazyLock::new(|| ComputePool::new(1).expect("a thread"));

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));

/// Runs a future to its end, and what it left on the pool: a job that an error cut off must not be taken for a leak.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let output = RUNTIME.block_on(future);
    RUNTIME.block_on(POOL.run(|| ()));
    output
}

/// One key, whatever the epoch.
pub struct OneKey(pub [u8; 32]);

impl fmt::Debug for OneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneKey")
    }
}

impl KeySource for OneKey {
    fn epoch_key(&self, _: &EpochId) -> Option<Arc<EpochKey>> {
        Some(Arc::new(EpochKey::from_bytes(self.0)))
    }
}

/// The key of the known container of that number (`erpgo-dr-core/tests/vectors`).
pub fn vector_key(number: u8) -> OneKey {
    OneKey(std::array::from_fn(|at| at as u8 ^ number))
}

/// What was released before the end, and how it ended.
pub type Outcome = (Vec<u8>, Result<(), ContainerError>);

pub fn stream(stored: &[u8], chunk: usize, expected: &ObjectIdentity, keys: &OneKey) -> Outcome {
    let mut released = Vec::new();
    let outcome = block_on(async {
        let stream = place::stream_of(stored, chunk);
        let mut reader = ContainerReader::open(stream, expected, keys, POOL.clone()).await?;
        while let Some(bytes) = reader.next().await? {
            released.extend_from_slice(&bytes);
            if released.len() > LIMIT {
                break;
            }
        }
        Ok(())
    });
    (released, outcome)
}

pub fn seek(
    stored: &[u8],
    range: Option<Range<u64>>,
    expected: &ObjectIdentity,
    keys: &OneKey,
) -> Result<Vec<u8>, ContainerError> {
    block_on(async {
        let place: Arc<dyn Storage> = Arc::new(OneObject::new(stored));
        let key = "object".parse().expect("a key");
        let container = SeekableContainer::open(place, key, expected, keys, POOL.clone()).await?;
        let range = range.unwrap_or(0..container.plaintext_bytes().min(LIMIT as u64));
        Ok(container.read(range).try_collect::<Vec<_>>().await?.concat())
    })
}

/// Reads in all three ways, asserts that they agree, and returns the plaintext if it was good.
pub fn read_all_ways(stored: &[u8], chunk: usize, expected: &ObjectIdentity, keys: &OneKey) -> Option<Vec<u8>> {
    let whole = open_bytes(stored, expected, keys, LIMIT);
    let (released, outcome) = stream(stored, chunk, expected, keys);
    let sought = seek(stored, None, expected, keys);
    let Ok(plain) = whole else {
        let too_large = matches!(whole, Err(ContainerError::TooLarge { .. }));
        assert!(outcome.is_err() || too_large, "streamed what does not open whole");
        return None;
    };
    assert!(outcome.is_ok() && released == plain, "the stream differs from the whole");
    assert!(sought.is_ok_and(|sought| sought == plain), "the range differs from the whole");
    Some(plain)
}

/// Bytes that are not all different, of a length that the input chooses.
#[derive(Debug)]
pub struct Plain(pub Vec<u8>);

impl<'a> Arbitrary<'a> for Plain {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let len = input.int_in_range(0..=20_000usize)?;
        let pattern = input.bytes(8)?.to_vec();
        Ok(Self((0..len).map(|at| pattern[at % 8] ^ if at % 3000 > 2000 { (at * 31) as u8 } else { 0 }).collect()))
    }
}
