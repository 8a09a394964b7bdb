//! A place with a spool at hand, for the few small objects that must be readable and writable while the place is not.
//!
//! # What happens when
//! | objects | read | written |
//! |---|---|---|
//! | mirrored | from the place; from the spool where the place does not give them | at the place alone; [`SpooledStorage::refresh`] copies them into the spool |
//! | spooled | from the place; from the spool where the place does not give them; lists are the union | `create` into the spool, and then at the place. While that fails the object waits in the spool, for the next `create` or for [`SpooledStorage::deliver`] |
//! | all others | as the place does | as the place does |
//!
//! A place that has failed one of these calls counts as away for three times as long as it may take: nobody waits for it at each of many small objects.

mod deliver;
mod gather;
mod mirror;

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

pub use self::deliver::Delivery;

use super::{
    ByteStream, Capabilities, MissedWrite, ObjectMeta, ObjectWriter, PutOptions, Storage, StorageError,
    StorageExt as _, ThawOptions, ThawState,
};
use crate::types::ObjectKey;

/// How long the place may take for a call that the spool can answer as well.
const PATIENCE: Duration = Duration::from_secs(10);

/// For how many times its patience a place that has failed is left alone.
const AWAY: u32 = 3;

/// The largest object that is mirrored or spooled, in bytes.
const OBJECT_LIMIT: usize = 32 << 20;

/// A place, and a spool for some of what lies there.
#[derive(Debug, Clone)]
pub struct SpooledStorage {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    place: Arc<dyn Storage>,
    spool: Arc<dyn Storage>,
    mirrored: Vec<String>,
    spooled: Vec<String>,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Until when the place is not asked.
    away_until: Option<Instant>,
    /// What this process has put into the spool and not brought to the place.
    waiting: BTreeSet<ObjectKey>,
}

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Mirrored,
    Spooled,
    Passed,
}

impl SpooledStorage {
    /// Takes a place, and a spool that is nearer: a folder of this host, say. What lies in the folders `mirrored`, or is called like
    /// one of them, is mirrored; what lies in the folders `spooled` is spooled.
    pub fn new(place: Arc<dyn Storage>, spool: Arc<dyn Storage>, mirrored: &[&str], spooled: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (mirrored, spooled, state) = (owned(mirrored), owned(spooled), Mutex::default());
        Self { shared: Arc::new(Shared { place, spool, mirrored, spooled, patience: PATIENCE, state }) }
    }

    /// Sets how long the place may take for a call that the spool can answer as well: 10 seconds by default. For three
    /// times as long a place that has failed is left alone.
    pub fn with_patience(self, patience: Duration) -> Self {
        let Shared { place, spool, mirrored, spooled, .. } = &*self.shared;
        let (place, spool, mirrored, spooled) = (place.clone(), spool.clone(), mirrored.clone(), spooled.clone());
        Self { shared: Arc::new(Shared { place, spool, mirrored, spooled, patience, state: Mutex::default() }) }
    }

    /// Describes the spool for a person.
    pub fn spool_location(&self) -> String {
        self.shared.spool.location()
    }

    /// Returns whether the place has failed of late, so that the spool stands in for it.
    pub fn is_away(&self) -> bool {
        self.shared.is_away()
    }

    /// Brings what waits in the spool to the place, that of earlier processes too, and clears out of the spool what has been at the
    /// place for long.
    ///
    /// # Errors
    /// Of the place or the spool. What was delivered until then stays delivered.
    pub async fn deliver(&self) -> Result<Delivery, StorageError> {
        deliver::deliver(&self.shared).await
    }

    /// Does both [`SpooledStorage::refresh`] and [`SpooledStorage::deliver`].
    ///
    /// # Errors
    /// Of the place or the spool.
    pub async fn synchronise(&self) -> Result<Delivery, StorageError> {
        self.refresh().await?;
        self.deliver().await
    }

    /// Brings the mirrored objects in the spool up to date, and makes the spool if it is not there.
    ///
    /// # Errors
    /// Of the place or the spool; what was mirrored before may then be older than it is at the place.
    pub async fn refresh(&self) -> Result<(), StorageError> {
        mirror::refresh(&self.shared).await
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_away(&self) -> bool {
        self.state().away_until.is_some_and(|until| Instant::now() < until)
    }

    fn treatment(&self, name: &str) -> Treatment {
        let lies_in = |folder: &String| {
            name.strip_prefix(folder.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match () {
            () if self.spooled.iter().any(lies_in) => Treatment::Spooled,
            () if self.mirrored.iter().any(lies_in) => Treatment::Mirrored,
            () => Treatment::Passed,
        }
    }

    /// Asks the place, unless it is away, for no longer than the spool can wait. What the place has no object for is an answer.
    async fn ask<T>(&self, asking: impl Future<Output = Result<T, StorageError>> + Send) -> Result<T, StorageError> {
        let timed_out = || StorageError::TimedOut { location: self.place.location(), timeout: self.patience };
        if self.is_away() {
            return Err(timed_out());
        }
        let answer = tokio::time::timeout(self.patience, asking).await.unwrap_or_else(|_| Err(timed_out()));
        match &answer {
            Ok(_) | Err(StorageError::NotFound { .. } | StorageError::AlreadyExists { .. }) => {}
            Err(error) => {
                let error = crate::causes::chain(error);
                tracing::warn!(place = %self.place.location(), spool = %self.spool.location(), error, "the spool stands in");
                self.state().away_until = Some(Instant::now() + self.patience * AWAY);
            }
        }
        answer
    }

    /// Takes the answer of the place; without one, that of the spool. Where the spool has none either, the place's failure is told.
    async fn either<T>(
        &self,
        at_place: impl Future<Output = Result<T, StorageError>> + Send,
        in_spool: impl Future<Output = Result<T, StorageError>> + Send,
    ) -> Result<T, StorageError> {
        match self.ask(at_place).await {
            Ok(answer) => Ok(answer),
            Err(error) => in_spool.await.map_err(|_| error),
        }
    }
}

#[async_trait]
impl Storage for SpooledStorage {
    fn location(&self) -> String {
        self.shared.place.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.shared.place.capabilities()
    }

    async fn prepare(&self) -> Result<(), StorageError> {
        self.shared.place.prepare().await
    }

    async fn put(&self, key: &ObjectKey, options: &PutOptions) -> Result<Box<dyn ObjectWriter>, StorageError> {
        self.shared.place.put(key, options).await
    }

    async fn create(&self, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
        match self.shared.treatment(key.as_str()) {
            Treatment::Spooled => deliver::create(&self.shared, key, data).await,
            _ => self.shared.place.create(key, data).await,
        }
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        let Shared { place, spool, .. } = &*self.shared;
        if self.shared.treatment(key.as_str()) == Treatment::Passed {
            return place.get(key, range).await;
        }
        // Read whole, so that a connection that breaks in the middle is an answer that the place did not give.
        let whole = self.shared.either(place.read(key, OBJECT_LIMIT), spool.read(key, OBJECT_LIMIT)).await?;
        let part = match range {
            None => whole,
            Some(range) => {
                let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(whole.len());
                whole.slice(usize::try_from(range.start).unwrap_or(usize::MAX).min(end)..end)
            }
        };
        Ok(stream::once(async move { Ok(part) }).boxed())
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError> {
        let Shared { place, spool, .. } = &*self.shared;
        match self.shared.treatment(key.as_str()) {
            Treatment::Passed => place.head(key).await,
            _ => self.shared.either(place.head(key), spool.head(key)).await,
        }
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        let treatment = self.shared.treatment(prefix.trim_end_matches('/'));
        if treatment == Treatment::Passed {
            return self.shared.place.list(prefix);
        }
        let (shared, prefix) = (Arc::clone(&self.shared), prefix.to_owned());
        let listed = async move {
            let metas = gather::list(&shared, treatment, &prefix).await?;
            Ok::<_, StorageError>(stream::iter(metas.into_iter().map(Ok)))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.shared.place.delete(key).await?;
        match self.shared.treatment(key.as_str()) {
            Treatment::Passed => Ok(()),
            _ => gather::unless_missing(self.shared.spool.delete(key).await),
        }
    }

    async fn thaw(&self, key: &ObjectKey, options: &ThawOptions) -> Result<ThawState, StorageError> {
        self.shared.place.thaw(key, options).await
    }

    async fn sweep(&self, older_than: DateTime<Utc>) -> Result<u64, StorageError> {
        self.shared.place.sweep(older_than).await
    }

    fn take_missed_writes(&self) -> Vec<MissedWrite> {
        self.shared.place.take_missed_writes()
    }
}
