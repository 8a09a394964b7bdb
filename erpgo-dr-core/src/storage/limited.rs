//! A place that is read and written no faster than it is told to.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt as _};
use leaky_bucket::RateLimiter;
use tokio::task::JoinSet;

use super::{
    ByteStream, Capabilities, MissedWrite, ObjectMeta, ObjectWriter, PutOptions, Storage, StorageError, ThawOptions,
    ThawState,
};
use crate::types::ObjectKey;

/// Below this many bytes a second, tenths of a second are too short to be counted in whole bytes.
const SLOW: u64 = 1000;

/// So many bytes a second, which all that have a clone of it share. Who comes first is served first, in turns of a tenth of
/// a second; what is not used is saved up for a quarter of a second, and no longer.
#[derive(Clone)]
pub struct Bandwidth {
    bytes: u64,
    limiter: Arc<RateLimiter>,
}

impl Bandwidth {
    /// Allows so many bytes a second, within a percent; `None` for 0, with which nothing would ever end.
    ///
    /// Below 1000 bytes a second turns are of a second.
    pub fn per_second(bytes: u64) -> Option<Self> {
        if bytes == 0 {
            return None;
        }
        let (interval, refill) =
            if bytes < SLOW { (Duration::from_secs(1), bytes) } else { (Duration::from_millis(100), bytes / 10) };
        let most = refill.max(bytes / 4);
        let limiter = RateLimiter::builder()
            .interval(interval)
            .refill(in_memory(refill))
            .max(in_memory(most))
            .initial(in_memory(most))
            .fair(true)
            .build();
        Some(Self { bytes, limiter: Arc::new(limiter) })
    }

    /// Returns how many bytes a second are allowed.
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes
    }

    /// Waits until so many bytes are allowed. What a caller that gives up had been allowed by then is lost or handed back,
    /// and holds nobody up.
    async fn take(&self, bytes: usize) {
        if self.limiter.try_acquire(bytes) {
            return;
        }
        // One of those who wait keeps the time for all. In a task of its own it does so also while nobody polls its caller.
        let limiter = Arc::clone(&self.limiter);
        let mut turns = JoinSet::new();
        turns.spawn(async move {
            let mut left = bytes;
            // In slices, so that a small object (a lease, say) gets its turn between those of large ones.
            while left > 0 {
                let slice = left.min(limiter.refill());
                limiter.acquire(slice).await;
                left -= slice;
            }
        });
        turns.join_next().await;
    }
}

impl fmt::Debug for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bandwidth").field("bytes_per_second", &self.bytes).finish_non_exhaustive()
    }
}

fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// A place that is read and written by a [`Bandwidth`].
///
/// Counted are the bytes of objects, in both directions together: those of `put` and `create` before they are handed to the
/// place, those of `get` before they are handed to the reader. It holds on average: what a place reads ahead, or gathers into
/// parts of an upload, goes over the network as fast as it can. Requests without such bytes (`head`, `list`, `delete`...) wait
/// for nothing.
#[derive(Debug, Clone)]
pub struct LimitedStorage {
    inner: Arc<dyn Storage>,
    bandwidth: Bandwidth,
}

impl LimitedStorage {
    /// Stands before `inner`. Of several places behind one [`ReplicatedStorage`](super::ReplicatedStorage) each has its own
    /// wrapper, with clones of one bandwidth: then each copy counts. What waits there counts as time that a secondary took: a
    /// bandwidth so low that one piece takes longer than [`with_patience`](super::ReplicatedStorage::with_patience) has it left behind.
    pub fn new(inner: Arc<dyn Storage>, bandwidth: Bandwidth) -> Self {
        Self { inner, bandwidth }
    }
}

#[async_trait]
impl Storage for LimitedStorage {
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
        let inner = self.inner.put(key, options).await?;
        Ok(Box::new(LimitedWriter { inner, bandwidth: self.bandwidth.clone() }))
    }

    async fn create(&self, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
        self.bandwidth.take(data.len()).await;
        self.inner.create(key, data).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        let stream = self.inner.get(key, range).await?;
        let bandwidth = self.bandwidth.clone();
        let limited = stream.then(move |chunk| {
            let bandwidth = bandwidth.clone();
            async move {
                if let Ok(chunk) = &chunk {
                    bandwidth.take(chunk.len()).await;
                }
                chunk
            }
        });
        Ok(limited.boxed())
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError> {
        self.inner.head(key).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.inner.delete(key).await
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
struct LimitedWriter {
    inner: Box<dyn ObjectWriter>,
    bandwidth: Bandwidth,
}

#[async_trait]
impl ObjectWriter for LimitedWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError> {
        self.bandwidth.take(data.len()).await;
        self.inner.write(data).await
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta, StorageError> {
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::Mutex;

    use futures::stream::{self, TryStreamExt as _};
    use futures::{FutureExt as _, join};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::storage::ObjectStorage;

    const RATE: usize = 1_000_000;

    fn bandwidth() -> Bandwidth {
        Bandwidth::per_second(RATE as u64).unwrap()
    }

    fn memory() -> Arc<dyn Storage> {
        Arc::new(ObjectStorage::memory())
    }

    fn key(text: &str) -> ObjectKey {
        ObjectKey::new(text).unwrap()
    }

    async fn write(storage: &dyn Storage, name: &str, pieces: usize, length: usize) {
        let mut writer = storage.put(&key(name), &PutOptions::default()).await.unwrap();
        for _ in 0..pieces {
            writer.write(Bytes::from(vec![7; length])).await.unwrap();
        }
        writer.finish().await.unwrap();
    }

    async fn read(storage: &dyn Storage, name: &str) -> usize {
        let stream = storage.get(&key(name), None).await.unwrap();
        stream.try_fold(0, |sum, chunk| async move { Ok(sum + chunk.len()) }).await.unwrap()
    }

    async fn seconds<T>(work: impl Future<Output = T>) -> f64 {
        let start = Instant::now();
        work.await;
        start.elapsed().as_secs_f64()
    }

    /// A quarter of a second may have been saved up, and the timer counts whole milliseconds.
    fn assert_near(found: f64, expected: f64) {
        assert!((expected - 0.26..expected * 1.03).contains(&found), "{found} s, expected {expected} s");
    }

    #[tokio::test(start_paused = true)]
    async fn reads_and_writes_together_keep_to_the_rate() {
        let inner = memory();
        write(&*inner, "old", 10, RATE).await;
        let limited = LimitedStorage::new(inner, bandwidth());
        let both = async { join!(write(&limited, "new", 1000, RATE / 100), read(&limited, "old")) };
        assert_near(seconds(both).await, 20.0);
        assert_near(seconds(read(&limited, "new")).await, 10.0);
        assert_eq!(read(&limited, "new").await, 10 * RATE);
    }

    #[tokio::test(start_paused = true)]
    async fn storages_share_a_bandwidth_in_turns() {
        let shared = bandwidth();
        let [one, two] = [(); 2].map(|()| LimitedStorage::new(memory(), shared.clone()));
        let large = seconds(write(&one, "large", 2, 5 * RATE));
        let small = seconds(write(&two, "small", 1, RATE / 20));
        let (large, small) = join!(large, small);
        assert_near(large, 10.05);
        assert!(small < 1.0, "{small} s");
        let (one, two) = join!(seconds(write(&one, "a", 10, RATE)), seconds(write(&two, "a", 10, RATE)));
        assert_near(one.max(two), 20.0);
        assert!((one - two).abs() < 1.1, "{one} s and {two} s");
    }

    #[tokio::test(start_paused = true)]
    async fn two_limits_can_stand_one_before_the_other() {
        let wide = LimitedStorage::new(memory(), Bandwidth::per_second(10 * RATE as u64).unwrap());
        let both = LimitedStorage::new(Arc::new(wide), bandwidth());
        let time = seconds(write(&both, "a", 100, RATE / 10)).await;
        assert!((9.7..12.0).contains(&time), "{time} s");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_larger_than_a_second_holds_passes() {
        let limited = LimitedStorage::new(memory(), bandwidth());
        assert_near(seconds(write(&limited, "put", 1, 7 * RATE)).await, 7.0);
        let created = key("created");
        assert_near(seconds(limited.create(&created, Bytes::from(vec![7; 3 * RATE]))).await, 3.0);
        assert_eq!((read(&limited, "put").await, read(&limited, "created").await), (7 * RATE, 3 * RATE));
    }

    #[tokio::test(start_paused = true)]
    async fn what_carries_no_bytes_of_objects_waits_for_nothing() {
        let inner = memory();
        for n in 0..100 {
            write(&*inner, &format!("many/{n}"), 1, 1000).await;
        }
        let limited = LimitedStorage::new(inner, Bandwidth::per_second(1).unwrap());
        let start = Instant::now();
        let listed: Vec<_> = limited.list("many").try_collect().await.unwrap();
        for meta in &listed {
            assert_eq!(limited.head(&meta.key).await.unwrap().size, 1000);
            limited.delete(&meta.key).await.unwrap();
        }
        assert_eq!(listed.len(), 100);
        assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_holds_nobody_up() {
        let bandwidth = bandwidth();
        timeout(Duration::from_secs(1), bandwidth.take(1000 * RATE)).await.unwrap_err();
        assert_near(seconds(bandwidth.take(RATE)).await, 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_without_being_polled_holds_nobody_up() {
        let bandwidth = bandwidth();
        let mut idle = Box::pin(bandwidth.take(2 * RATE));
        assert!((&mut idle).now_or_never().is_none());
        timeout(Duration::from_secs(10), bandwidth.take(RATE)).await.unwrap();
        idle.await;
    }

    #[tokio::test(start_paused = true)]
    async fn any_rate_but_none_at_all_will_do() {
        assert!(Bandwidth::per_second(0).is_none());
        for (rate, bytes, expected) in
            [(1, 5, 4.0), (999, 2997, 2.0), (1009, 10_090, 10.0), (u64::from(u32::MAX), 100, 0.0), (u64::MAX, 100, 0.0)]
        {
            let bandwidth = Bandwidth::per_second(rate).unwrap();
            assert_eq!(bandwidth.bytes_per_second(), rate);
            let time = seconds(bandwidth.take(bytes)).await;
            assert!((time - expected).abs() < 0.3, "{rate}: {time} s");
        }
        assert_eq!(format!("{:?}", bandwidth()), "Bandwidth { bytes_per_second: 1000000, .. }");
    }

    /// Writes down which of its methods is called.
    #[derive(Debug, Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<&'static str>>>);

    impl Recorder {
        fn called(&self, method: &'static str) {
            self.0.lock().unwrap().push(method);
        }

        fn meta(&self, method: &'static str) -> Result<ObjectMeta, StorageError> {
            self.called(method);
            Ok(ObjectMeta::new(key("a"), 0, DateTime::UNIX_EPOCH))
        }
    }

    #[async_trait]
    impl Storage for Recorder {
        fn location(&self) -> String {
            self.called("location");
            "recorder:".to_owned()
        }

        fn capabilities(&self) -> Capabilities {
            self.called("capabilities");
            Capabilities::new(true, true)
        }

        async fn prepare(&self) -> Result<(), StorageError> {
            self.called("prepare");
            Ok(())
        }

        async fn put(&self, _: &ObjectKey, _: &PutOptions) -> Result<Box<dyn ObjectWriter>, StorageError> {
            self.called("put");
            Ok(Box::new(self.clone()))
        }

        async fn create(&self, _: &ObjectKey, _: Bytes) -> Result<ObjectMeta, StorageError> {
            self.meta("create")
        }

        async fn get(&self, _: &ObjectKey, _: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
            self.called("get");
            Ok(stream::empty().boxed())
        }

        async fn head(&self, _: &ObjectKey) -> Result<ObjectMeta, StorageError> {
            self.meta("head")
        }

        fn list(&self, _: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
            self.called("list");
            stream::empty().boxed()
        }

        async fn delete(&self, _: &ObjectKey) -> Result<(), StorageError> {
            self.called("delete");
            Ok(())
        }

        async fn thaw(&self, _: &ObjectKey, _: &ThawOptions) -> Result<ThawState, StorageError> {
            self.called("thaw");
            Ok(ThawState::Ongoing)
        }

        async fn sweep(&self, _: DateTime<Utc>) -> Result<u64, StorageError> {
            self.called("sweep");
            Ok(7)
        }

        fn take_missed_writes(&self) -> Vec<MissedWrite> {
            self.called("take_missed_writes");
            vec![MissedWrite { location: String::new(), key: key("a"), error: String::new() }]
        }
    }

    #[async_trait]
    impl ObjectWriter for Recorder {
        async fn write(&mut self, _: Bytes) -> Result<(), StorageError> {
            self.called("write");
            Ok(())
        }

        async fn finish(self: Box<Self>) -> Result<ObjectMeta, StorageError> {
            self.meta("finish")
        }

        async fn abort(self: Box<Self>) -> Result<(), StorageError> {
            self.called("abort");
            Ok(())
        }
    }

    #[tokio::test]
    async fn every_call_is_passed_on() {
        let recorder = Recorder::default();
        let storage = LimitedStorage::new(Arc::new(recorder.clone()), bandwidth());
        assert_eq!(storage.location(), "recorder:");
        assert_eq!(storage.capabilities(), Capabilities::new(true, true));
        storage.prepare().await.unwrap();
        write(&storage, "a", 1, 1).await;
        storage.put(&key("a"), &PutOptions::default()).await.unwrap().abort().await.unwrap();
        storage.create(&key("a"), Bytes::new()).await.unwrap();
        assert_eq!(read(&storage, "a").await, 0);
        storage.head(&key("a")).await.unwrap();
        assert_eq!(storage.list("").count().await, 0);
        storage.delete(&key("a")).await.unwrap();
        assert_eq!(storage.thaw(&key("a"), &ThawOptions::default()).await.unwrap(), ThawState::Ongoing);
        assert_eq!(storage.sweep(DateTime::UNIX_EPOCH).await.unwrap(), 7);
        assert_eq!(storage.take_missed_writes().len(), 1);
        let called = recorder.0.lock().unwrap().join(" ");
        let expected = "location capabilities prepare put write finish put abort create get head list delete thaw sweep take_missed_writes";
        assert_eq!(called, expected);
    }
}
