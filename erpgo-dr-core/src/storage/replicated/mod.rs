//! Several places that hold the same objects.
//!
//! # What happens when
//! | call | order | when a place fails |
//! |---|---|---|
//! | `prepare` | the primary, then the others at once | the primary's answer is the answer; what the others lack shows at each write |
//! | `put` | all places at once; at `finish` the primary, then the others | by [`WritePolicy`]; a place that failed gets no more of that object |
//! | `create` | the primary, which decides the race; then the others at once, overwriting | the primary's answer is the answer; the others by the policy |
//! | `get` | primary, then secondaries in order | the next place, also in the middle, at the byte that is missing |
//! | `head` | primary | the next place, unless the primary says that there is no such object |
//! | `list` | primary | the union of the secondaries, if the primary cannot be reached at the start; in the middle an error. After a list without the primary `delete` is refused until the primary has answered a list of that folder: what secondaries do not know of may be taken for garbage |
//! | `delete` | primary, then the others at once | nothing is deleted if the primary fails; others are recorded |
//! | `thaw`, `sweep` | all places | see [`Storage::thaw`] below |
//!
//! A write that succeeded without one of the places is recorded, and [`Storage::take_missed_writes`] tells. Only
//! [`ReplicatedStorage::repair`] brings a place up to date again.

mod hash;
mod reader;
mod repair;
mod writer;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::join_all;
use futures::stream::BoxStream;

pub use self::repair::{RepairAction, RepairCopy, RepairFailure, RepairJudge, RepairOptions, RepairPlan, RepairReport};

use self::writer::ReplicatedWriter;
use super::{
    ByteStream, Capabilities, MissedWrite, ObjectMeta, ObjectWriter, PutOptions, Storage, StorageError,
    StorageExt as _, ThawOptions, ThawState,
};
use crate::types::ObjectKey;

/// How long a secondary may take for one call before it is left behind.
const PATIENCE: Duration = Duration::from_secs(300);

/// When a write has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WritePolicy {
    /// When the primary has the object. What secondaries miss is recorded.
    #[default]
    Primary,
    /// When every place has it; otherwise [`StorageError::Degraded`], and the object stays where it was written.
    All,
}

/// A primary and its secondaries, as one place.
#[derive(Debug, Clone)]
pub struct ReplicatedStorage {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The primary, then the secondaries.
    places: Vec<Arc<dyn Storage>>,
    policy: WritePolicy,
    patience: Duration,
    missed: Mutex<Vec<MissedWrite>>,
    /// The folders of which the last list was answered by secondaries: what they have not seen, a caller may take for garbage.
    listed_without_primary: Mutex<BTreeSet<String>>,
}

impl ReplicatedStorage {
    /// Takes `primary` and `secondaries`, the nearest first, in which order they are read.
    pub fn new(primary: Arc<dyn Storage>, secondaries: Vec<Arc<dyn Storage>>, policy: WritePolicy) -> Self {
        let places = std::iter::once(primary).chain(secondaries).collect();
        let shared = Shared {
            places,
            policy,
            patience: PATIENCE,
            missed: Mutex::default(),
            listed_without_primary: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Sets how long a secondary may take for one call before it is left behind: 5 minutes by default.
    pub fn with_patience(self, patience: Duration) -> Self {
        let shared = Shared {
            places: self.shared.places.clone(),
            policy: self.shared.policy,
            patience,
            missed: Mutex::default(),
            listed_without_primary: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the places, the primary first.
    pub fn places(&self) -> &[Arc<dyn Storage>] {
        &self.shared.places
    }

    /// Finds what differs between the places, without changing anything.
    ///
    /// A place that cannot be listed is left out and named in the plan. Holds the key and size of every object in memory,
    /// about 100 bytes each.
    ///
    /// # Errors
    /// [`StorageError`] of the primary if no place can be listed.
    pub async fn plan_repair(
        &self,
        options: &RepairOptions,
        judge: &dyn RepairJudge,
    ) -> Result<RepairPlan, StorageError> {
        repair::plan(&self.shared.places, options, judge).await
    }

    /// Does what a plan says. An object that cannot be copied is reported, and the others go on.
    pub async fn repair(&self, plan: &RepairPlan) -> RepairReport {
        repair::carry_out(&self.shared.places, plan).await
    }
}

impl Shared {
    fn primary(&self) -> &Arc<dyn Storage> {
        &self.places[0]
    }

    fn location(&self) -> String {
        self.places.iter().map(|place| place.location()).collect::<Vec<_>>().join(" + ")
    }

    fn record(&self, missed: impl IntoIterator<Item = MissedWrite>) {
        let mut known = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        for write in missed {
            tracing::warn!(location = %write.location, key = %write.key, error = %write.error, "a place missed a write");
            known.push(write);
        }
    }

    fn lists(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.listed_without_primary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed_without_primary(&self, prefix: &str) {
        self.lists().insert(prefix.trim_end_matches('/').to_owned());
    }

    /// Forgets that secondaries answered a list of this folder, or of one in it: whoever lists it anew now sees all.
    fn listed_with_primary(&self, prefix: &str) {
        let folder = prefix.trim_end_matches('/');
        let is_inside = |listed: &str| {
            folder.is_empty()
                || listed.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.lists().retain(|listed| !is_inside(listed));
    }

    /// Refuses a delete while what it was decided on may be a list that was not whole.
    fn check_lists(&self, key: &ObjectKey) -> Result<(), StorageError> {
        let Some(folder) = self.lists().first().cloned() else { return Ok(()) };
        let folder = if folder.is_empty() { "everything".to_owned() } else { folder };
        Err(StorageError::Failed {
            location: self.location(),
            action: "delete",
            subject: key.to_string(),
            source: format!(
                "a list of {folder} was answered by secondaries alone, which may not know of all that is needed"
            )
            .into(),
        })
    }

    /// Decides over a write that the primary has: records what others missed, or fails.
    fn settle<T>(&self, key: &ObjectKey, result: T, missed: Vec<MissedWrite>) -> Result<T, StorageError> {
        if missed.is_empty() {
            return Ok(result);
        }
        if self.policy == WritePolicy::All {
            return Err(self.degraded(key, &missed));
        }
        self.record(missed);
        Ok(result)
    }

    fn degraded(&self, key: &ObjectKey, missed: &[MissedWrite]) -> StorageError {
        let detail = missed.iter().map(|write| format!("{}: {}", write.location, write.error)).collect::<Vec<_>>();
        StorageError::Degraded {
            durable: self.places.len() - missed.len(),
            places: self.places.len(),
            subject: key.to_string(),
            detail: detail.join("; "),
        }
    }

    /// Does the same in each secondary at once, and tells which failed.
    async fn in_secondaries<'a, F>(
        &'a self,
        key: &ObjectKey,
        action: impl Fn(&'a Arc<dyn Storage>) -> F,
    ) -> Vec<MissedWrite>
    where
        F: Future<Output = Result<(), StorageError>>,
    {
        let outcomes = self.places[1..].iter().map(|place| {
            let work = patiently(self.patience, place, action(place));
            async move { (place, work.await) }
        });
        let outcomes = join_all(outcomes).await.into_iter();
        outcomes.filter_map(|(place, outcome)| Some(missed(place, key, &outcome.err()?))).collect()
    }
}

fn missed(place: &Arc<dyn Storage>, key: &ObjectKey, error: &StorageError) -> MissedWrite {
    MissedWrite { location: place.location(), key: key.clone(), error: full_text(error) }
}

/// Returns the text of an error and of its causes.
fn full_text(error: &StorageError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

async fn patiently<T>(
    patience: Duration,
    place: &Arc<dyn Storage>,
    work: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    match tokio::time::timeout(patience, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(StorageError::TimedOut { location: place.location(), timeout: patience }),
    }
}

#[async_trait]
impl Storage for ReplicatedStorage {
    fn location(&self) -> String {
        self.shared.location()
    }

    /// What any of the places can do.
    fn capabilities(&self) -> Capabilities {
        let all = self.shared.places.iter().map(|place| place.capabilities());
        all.fold(Capabilities::PLAIN, |sum, one| Capabilities {
            storage_classes: sum.storage_classes | one.storage_classes,
            thaw: sum.thaw | one.thaw,
        })
    }

    async fn prepare(&self) -> Result<(), StorageError> {
        self.shared.primary().prepare().await?;
        let prepared = self.shared.places[1..].iter().map(|place| async move {
            // Each write to it will fail too, and be told.
            if let Err(error) = patiently(self.shared.patience, place, place.prepare()).await {
                tracing::warn!(location = %place.location(), %error, "a place cannot be prepared");
            }
        });
        join_all(prepared).await;
        Ok(())
    }

    async fn put(&self, key: &ObjectKey, options: &PutOptions) -> Result<Box<dyn ObjectWriter>, StorageError> {
        Ok(Box::new(ReplicatedWriter::open(Arc::clone(&self.shared), key.clone(), options).await?))
    }

    async fn create(&self, key: &ObjectKey, data: Bytes) -> Result<ObjectMeta, StorageError> {
        let meta = self.shared.primary().create(key, data.clone()).await?;
        let options = PutOptions::default();
        let options = &options;
        let missed = self.shared.in_secondaries(key, |place| {
            let data = data.clone();
            async move { place.write(key, data, options).await.map(drop) }
        });
        let missed = missed.await;
        self.shared.settle(key, meta, missed)
    }

    async fn get(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
        reader::open(&self.shared, key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StorageError> {
        let mut first = None;
        for place in &self.shared.places {
            match place.head(key).await {
                // What the primary does not have, does not exist.
                Err(error @ StorageError::NotFound { .. }) if first.is_none() => return Err(error),
                Err(error) => first = first.or(Some(error)),
                Ok(meta) => return Ok(meta),
            }
        }
        Err(first.unwrap_or_else(|| unreachable_place(&self.shared)))
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta, StorageError>> {
        reader::list(Arc::clone(&self.shared), prefix.to_owned())
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StorageError> {
        self.shared.check_lists(key)?;
        self.shared.primary().delete(key).await?;
        let missed = self.shared.in_secondaries(key, |place| place.delete(key)).await;
        self.shared.settle(key, (), missed)
    }

    /// Asks every place that can thaw. `Readable` as soon as the object can be read in one place.
    async fn thaw(&self, key: &ObjectKey, options: &ThawOptions) -> Result<ThawState, StorageError> {
        let (mut ongoing, mut failure) = (false, None);
        // One place's word that there is no such object does not outweigh another's that it cannot be asked.
        let mut fail = |error| match &failure {
            None | Some(StorageError::NotFound { .. }) => failure = Some(error),
            Some(_) => {}
        };
        for place in &self.shared.places {
            match place.thaw(key, options).await {
                Ok(ThawState::Readable) => return Ok(ThawState::Readable),
                Ok(ThawState::Ongoing) => ongoing = true,
                // A place without archive classes has the object at hand, or not at all.
                Err(StorageError::Unsupported { .. }) if self.capabilities().thaw => match place.head(key).await {
                    Ok(_) => return Ok(ThawState::Readable),
                    Err(error) => fail(error),
                },
                Err(error) => fail(error),
            }
        }
        if ongoing { Ok(ThawState::Ongoing) } else { Err(failure.unwrap_or_else(|| unreachable_place(&self.shared))) }
    }

    async fn sweep(&self, older_than: DateTime<Utc>) -> Result<u64, StorageError> {
        let swept = join_all(self.shared.places.iter().map(|place| place.sweep(older_than))).await;
        swept.into_iter().sum()
    }

    fn take_missed_writes(&self) -> Vec<MissedWrite> {
        let mut missed = std::mem::take(&mut *self.shared.missed.lock().unwrap_or_else(PoisonError::into_inner));
        missed.extend(self.shared.places.iter().flat_map(|place| place.take_missed_writes()));
        missed
    }
}

/// What to say when no place said anything, which takes a replicated place without places.
fn unreachable_place(shared: &Shared) -> StorageError {
    StorageError::Unsupported { location: shared.location(), action: "this" }
}
