//! A change of the leader: told, waited for, and measured.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::backend::HaBackend;
use super::cluster::HaCluster;
use super::error::HaError;
use super::plan::{ChangeKind, ChangePlan};
use crate::types::{Lsn, TimelineId};

/// How long it is waited before the cluster is asked again.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a new leader may take to write down where it left the old timeline.
const HISTORY: Duration = Duration::from_secs(20);

/// What came of a change of the leader.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChangeReport {
    /// Which change.
    pub kind: ChangeKind,
    /// Who led before.
    pub old_leader: Option<String>,
    /// Who leads.
    pub new_leader: String,
    /// The timeline before.
    pub old_timeline: Option<TimelineId>,
    /// The timeline since.
    pub new_timeline: Option<TimelineId>,
    /// How far the old leader had written when it was asked last, or what was known of that.
    pub written: Option<Lsn>,
    /// Where the new timeline leaves the old one: up to there everything is kept.
    pub branched_at: Option<Lsn>,
    /// Bytes between the two, which are lost. None where nobody knows.
    pub lost_bytes: Option<u64>,
    /// The newest commit that the new leader had replayed before it led, where it has said so.
    pub newest_commit: Option<DateTime<Utc>>,
    /// Milliseconds from the order to the state that was waited for.
    pub took_ms: u64,
    /// Whether an earlier attempt had done it.
    pub already_done: bool,
    /// What is wrong with the cluster since.
    pub findings: Vec<String>,
}

/// Carries a plan out, and waits until it is so: the candidate leads on a later timeline, and behind a switchover the old leader follows
/// it. That everything is there which the old leader had when it was asked last is shown by where the new timeline leaves the old one.
///
/// # Errors
/// [`HaError::Refused`], [`HaError::Unauthorized`], [`HaError::AnotherLeads`] if it came to another leader, [`HaError::NotSettled`].
pub async fn carry_out(backend: &dyn HaBackend, plan: &ChangePlan, limit: Duration) -> Result<ChangeReport, HaError> {
    let deadline = Deadline { begun: Instant::now(), limit };
    let (mut written, mut newest_commit) = (plan.announced, None);
    let begun = Instant::now();
    if !plan.already_done {
        if let Some(leader) = &plan.leader {
            // One that is lost does not answer: then what it has told before counts.
            written = written.max(backend.member(leader).await.ok().and_then(|status| status.reached));
        }
        newest_commit = backend.member(&plan.candidate).await.ok().and_then(|status| status.newest_commit);
        tell(backend, plan, limit).await?;
    }
    let cluster = wait(backend, plan, &deadline).await?;
    let took = begun.elapsed();
    let branched_at = match plan.timeline {
        Some(timeline) => branch(backend, timeline, &deadline).await,
        None => None,
    };
    let new_timeline = cluster.leader().and_then(|leader| leader.timeline);
    Ok(ChangeReport {
        kind: plan.kind,
        old_leader: plan.leader.clone(),
        new_leader: plan.candidate.clone(),
        old_timeline: plan.timeline,
        new_timeline,
        written,
        branched_at,
        lost_bytes: written.zip(branched_at).map(|(written, branched)| written.0.saturating_sub(branched.0)),
        newest_commit,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        already_done: plan.already_done,
        findings: cluster.findings(u64::MAX, plan.paused),
    })
}

pub(super) struct Deadline {
    pub(super) begun: Instant,
    pub(super) limit: Duration,
}

impl Deadline {
    pub(super) fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.limit
    }
}

/// Gives the order. Whether it is carried out where no answer says so, the cluster tells.
async fn tell(backend: &dyn HaBackend, plan: &ChangePlan, limit: Duration) -> Result<(), HaError> {
    let told = match (plan.kind, &plan.leader) {
        (ChangeKind::Switchover, Some(leader)) => backend.switchover(leader, &plan.candidate, limit).await,
        (ChangeKind::Switchover, None) => Ok(()),
        (ChangeKind::Failover, _) => backend.failover(&plan.candidate, limit).await,
    };
    match told {
        Err(error @ HaError::Unanswered { .. }) => {
            tracing::warn!(%error, "whether it is done, the cluster tells");
            Ok(())
        }
        told => told,
    }
}

/// Waits until the cluster is as it was to be.
async fn wait(backend: &dyn HaBackend, plan: &ChangePlan, deadline: &Deadline) -> Result<HaCluster, HaError> {
    loop {
        let found = match backend.cluster().await {
            Ok(cluster) => match missing(&cluster, plan)? {
                None => return Ok(cluster),
                Some(missing) => missing,
            },
            // Who is asked may be the one that is made another thing just now.
            Err(error @ (HaError::Unreachable { .. } | HaError::Unreadable { .. } | HaError::Ambiguous { .. })) => {
                error.to_string()
            }
            Err(error) => return Err(error),
        };
        if deadline.is_over() {
            let waited_for = match (plan.kind, &plan.leader) {
                (ChangeKind::Switchover, Some(leader)) => format!("{} leads, and {leader} follows it", plan.candidate),
                _ => format!("{} leads", plan.candidate),
            };
            return Err(HaError::NotSettled { waited_for, found, limit: deadline.limit });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Says what is not yet as it was to be.
fn missing(cluster: &HaCluster, plan: &ChangePlan) -> Result<Option<String>, HaError> {
    let Some(leader) = cluster.leader() else { return Ok(Some("nobody leads".to_owned())) };
    if leader.name != plan.candidate {
        // The old one does so for a while; a third one for good.
        let old = plan.leader.as_deref().is_none_or(|old| old == leader.name);
        return match old {
            true => Ok(Some(format!("{} leads", leader.name))),
            false => Err(HaError::AnotherLeads { expected: plan.candidate.clone(), found: leader.name.clone() }),
        };
    }
    if !leader.is_well_leader() {
        return Ok(Some(format!("its server is {}", leader.state)));
    }
    if plan.timeline.is_some_and(|before| leader.timeline.is_none_or(|now| now <= before)) {
        return Ok(Some("its timeline is the old one".to_owned()));
    }
    let Some(old) = plan.leader.as_deref().filter(|_| plan.kind == ChangeKind::Switchover) else { return Ok(None) };
    match cluster.members.iter().find(|member| member.name == old) {
        Some(old) if old.follows(leader) => Ok(None),
        Some(old) => Ok(Some(format!("{} is {}", old.name, old.state))),
        None => Ok(Some(format!("{old} is gone"))),
    }
}

/// Asks where the new timeline leaves the old one, until that is written down.
async fn branch(backend: &dyn HaBackend, timeline: TimelineId, deadline: &Deadline) -> Option<Lsn> {
    let begun = Instant::now();
    loop {
        match backend.branch(timeline).await {
            Ok(Some(branched_at)) => return Some(branched_at),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the history cannot be asked"),
        }
        if begun.elapsed() >= HISTORY || deadline.is_over() {
            return None;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::cluster::HaRole;
    use super::super::cluster::tests::member;
    use super::*;

    #[test]
    fn a_switchover_is_done_when_the_old_leader_follows_on_the_new_timeline() {
        let plan = ChangePlan {
            kind: ChangeKind::Switchover,
            leader: Some("a".to_owned()),
            candidate: "b".to_owned(),
            timeline: TimelineId::new(2),
            announced: None,
            behind_bytes: None,
            paused: false,
            already_done: false,
        };
        let mut cluster = HaCluster {
            members: vec![member("a", HaRole::Replica, "stopped", 0, 0), member("b", HaRole::Leader, "running", 0, 0)],
            ..HaCluster::default()
        };
        assert_eq!(missing(&cluster, &plan).unwrap().unwrap(), "a is stopped");
        cluster.members[0].state = "streaming".to_owned();
        assert_eq!(missing(&cluster, &plan).unwrap(), None);
        cluster.members[0].timeline = TimelineId::new(2);
        assert!(missing(&cluster, &plan).unwrap().is_some(), "it follows nobody yet");
        let failover = ChangePlan { kind: ChangeKind::Failover, ..plan.clone() };
        assert_eq!(missing(&cluster, &failover).unwrap(), None);
        cluster.members[1].timeline = TimelineId::new(2);
        assert!(missing(&cluster, &plan).unwrap().unwrap().contains("timeline"));
        cluster.members[1].name = "c".to_owned();
        assert!(matches!(missing(&cluster, &plan), Err(HaError::AnotherLeads { .. })));
        cluster.members.remove(1);
        assert_eq!(missing(&cluster, &plan).unwrap().unwrap(), "nobody leads");
    }
}
