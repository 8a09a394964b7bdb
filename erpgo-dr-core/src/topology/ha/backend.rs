//! What every backend can do.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::cluster::{HaCluster, MemberStatus};
use super::error::HaError;
use crate::types::{Lsn, TimelineId};

/// Runs the high availability of one cluster. Orders return when they are accepted, or carried out: what became of them is asked of
/// [`cluster`](Self::cluster).
#[async_trait]
pub trait HaBackend: Send + Sync + fmt::Debug {
    /// Names it, for people; without secrets.
    fn name(&self) -> String;

    /// Says who is in the cluster, who leads, and who follows.
    ///
    /// # Errors
    /// [`HaError::Unreachable`], [`HaError::Ambiguous`].
    async fn cluster(&self) -> Result<HaCluster, HaError>;

    /// Asks one member how far it is.
    ///
    /// # Errors
    /// [`HaError::NoSuchMember`], [`HaError::Unreachable`], [`HaError::Postgres`].
    async fn member(&self, name: &str) -> Result<MemberStatus, HaError>;

    /// Returns where the timeline was left for the next one, if that is known.
    ///
    /// # Errors
    /// [`HaError::Unreachable`].
    async fn branch(&self, timeline: TimelineId) -> Result<Option<Lsn>, HaError>;

    /// Has a leader that is well hand over to another member.
    ///
    /// # Errors
    /// [`HaError::Refused`], [`HaError::Unanswered`], [`HaError::Unsupported`].
    async fn switchover(&self, leader: &str, candidate: &str, limit: Duration) -> Result<(), HaError>;

    /// Has a member lead, whatever becomes of the leader.
    ///
    /// # Errors
    /// [`HaError::Refused`], [`HaError::Unanswered`].
    async fn failover(&self, candidate: &str, limit: Duration) -> Result<(), HaError>;

    /// Returns whether all others are off when an order to fail over returns: then who cannot be asked takes no writes.
    fn fences(&self) -> bool {
        false
    }

    /// Has nobody be replaced by itself, or ends that.
    ///
    /// # Errors
    /// [`HaError::Refused`], [`HaError::Unanswered`], [`HaError::Unsupported`].
    async fn set_paused(&self, paused: bool, limit: Duration) -> Result<(), HaError>;

    /// Has the data of a member that follows be made anew from another's.
    ///
    /// # Errors
    /// [`HaError::Refused`], [`HaError::Unanswered`], [`HaError::Unsupported`].
    async fn reinitialize(&self, member: &str, limit: Duration) -> Result<(), HaError>;
}
