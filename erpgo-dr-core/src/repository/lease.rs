//! Leases: how runs on several hosts keep out of each other's way.
//!
//! A lease is an object that its holder writes again and again. Its age is measured by the clock of the
//! storage place alone, so that hosts whose clocks disagree agree on who is alive. A lease keeps others
//! from acting; it is not what a commit rests on: that is the creation of the catalogue entry.
//!
//! A lease lives for [`LEASE_TTL`] after its last renewal, unless its name ends with `-ttl<seconds>`: whoever looks at it reads there how
//! long, so that holders with different settings do not take each other for dead.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::{Cleanups, RepositoryError, layout};
use crate::storage::{ObjectMeta, PutOptions, Storage, StorageExt as _};
use crate::types::ObjectKey;

/// How long a lease lives after its last renewal.
pub const LEASE_TTL: Duration = Duration::from_secs(600);

const RENEWALS_PER_TTL: u32 = 5;

/// What a lease object says. Nothing rests on it but messages to people.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct LeaseText {
    purpose: String,
    holder: String,
    renewed: DateTime<Utc>,
}

/// A lease that this process holds. It is renewed in the background, and given up by [`Lease::release`].
///
/// Dropping it stops the renewals; the lease then lapses by itself, as it does when the process is killed.
#[derive(Debug)]
pub(crate) struct Lease {
    storage: Arc<dyn Storage>,
    object: ObjectKey,
    #[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "only an agent asks whether it has lapsed"))]
    renewal: Arc<Renewal>,
    renewals: tokio::task::JoinHandle<()>,
}

impl Lease {
    /// Takes a lease that others may hold beside it.
    pub(crate) async fn share(
        storage: &Arc<dyn Storage>,
        purpose: &str,
        holder: &str,
    ) -> Result<Self, RepositoryError> {
        let object = layout::lease(purpose, holder);
        let text = LeaseText { purpose: purpose.to_owned(), holder: holder.to_owned(), renewed: Utc::now() };
        let begun = Moment::now();
        write(storage.as_ref(), &object, &text).await?;
        let renewal =
            Arc::new(Renewal { ttl: ttl_of(&object), lapsed: AtomicBool::new(false), last: Mutex::new(begun) });
        let renewals = tokio::spawn(renew(Arc::clone(storage), object.clone(), text, Arc::clone(&renewal)));
        Ok(Self { storage: Arc::clone(storage), object, renewal, renewals })
    }

    /// Takes a lease that nobody else may hold for the same purpose.
    ///
    /// Each contender writes its own object and then looks for others, so that of two at the same instant
    /// at least one sees the other and steps back; both may.
    pub(crate) async fn exclusive(
        storage: &Arc<dyn Storage>,
        purpose: &str,
        holder: &str,
    ) -> Result<Self, RepositoryError> {
        let lease = Self::share(storage, purpose, holder).await?;
        let others = live_leases(storage.as_ref(), purpose).await?;
        let Some(other) = others.into_iter().find(|meta| meta.key != lease.object) else { return Ok(lease) };
        lease.release().await?;
        Err(busy(purpose, &other))
    }

    /// Gives the lease up.
    pub(crate) async fn release(mut self) -> Result<(), RepositoryError> {
        self.renewals.abort();
        // A renewal that is under way could write the object again behind its removal.
        let _ = (&mut self.renewals).await;
        Ok(self.storage.delete(&self.object).await?)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewals.abort();
    }
}

fn busy(purpose: &str, other: &ObjectMeta) -> RepositoryError {
    RepositoryError::Busy {
        purpose: purpose.to_owned(),
        holder: other.key.file_name().to_owned(),
        renewed: other.last_modified.to_rfc3339(),
    }
}

/// A lease that is given up in the background when it is dropped before its time: its operation was cancelled.
#[derive(Debug)]
pub(crate) struct OperationLease {
    lease: Option<Lease>,
    cleanups: Cleanups,
}

impl OperationLease {
    pub(crate) fn new(lease: Lease, cleanups: Cleanups) -> Self {
        Self { lease: Some(lease), cleanups }
    }

    /// Gives the lease up.
    pub(crate) async fn release(mut self) -> Result<(), RepositoryError> {
        match self.lease.take() {
            Some(lease) => lease.release().await,
            None => Ok(()),
        }
    }
}

impl Drop for OperationLease {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.cleanups.spawn(async move {
                if let Err(error) = lease.release().await {
                    tracing::warn!(%error, "could not give up the lease of a cancelled operation; it will lapse by itself");
                }
            });
        }
    }
}

/// The lease of an agent, which knows when it has lapsed.
#[cfg(feature = "agent")]
#[derive(Debug)]
pub(crate) struct AgentLease {
    lease: OperationLease,
    holder: String,
    renewal: Arc<Renewal>,
}

#[cfg(feature = "agent")]
impl AgentLease {
    /// Takes the lease, unless another agent holds it: whoever only waits for it writes nothing that others could take for a holder.
    pub(super) async fn take(
        storage: &Arc<dyn Storage>,
        cleanups: Cleanups,
        ttl: Duration,
    ) -> Result<Self, RepositoryError> {
        let purpose = super::history::AGENT;
        if let Some(other) = live_leases(storage.as_ref(), purpose).await?.into_iter().next() {
            return Err(busy(purpose, &other));
        }
        let holder = format!("{:016x}-ttl{}", rand::random::<u64>(), ttl.as_secs().max(1));
        let lease = Lease::exclusive(storage, purpose, &holder).await?;
        let renewal = Arc::clone(&lease.renewal);
        let lease = OperationLease::new(lease, cleanups);
        remove_lapsed(storage.as_ref(), purpose).await?;
        Ok(Self { lease, holder, renewal })
    }

    /// Returns whether it has been renewed in time, always.
    pub(crate) fn is_held(&self) -> bool {
        !self.renewal.has_lapsed()
    }

    /// Returns who holds it, as others see it.
    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    /// Gives it up.
    pub(crate) async fn release(self) -> Result<(), RepositoryError> {
        self.lease.release().await
    }
}

async fn write(storage: &dyn Storage, object: &ObjectKey, text: &LeaseText) -> Result<ObjectMeta, RepositoryError> {
    let data = serde_json::to_vec(text).expect("a lease is plain JSON");
    Ok(storage.write(object, data.into(), &PutOptions::default()).await?)
}

/// When a lease was renewed last, and whether that was ever too late: others may have taken it since, whatever is written later.
#[derive(Debug)]
struct Renewal {
    ttl: Duration,
    lapsed: AtomicBool,
    last: Mutex<Moment>,
}

/// A moment by two clocks: one does not run while the host sleeps, the other may be set.
#[derive(Debug, Clone, Copy)]
struct Moment {
    running: tokio::time::Instant,
    wall: std::time::SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self { running: tokio::time::Instant::now(), wall: std::time::SystemTime::now() }
    }

    fn elapsed(&self) -> Duration {
        self.running.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}

impl Renewal {
    fn has_lapsed(&self) -> bool {
        if self.last().elapsed() >= self.ttl {
            self.lapsed.store(true, Ordering::Release);
        }
        self.lapsed.load(Ordering::Acquire)
    }

    /// Notes a renewal that was begun at this moment: the storage place's time of it is no earlier.
    fn note(&self, begun: Moment) {
        if !self.has_lapsed() {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = begun;
        }
    }

    fn last(&self) -> Moment {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn renew(storage: Arc<dyn Storage>, object: ObjectKey, mut text: LeaseText, renewal: Arc<Renewal>) {
    loop {
        tokio::time::sleep(renewal.ttl / RENEWALS_PER_TTL).await;
        let begun = Moment::now();
        text.renewed = Utc::now();
        match write(storage.as_ref(), &object, &text).await {
            Ok(_) => renewal.note(begun),
            Err(error) => tracing::warn!(lease = %object, error = %error, "could not renew a lease; trying again"),
        }
    }
}

/// Returns how long a lease lives after a renewal, which its name may say.
fn ttl_of(object: &ObjectKey) -> Duration {
    let named = object.file_name().rsplit_once("-ttl").and_then(|(_, seconds)| seconds.parse().ok());
    named.map_or(LEASE_TTL, Duration::from_secs)
}

/// Lists the leases of a purpose that have been renewed in time, by the storage place's own clock.
pub(crate) async fn live_leases(storage: &dyn Storage, purpose: &str) -> Result<Vec<ObjectMeta>, RepositoryError> {
    let (live, _) = sort_leases(storage, purpose).await?;
    Ok(live)
}

/// Removes the leases of runs that have died.
pub(crate) async fn remove_lapsed(storage: &dyn Storage, purpose: &str) -> Result<(), RepositoryError> {
    let (_, lapsed) = sort_leases(storage, purpose).await?;
    for meta in lapsed {
        storage.delete(&meta.key).await?;
    }
    Ok(())
}

async fn sort_leases(
    storage: &dyn Storage,
    purpose: &str,
) -> Result<(Vec<ObjectMeta>, Vec<ObjectMeta>), RepositoryError> {
    let prefix = format!("{purpose}-");
    let all: Vec<ObjectMeta> = storage.list(layout::LEASES).try_collect().await?;
    let now = storage_time(storage).await?;
    let ttl = |key: &ObjectKey| TimeDelta::from_std(ttl_of(key)).unwrap_or(TimeDelta::MAX);
    Ok(all
        .into_iter()
        .filter(|meta| meta.key.file_name().starts_with(&prefix))
        .partition(|meta| now - meta.last_modified <= ttl(&meta.key)))
}

/// Asks the storage place what time it is, by writing an object and looking at its time.
pub(crate) async fn storage_time(storage: &dyn Storage) -> Result<DateTime<Utc>, RepositoryError> {
    let object = layout::lease("clock", &format!("{:016x}", rand::random::<u64>()));
    storage.write(&object, bytes::Bytes::from_static(b"{}"), &PutOptions::default()).await?;
    let time = storage.head(&object).await.map(|meta| meta.last_modified);
    storage.delete(&object).await?;
    Ok(time?)
}
