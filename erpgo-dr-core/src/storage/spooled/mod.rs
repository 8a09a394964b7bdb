//! A place with a spool at hand, for the few small objects that must be readable and writable while the place is not.
//!
//! # What happens when
//! | objects | read | written |
//! |---|---|---|
//! | mirrored | from the place; from the spool where the place does not give them | at the place alone; [`SpooledStorage::refresh`] copies them into the spool |
//! | spooled | from the place; from the spool where the place does not give them; lists are the union | `create` into the spool, and then at the place. While that fails the object waits in the spool, for the next `create` or for [`SpooledStorage::deliver`] |
//! | all others | as the place does | as the place does |
//!
//! Spooled objects of a folder follow one another by their keys: they reach the place in that order, and none follows one that diverged.
//!
//! A place that has failed one of these calls counts as away for three times as long as it may take: nobody waits for it at each of many small objects.
//! So does one that lacks its landmark, or has another's: see [`SpooledStorage::with_landmark`]. To that one nothing is written at all.

mod deliver;
mod diverged;
mod gather;
mod held;
mod landmark;
mod marks;
mod mirror;

use std::collections::BTreeMap;
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

use self::landmark::Landmark;
use super::{
    ByteStream, Capabilities, MissedWrite, ObjectMeta, ObjectWriter, PutOptions, Storage, StorageError,
    StorageExt as _, ThawOptions, ThawState,
};
use crate::types::ObjectKey;

/// How long the place may take for a call that the spool can answer as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

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
    landmark: Option<Landmark>,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Until when the place is not asked.
    away_until: Option<Instant>,
    /// Whether the place has the landmark; unknown until it was looked for, and again once the place has failed.
    recognised: Option<bool>,
    /// The last object of each folder that this process has put into the spool and not brought to the place.
    last: BTreeMap<String, ObjectKey>,
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
        let shared = Shared { place, spool, mirrored, spooled, landmark: None, patience: PATIENCE, state };
        Self { shared: Arc::new(shared) }
    }

    /// Sets how long the place may take for a call that the spool can answer as well: 10 seconds by default. For three
    /// times as long a place that has failed is left alone.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { shared: Arc::new(Shared { patience, ..self.shared.anew() }) }
    }

    /// Sets the object that the place is known by, one of those that are mirrored. Where the spool has it and the place has not, or
    /// has one of which `is_same(spool's, place's)` does not hold, another place has come into its stead: an empty folder where nothing
    /// is mounted. That one counts as away, and nothing is written to it.
    pub fn with_landmark(self, key: ObjectKey, is_same: fn(&Bytes, &Bytes) -> bool) -> Self {
        Self { shared: Arc::new(Shared { landmark: Some(Landmark { key, is_same }), ..self.shared.anew() }) }
    }

    /// Leaves the place alone for as long as one that has failed.
    #[cfg(feature = "local")]
    pub(crate) fn leave_alone(&self) {
        self.shared.leave_alone();
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
    /// The same, for nobody who has asked anything yet.
    fn anew(&self) -> Self {
        Self {
            place: Arc::clone(&self.place),
            spool: Arc::clone(&self.spool),
            mirrored: self.mirrored.clone(),
            spooled: self.spooled.clone(),
            landmark: self.landmark.clone(),
            patience: self.patience,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_away(&self) -> bool {
        self.state().away_until.is_some_and(|until| Instant::now() < until)
    }

    fn leave_alone(&self) {
        self.state().away_until = Some(Instant::now() + self.patience * AWAY);
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
        let asking = async {
            landmark::recognise(self).await?;
            asking.await
        };
        let answer = tokio::time::timeout(self.patience, asking).await.unwrap_or_else(|_| Err(timed_out()));
        match &answer {
            Ok(_) | Err(StorageError::NotFound { .. } | StorageError::AlreadyExists { .. }) => {}
            Err(error) => {
                let error = crate::causes::chain(error);
                tracing::warn!(place = %self.place.location(), spool = %self.spool.location(), error, "the spool stands in");
                self.leave_alone();
                // Another place stays one; what failed may come back as anything.
                self.state().recognised.take_if(|recognised| *recognised);
            }
        }
        answer
    }

    /// Returns the place for what it alone can do, unless it is known to be another one.
    async fn own_place(&self) -> Result<&dyn Storage, StorageError> {
        if self.is_away() && self.state().recognised.is_none() {
            return Ok(self.place.as_ref());
        }
        match tokio::time::timeout(self.patience, landmark::recognise(self)).await {
            Ok(Err(error @ StorageError::FolderReplaced { .. })) => Err(error),
            // The place says itself what is wrong with it.
            _ => Ok(self.place.as_ref()),
        }
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
        self.shared.own_place().await?.put(key, options).await
    }

    async fn create(&self, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
        match self.shared.treatment(key.as_str()) {
            Treatment::Spooled => deliver::create(&self.shared, key, data).await,
            _ => self.shared.own_place().await?.create(key, data).await,
        }
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        let Shared { place, spool, .. } = &*self.shared;
        if self.shared.treatment(key.as_str()) == Treatment::Passed {
            return self.shared.own_place().await?.get(key, range).await;
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
            Treatment::Passed => self.shared.own_place().await?.head(key).await,
            _ => self.shared.either(place.head(key), spool.head(key)).await,
        }
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        let treatment = self.shared.treatment(prefix.trim_end_matches('/'));
        let (shared, prefix) = (Arc::clone(&self.shared), prefix.to_owned());
        if treatment == Treatment::Passed {
            let listed = async move { Ok::<_, StorageError>(shared.own_place().await?.list(&prefix)) };
            return stream::once(listed).try_flatten().boxed();
        }
        let listed = async move {
            let metas = gather::list(&shared, treatment, &prefix).await?;
            Ok::<_, StorageError>(stream::iter(metas.into_iter().map(Ok)))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.shared.own_place().await?.delete(key).await?;
        match self.shared.treatment(key.as_str()) {
            Treatment::Passed => Ok(()),
            _ => gather::unless_missing(self.shared.spool.delete(key).await),
        }
    }

    async fn thaw(&self, key: &ObjectKey, options: &ThawOptions) -> Result<ThawState, StorageError> {
        self.shared.own_place().await?.thaw(key, options).await
    }

    async fn sweep(&self, older_than: DateTime<Utc>) -> Result<u64, StorageError> {
        self.shared.own_place().await?.sweep(older_than).await
    }

    fn take_missed_writes(&self) -> Vec<MissedWrite> {
        self.shared.place.take_missed_writes()
    }
}
