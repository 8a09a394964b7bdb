//! A repository in memory, a database that is a script, and a storage place that dies on command.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use erpgo_dr_core::clock::ManualClock;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::crypto::keys::{Identities, Recipient, SlotName, Unlocker, Wrapper, generate_identity};
use erpgo_dr_core::ops::{self, BackupOptions, BackupReport};
use erpgo_dr_core::postgres::{
    BackupContents, BackupSink, BackupSource, CheckDepth, PostgresError, RestoreOutcome, Scope, ServerInfo, StreamKind,
};
use erpgo_dr_core::progress::{NoProgress, Progress};
use erpgo_dr_core::repository::{Environment, InitOptions};
use erpgo_dr_core::storage::{
    ByteStream, Capabilities, ObjectMeta, ObjectWriter, PutOptions, StorageError, ThawOptions, ThawState,
};
use erpgo_dr_core::types::ObjectKey;
use erpgo_dr_core::{DatabaseDriver, Repository, Storage};
use futures::stream::BoxStream;

pub(crate) const NO_PROGRESS: &dyn Progress = &NoProgress;

/// A repository with one X25519 slot, and what opens it.
pub(crate) struct Fixture {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) environment: Environment,
    pub(crate) unlocker: Unlocker,
    pub(crate) recipient: Recipient,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::over(memory()).await
    }

    /// Makes a repository with small parts at an empty place.
    pub(crate) async fn over(storage: Arc<dyn Storage>) -> Self {
        let identity = generate_identity();
        let recipient = identity.recipient.clone();
        let identities = Identities::parse(identity.secret.into(), None).await.unwrap();
        let unlocker = Unlocker::Identities(identities);
        let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let environment = Environment::new(ComputePool::new(2).unwrap(), clock.clone());
        let options = InitOptions::default().with_part_bytes(100_000);
        let slots = [(slot("owner"), Wrapper::Recipients(vec![recipient.clone()]))];
        Repository::init(storage.clone(), environment.clone(), &options, &slots).await.unwrap();
        Self { storage, clock, environment, unlocker, recipient }
    }

    /// Opens the repository as a new process would.
    pub(crate) async fn open(&self) -> Repository {
        self.open_at(self.storage.clone()).await.unwrap()
    }

    pub(crate) async fn open_at(&self, storage: Arc<dyn Storage>) -> ops::Result<Repository> {
        let mut repository = Repository::open(storage, self.environment.clone()).await?;
        repository.unlock(&self.unlocker).await?;
        Ok(repository)
    }

    /// Takes a backup of `bytes` bytes, an hour after the last one.
    pub(crate) async fn backup(&self, bytes: usize) -> BackupReport {
        self.clock.advance(TimeDelta::hours(1));
        let repository = self.open().await;
        ops::backup(&repository, &Script::of(bytes), &BackupOptions::default(), NO_PROGRESS).await.unwrap()
    }

    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        use futures::TryStreamExt as _;
        let mut keys: Vec<String> =
            self.storage.list(prefix).map_ok(|m| m.key.to_string()).try_collect().await.unwrap();
        keys.sort();
        keys
    }
}

pub(crate) fn slot(name: &str) -> SlotName {
    name.parse().unwrap()
}

pub(crate) fn memory() -> Arc<dyn Storage> {
    Arc::new(erpgo_dr_core::storage::ObjectStorage::memory())
}

/// A database that gives `bytes` reproducible bytes, and may fail after `fail_after` of them.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) bytes: usize,
    pub(crate) fail_after: Option<usize>,
    /// Whether it never comes to an end.
    pub(crate) hangs: bool,
}

impl Script {
    pub(crate) fn of(bytes: usize) -> Self {
        Self { bytes, fail_after: None, hangs: false }
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        (0..self.bytes).map(|n| ((n * n) >> 7) as u8 ^ n as u8).collect()
    }
}

#[async_trait]
impl DatabaseDriver for Script {
    fn kind(&self) -> &'static str {
        "logical"
    }

    async fn probe(&self) -> Result<ServerInfo, PostgresError> {
        Ok(ServerInfo::new(170_000, "17.0", Some(1), false))
    }

    async fn back_up(&self, sink: &mut dyn BackupSink, _: &dyn Progress) -> Result<BackupContents, PostgresError> {
        let kind = StreamKind::Database { database: "erp".to_owned() };
        sink.begin(&kind).await.map_err(PostgresError::Sink)?;
        for chunk in self.content().chunks(30_000) {
            sink.write(Bytes::copy_from_slice(chunk)).await.map_err(PostgresError::Sink)?;
        }
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if self.fail_after.is_some() {
            return Err(PostgresError::MalformedArchive("the script says so".to_owned()));
        }
        sink.end().await.map_err(PostgresError::Sink)?;
        Ok(BackupContents::new(self.probe().await?, Scope::Full, 17, Vec::new()))
    }

    async fn restore(
        &self,
        source: &dyn BackupSource,
        _: &BackupContents,
        _: &dyn Progress,
    ) -> Result<RestoreOutcome, PostgresError> {
        let read = read(source).await?;
        assert!(read == self.content(), "what comes out is what went in");
        Ok(RestoreOutcome::new(vec!["erp".to_owned()], read.len() as u64, Vec::new()))
    }

    async fn check(
        &self,
        source: &dyn BackupSource,
        _: &BackupContents,
        depth: CheckDepth,
    ) -> Result<(), PostgresError> {
        if depth == CheckDepth::Contents && read(source).await? != self.content() {
            return Err(PostgresError::ContentsDiffer("the script says so".to_owned()));
        }
        Ok(())
    }
}

async fn read(source: &dyn BackupSource) -> Result<Vec<u8>, PostgresError> {
    use futures::TryStreamExt as _;
    let mut stream = source.open(0, None).await.map_err(PostgresError::Source)?;
    let mut whole = Vec::new();
    while let Some(chunk) = stream.try_next().await.map_err(PostgresError::Source)? {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

/// A storage place whose host loses power after a number of changes: from then on nothing gets through.
#[derive(Debug)]
pub(crate) struct DyingStorage {
    inner: Arc<dyn Storage>,
    left: Arc<AtomicI64>,
}

impl DyingStorage {
    pub(crate) fn after(inner: Arc<dyn Storage>, changes: i64) -> (Arc<dyn Storage>, Arc<AtomicI64>) {
        let left = Arc::new(AtomicI64::new(changes));
        (Arc::new(Self { inner, left: left.clone() }), left)
    }

    fn change(&self) -> Result<(), StorageError> {
        spend(&self.left)
    }

    fn alive(&self) -> Result<(), StorageError> {
        if self.left.load(Ordering::SeqCst) < 0 { Err(dead()) } else { Ok(()) }
    }
}

fn spend(left: &AtomicI64) -> Result<(), StorageError> {
    if left.fetch_sub(1, Ordering::SeqCst) <= 0 {
        left.store(-1, Ordering::SeqCst);
        return Err(dead());
    }
    Ok(())
}

fn dead() -> StorageError {
    StorageError::Unavailable {
        location: "dying".to_owned(),
        action: "use",
        subject: "anything".to_owned(),
        source: "the power is gone".into(),
    }
}

#[derive(Debug)]
struct DyingWriter {
    inner: Box<dyn ObjectWriter>,
    left: Arc<AtomicI64>,
}

#[async_trait]
impl ObjectWriter for DyingWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError> {
        self.inner.write(data).await
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta, StorageError> {
        spend(&self.left)?;
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        Err(dead())
    }
}

#[async_trait]
impl Storage for DyingStorage {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn prepare(&self) -> Result<(), StorageError> {
        self.alive()?;
        self.inner.prepare().await
    }

    async fn put(&self, key: &ObjectKey, options: &PutOptions) -> Result<Box<dyn ObjectWriter>, StorageError> {
        self.alive()?;
        Ok(Box::new(DyingWriter { inner: self.inner.put(key, options).await?, left: self.left.clone() }))
    }

    async fn create(&self, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
        self.change()?;
        self.inner.create(key, data).await
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        self.alive()?;
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError> {
        self.alive()?;
        self.inner.head(key).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.change()?;
        self.inner.delete(key).await
    }

    async fn thaw(&self, key: &ObjectKey, options: &ThawOptions) -> Result<ThawState, StorageError> {
        self.inner.thaw(key, options).await
    }
}
