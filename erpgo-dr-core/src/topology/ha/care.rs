//! What is done to a cluster without a change of its leader.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::backend::HaBackend;
use super::change::Deadline;
use super::error::HaError;

/// How long it is waited before the cluster is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// What came of pausing, or of ending that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PauseReport {
    /// Whether the cluster is paused.
    pub paused: bool,
    /// Whether it was not so before.
    pub changed: bool,
    /// Members that have not said that they know, for example because they are lost.
    pub unaware: Vec<String>,
}

/// What came of making the data of a member anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReinitializeReport {
    /// The member.
    pub member: String,
    /// Whom it follows.
    pub leader: String,
    /// Milliseconds until it followed again.
    pub took_ms: u64,
}

/// Pauses the cluster, or ends that, and waits until every member that answers knows.
///
/// # Errors
/// [`HaError::Refused`], [`HaError::Unauthorized`], [`HaError::Unsupported`], [`HaError::NotSettled`].
pub async fn set_paused(backend: &dyn HaBackend, paused: bool, limit: Duration) -> Result<PauseReport, HaError> {
    let deadline = Deadline { begun: Instant::now(), limit };
    let changed = backend.cluster().await?.paused != paused;
    if changed {
        backend.set_paused(paused, limit).await?;
    }
    loop {
        let cluster = backend.cluster().await?;
        let (mut differ, mut unaware) = (Vec::new(), Vec::new());
        for member in &cluster.members {
            match backend.member(&member.name).await {
                Ok(status) if status.paused == paused => {}
                Ok(_) => differ.push(member.name.clone()),
                Err(_) => unaware.push(member.name.clone()),
            }
        }
        if cluster.paused == paused && differ.is_empty() {
            return Ok(PauseReport { paused, changed, unaware });
        }
        if deadline.is_over() {
            let waited_for = format!("every member knows that {}", if paused { "it is paused" } else { "it goes on" });
            return Err(HaError::NotSettled { waited_for, found: format!("not {}", differ.join(", ")), limit });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Makes the data of a member anew from another's, and waits until it follows again.
///
/// # Errors
/// [`HaError::NoSuchMember`], [`HaError::IsLeader`], [`HaError::NoLeader`], [`HaError::Refused`], [`HaError::NotSettled`].
pub async fn reinitialize(
    backend: &dyn HaBackend,
    member: &str,
    limit: Duration,
) -> Result<ReinitializeReport, HaError> {
    let deadline = Deadline { begun: Instant::now(), limit };
    let cluster = backend.cluster().await?;
    if cluster.member(member)?.role.leads() {
        return Err(HaError::IsLeader { member: member.to_owned() });
    }
    if cluster.leader().is_none() {
        return Err(HaError::NoLeader);
    }
    let before = backend.member(member).await.ok().and_then(|status| status.started);
    backend.reinitialize(member, limit).await?;
    loop {
        let cluster = backend.cluster().await?;
        let found = cluster.member(member)?;
        // Until it is begun, everything is as it was: the server that follows must be another one.
        let started = backend.member(member).await.ok().and_then(|status| status.started);
        if let Some(leader) = cluster.leader().filter(|leader| found.follows(leader))
            && started.is_some()
            && started != before
        {
            let took_ms = u64::try_from(deadline.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Ok(ReinitializeReport { member: member.to_owned(), leader: leader.name.clone(), took_ms });
        }
        if deadline.is_over() {
            let waited_for = format!("{member} follows again, with new data");
            return Err(HaError::NotSettled { waited_for, found: format!("it is {}", found.state), limit });
        }
        tokio::time::sleep(PAUSE).await;
    }
}
