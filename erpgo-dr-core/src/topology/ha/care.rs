//! What is done to a cluster without a change of its leader.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

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
        watched(backend.set_paused(paused, deadline.left()).await)?;
    }
    loop {
        // Behind an order no question that fails says that the order failed.
        let cluster = match backend.cluster().await {
            Ok(cluster) => cluster,
            Err(_) if !deadline.is_over() => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => {
                let waited_for = "every member says whether it is paused".to_owned();
                return Err(HaError::NotSettled { waited_for, found: error.to_string(), limit });
            }
        };
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
/// With `again` an earlier attempt may have ordered it: one that is at it is waited for, and not told once more.
///
/// # Errors
/// [`HaError::NoSuchMember`], [`HaError::IsLeader`], [`HaError::NoLeader`], [`HaError::Refused`], [`HaError::NotSettled`]; what asking the
/// member itself returns; [`HaError::Repeated`] if it follows, and an earlier attempt may have brought it to that.
pub async fn reinitialize(
    backend: &dyn HaBackend,
    member: &str,
    again: bool,
    limit: Duration,
) -> Result<ReinitializeReport, HaError> {
    let deadline = Deadline { begun: Instant::now(), limit };
    let cluster = backend.cluster().await?;
    let found = cluster.member(member)?;
    if found.role.leads() {
        return Err(HaError::IsLeader { member: member.to_owned() });
    }
    let Some(leader) = cluster.leader() else { return Err(HaError::NoLeader) };
    if again && found.follows(leader) {
        let reason = format!("{member} follows {}, with old data or with new", leader.name);
        return Err(HaError::Repeated { reason });
    }
    // Without its word on that, its old server could not be told from a new one.
    let before = backend.member(member).await?.started;
    if !(again && found.state == "creating replica") {
        watched(backend.reinitialize(member, deadline.left()).await)?;
    }
    let mut was_created = found.state == "creating replica";
    loop {
        // Behind an order no question that fails says that the order failed.
        let asked =
            backend.cluster().await.and_then(|cluster| cluster.member(member).cloned().map(|found| (cluster, found)));
        let (cluster, found) = match asked {
            Ok(asked) => asked,
            Err(_) if !deadline.is_over() => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => {
                let waited_for = format!("{member} follows again, with new data");
                return Err(HaError::NotSettled { waited_for, found: error.to_string(), limit });
            }
        };
        was_created |= found.state == "creating replica";
        // Until it is begun, everything is as it was: the server that follows must be another one.
        let started = backend.member(member).await.ok().and_then(|status| status.started);
        if let Some(leader) = cluster.leader().filter(|leader| found.follows(leader))
            && started.is_some()
            && started != before
            // Of a server that was down nobody knows a start: only that it was made anew shows then.
            && (before.is_some() || was_created)
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

/// Takes an order to which no answer came for one that was heard: what became of it, the cluster tells.
fn watched(told: Result<(), HaError>) -> Result<(), HaError> {
    match told {
        Err(error @ HaError::Unanswered { .. }) => {
            tracing::warn!(%error, "whether it is done, the cluster tells");
            Ok(())
        }
        told => told,
    }
}
