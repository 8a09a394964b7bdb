//! Who is to lead instead of whom, and whether that can be: looked at before anything is changed.

use std::cmp::Reverse;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::backend::HaBackend;
use super::cluster::{HaCluster, HaMember, HaRole};
use super::error::HaError;
use crate::types::{Lsn, TimelineId};

/// How long it is waited before the cluster is asked again.
const PAUSE: Duration = Duration::from_millis(250);
/// How long an earlier order may take to show, at most.
const SETTLING: Duration = Duration::from_secs(30);

/// How a change of the leader is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeOptions {
    /// Who leads now. Where another does, nothing is done.
    pub leader: Option<String>,
    /// Who is to lead; the most suitable where nobody is named.
    pub candidate: Option<String>,
    /// Bytes that it may be behind.
    pub max_lag: u64,
    /// How long the change is waited for. A question that hangs behind it, and the last look around, may take some seconds more.
    pub limit: Duration,
    /// Whether an earlier attempt may have done it: then it is no error that it is done.
    pub again: bool,
    /// The timeline that is to be left. Where somebody leads on a later one, the leader was replaced already.
    pub timeline: Option<TimelineId>,
    /// Whether a failover may replace a leader that is well and answers.
    pub even_if_well: bool,
}

impl Default for ChangeOptions {
    /// A candidate that is found, at most 1 MiB behind as Patroni's own `maximum_lag_on_failover` has it, within two minutes.
    fn default() -> Self {
        let limit = Duration::from_secs(120);
        Self {
            leader: None,
            candidate: None,
            max_lag: 1 << 20,
            limit,
            again: false,
            timeline: None,
            even_if_well: false,
        }
    }
}

impl ChangeOptions {
    /// Sets who leads now.
    pub fn with_leader(mut self, leader: Option<String>) -> Self {
        self.leader = leader;
        self
    }

    /// Sets who is to lead.
    pub fn with_candidate(mut self, candidate: Option<String>) -> Self {
        self.candidate = candidate;
        self
    }

    /// Sets how many bytes it may be behind.
    pub fn with_max_lag(mut self, bytes: u64) -> Self {
        self.max_lag = bytes;
        self
    }

    /// Sets how long all of it may take.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the timeline that is to be left.
    pub fn with_timeline(mut self, timeline: Option<TimelineId>) -> Self {
        self.timeline = timeline;
        self
    }

    /// Sets whether a failover may replace a leader that is well and answers.
    pub fn with_even_if_well(mut self, even_if_well: bool) -> Self {
        self.even_if_well = even_if_well;
        self
    }

    /// Sets whether an earlier attempt may have done it.
    pub fn with_again(mut self, again: bool) -> Self {
        self.again = again;
        self
    }
}

/// Which change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChangeKind {
    /// A leader that is well hands over.
    Switchover,
    /// A member leads, whatever becomes of the leader.
    Failover,
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChangePlan {
    /// Which change.
    pub kind: ChangeKind,
    /// Who leads now.
    pub leader: Option<String>,
    /// Who is to lead.
    pub candidate: String,
    /// The timeline now.
    pub timeline: Option<TimelineId>,
    /// How far the log is, as far as the leader has told.
    pub announced: Option<Lsn>,
    /// Bytes of it that the candidate does not have.
    pub behind_bytes: Option<u64>,
    /// Whether the cluster is paused.
    pub paused: bool,
    /// Whether it follows another cluster: a new leader keeps the timeline, and nothing is written here that could be lost.
    pub standby_cluster: bool,
    /// Whether an earlier attempt has done it.
    pub already_done: bool,
}

impl ChangePlan {
    /// Returns whether another plan has the same leader, timeline and candidate: what somebody agreed to still holds then.
    pub fn is_same_change(&self, other: &Self) -> bool {
        let change = |plan: &Self| (plan.kind, plan.leader.clone(), plan.timeline, plan.candidate.clone(), plan.paused);
        change(self) == change(other)
    }
}

/// Plans that a leader that is well hands over to another member.
///
/// # Errors
/// [`HaError::NoLeader`], [`HaError::AnotherLeads`], [`HaError::AlreadyLeads`], [`HaError::NoSuchMember`], [`HaError::NotReady`],
/// [`HaError::Lagging`], [`HaError::NoCandidate`], [`HaError::Paused`], and what asking for the cluster returns.
pub async fn plan_switchover(backend: &dyn HaBackend, options: &ChangeOptions) -> Result<ChangePlan, HaError> {
    let begun = Instant::now();
    loop {
        let cluster = backend.cluster().await?;
        if cluster.leader().is_some() {
            let plan = plan(ChangeKind::Switchover, &cluster, cluster.leader(), options)?;
            asked_itself(backend, &plan).await?;
            return Ok(plan);
        }
        // Between two leaders there is none: an attempt that was cut off goes on without us.
        if !options.again || begun.elapsed() >= options.limit {
            return Err(HaError::NoLeader);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Plans that a member leads, whatever becomes of the leader.
///
/// # Errors
/// As [`plan_switchover`]; that nobody leads is none. [`HaError::LeaderIsWell`], [`HaError::Replaced`]; [`HaError::Repeated`] where an
/// earlier attempt may have done it, and neither a timeline, nor a leader, nor a candidate tells.
pub async fn plan_failover(backend: &dyn HaBackend, options: &ChangeOptions) -> Result<ChangePlan, HaError> {
    if options.again && options.timeline.is_none() && options.leader.is_none() && options.candidate.is_none() {
        let reason = "neither the old leader, nor its timeline, nor who was to lead is known";
        return Err(HaError::Repeated { reason: reason.to_owned() });
    }
    let (begun, patience) = (Instant::now(), SETTLING.min(options.limit / 2));
    let cluster = loop {
        let cluster = backend.cluster().await?;
        // What an earlier attempt has ordered may just be being done: it is not ordered twice.
        if !options.again || cluster.leader().is_some() || begun.elapsed() >= patience {
            break cluster;
        }
        tokio::time::sleep(PAUSE).await;
    };
    let plan = plan(ChangeKind::Failover, &cluster, cluster.leader(), options)?;
    if plan.already_done {
        return Ok(plan);
    }
    match cluster.leader() {
        Some(leader) if !options.even_if_well && is_well(backend, leader).await => {
            return Err(HaError::LeaderIsWell { member: leader.name.clone() });
        }
        Some(_) => {}
        // The last leader may be gone from the list, and its timeline with it. The history knows of it.
        None => {
            if let Some(timeline) = plan.timeline
                && let Ok(Some(left)) = backend.branch(timeline).await
            {
                let reason = format!("timeline {timeline} was left at {left} for one that it does not have");
                return Err(HaError::NotReady { member: plan.candidate, reason });
            }
        }
    }
    asked_itself(backend, &plan).await?;
    Ok(plan)
}

/// Returns whether a leader works by its own word, too: one that is lost is in the books until its time is over.
async fn is_well(backend: &dyn HaBackend, leader: &HaMember) -> bool {
    if !leader.is_well_leader() {
        return false;
    }
    let asked = backend.member(&leader.name).await;
    asked.is_ok_and(|status| {
        status.reached.is_some() && (status.takes_writes == Some(true) || leader.role == HaRole::StandbyLeader)
    })
}

/// Refuses a candidate that takes writes already, as one does that lost the lock while nobody stopped it: what it has is another history.
async fn asked_itself(backend: &dyn HaBackend, plan: &ChangePlan) -> Result<(), HaError> {
    if plan.already_done {
        return Ok(());
    }
    let not_ready = |reason: String| Err(HaError::NotReady { member: plan.candidate.clone(), reason });
    match backend.member(&plan.candidate).await {
        Ok(status) if status.takes_writes == Some(true) => {
            not_ready("it takes writes without being the leader: its history is another one".to_owned())
        }
        Ok(_) => Ok(()),
        Err(error @ (HaError::Unreachable { .. } | HaError::Refused { .. } | HaError::Unreadable { .. })) => {
            not_ready(format!("it cannot be asked itself: {error}"))
        }
        Err(error) => Err(error),
    }
}

fn plan(
    kind: ChangeKind,
    cluster: &HaCluster,
    leader: Option<&HaMember>,
    options: &ChangeOptions,
) -> Result<ChangePlan, HaError> {
    if let Some(done) = already_done(kind, cluster, leader, options)? {
        return Ok(done);
    }
    let candidate = match &options.candidate {
        Some(name) => named(cluster, name)?,
        None if cluster.paused => return Err(HaError::Paused),
        None => most_suitable(cluster).ok_or(HaError::NoCandidate)?,
    };
    if candidate.behind_bytes.is_none_or(|behind| behind > options.max_lag) {
        let (member, behind) = (candidate.name.clone(), candidate.behind_bytes);
        return Err(HaError::Lagging { member, behind, limit: options.max_lag });
    }
    Ok(ChangePlan {
        kind,
        leader: leader.map(|leader| leader.name.clone()).or_else(|| options.leader.clone()),
        candidate: candidate.name.clone(),
        timeline: cluster.timeline(),
        announced: cluster.announced(),
        behind_bytes: candidate.behind_bytes,
        paused: cluster.paused,
        standby_cluster: leader.is_some_and(|leader| leader.role == HaRole::StandbyLeader),
        already_done: false,
    })
}

/// Finds out whether an earlier attempt has done it, and refuses where the leader is not who it should be.
fn already_done(
    kind: ChangeKind,
    cluster: &HaCluster,
    leader: Option<&HaMember>,
    options: &ChangeOptions,
) -> Result<Option<ChangePlan>, HaError> {
    let Some(leader) = leader else { return Ok(None) };
    let is_candidate = options.candidate.as_ref().is_none_or(|candidate| *candidate == leader.name);
    let was_replaced = options.leader.as_ref().is_some_and(|expected| *expected != leader.name);
    let leads_now = options.candidate.as_deref() == Some(leader.name.as_str());
    // Whoever leads on a later timeline was promoted since.
    let later = options.timeline.zip(leader.timeline).filter(|(left, found)| found > left);
    // The candidate may have lost the lead again since: who has it now was promoted after the order all the same.
    if options.again && (later.is_some() || (is_candidate && (was_replaced || leads_now))) {
        return Ok(Some(ChangePlan {
            kind,
            leader: options.leader.clone(),
            candidate: leader.name.clone(),
            timeline: None,
            announced: None,
            behind_bytes: None,
            paused: cluster.paused,
            standby_cluster: leader.role == HaRole::StandbyLeader,
            already_done: true,
        }));
    }
    match &options.leader {
        _ if leads_now => Err(HaError::AlreadyLeads { member: leader.name.clone() }),
        Some(expected) if was_replaced => {
            Err(HaError::AnotherLeads { expected: expected.clone(), found: leader.name.clone() })
        }
        _ => match later {
            Some((expected, found)) => Err(HaError::Replaced { member: leader.name.clone(), expected, found }),
            None => Ok(None),
        },
    }
}

fn named<'c>(cluster: &'c HaCluster, name: &str) -> Result<&'c HaMember, HaError> {
    let member = cluster.member(name)?;
    match member.is_ready() {
        true if member.timeline.is_some() && member.timeline == cluster.timeline() => Ok(member),
        true => {
            let words = |timeline: Option<TimelineId>| {
                timeline.map_or_else(|| "an unknown timeline".to_owned(), |timeline| format!("timeline {timeline}"))
            };
            let reason =
                format!("it is on {}, and the cluster on {}", words(member.timeline), words(cluster.timeline()));
            Err(HaError::NotReady { member: name.to_owned(), reason })
        }
        false => {
            let reason = if member.may_lead {
                format!("its server is {}", member.state)
            } else {
                "it is marked as one that never leads".to_owned()
            };
            Err(HaError::NotReady { member: name.to_owned(), reason })
        }
    }
}

/// Chooses one for which commits wait, then the one that has the most, of those that are on the timeline of the cluster.
fn most_suitable(cluster: &HaCluster) -> Option<&HaMember> {
    let timeline = cluster.timeline()?;
    let ready = cluster.members.iter().filter(|member| member.is_ready() && member.timeline == Some(timeline));
    ready.max_by_key(|member| (member.role.is_synchronous(), member.reached, Reverse(&member.name)))
}

#[cfg(test)]
mod tests {
    use super::super::cluster::HaRole;
    use super::super::cluster::tests::member;
    use super::*;

    fn cluster() -> HaCluster {
        let members = vec![
            member("a", HaRole::Leader, "running", 0, 0),
            member("b", HaRole::Replica, "streaming", 900, 100),
            member("c", HaRole::Replica, "streaming", 1000, 0),
            member("d", HaRole::Replica, "start failed", 1000, 0),
        ];
        HaCluster { members, ..HaCluster::default() }
    }

    fn planned(
        cluster: &HaCluster,
        leader: Option<&str>,
        candidate: Option<&str>,
        again: bool,
    ) -> Result<ChangePlan, HaError> {
        let options = ChangeOptions::default()
            .with_leader(leader.map(str::to_owned))
            .with_candidate(candidate.map(str::to_owned))
            .with_max_lag(99)
            .with_again(again);
        plan(ChangeKind::Switchover, cluster, cluster.leader(), &options)
    }

    #[test]
    fn the_one_that_has_the_most_takes_over_and_one_that_commits_wait_for_before_it() {
        let mut cluster = cluster();
        let plan = planned(&cluster, None, None, false).unwrap();
        assert_eq!((plan.candidate.as_str(), plan.leader.as_deref(), plan.behind_bytes), ("c", Some("a"), Some(0)));
        assert_eq!(plan.announced, Some(Lsn(1000)));
        cluster.members[1].role = HaRole::SynchronousStandby;
        assert!(matches!(
            planned(&cluster, None, None, false),
            Err(HaError::Lagging { behind: Some(100), limit: 99, .. })
        ));
    }

    #[test]
    fn who_cannot_take_over_is_refused() {
        let mut cluster = cluster();
        let refused = |cluster: &HaCluster, leader, candidate| planned(cluster, leader, candidate, false).unwrap_err();
        assert!(matches!(refused(&cluster, None, Some("z")), HaError::NoSuchMember { .. }));
        assert!(matches!(refused(&cluster, None, Some("d")), HaError::NotReady { .. }));
        assert!(matches!(refused(&cluster, None, Some("b")), HaError::Lagging { .. }));
        assert!(matches!(refused(&cluster, None, Some("a")), HaError::AlreadyLeads { .. }));
        assert!(matches!(refused(&cluster, Some("b"), Some("c")), HaError::AnotherLeads { .. }));
        cluster.members[2].may_lead = false;
        assert!(matches!(refused(&cluster, None, Some("c")), HaError::NotReady { .. }));
        cluster.paused = true;
        assert!(matches!(refused(&cluster, None, None), HaError::Paused));
        cluster.members.truncate(1);
        cluster.paused = false;
        assert!(matches!(refused(&cluster, None, None), HaError::NoCandidate));
    }

    #[test]
    fn who_is_on_another_timeline_does_not_take_over() {
        let mut cluster = cluster();
        cluster.members[2].timeline = TimelineId::new(2);
        assert_eq!(cluster.members[2].behind_bytes, Some(0), "on its own timeline");
        let refused = planned(&cluster, None, Some("c"), false).unwrap_err();
        assert!(matches!(&refused, HaError::NotReady { reason, .. } if reason.contains("timeline 2")), "{refused}");
        // Of those that are chosen from, it is none.
        assert!(matches!(planned(&cluster, None, None, false), Err(HaError::Lagging { member, .. }) if member == "b"));
        cluster.members[2].timeline = None;
        assert!(matches!(planned(&cluster, None, Some("c"), false), Err(HaError::NotReady { .. })));
        // Without a leader the newest one of all counts, also that of a server which is down.
        cluster.members.remove(0);
        cluster.members[2].timeline = TimelineId::new(4);
        let options = ChangeOptions::default().with_candidate(Some("b".to_owned()));
        let refused = plan(ChangeKind::Failover, &cluster, None, &options).unwrap_err();
        assert!(matches!(&refused, HaError::NotReady { reason, .. } if reason.contains("timeline 4")), "{refused}");
    }

    #[test]
    fn a_later_timeline_shows_that_somebody_was_replaced() {
        let cluster = cluster();
        let options = ChangeOptions::default().with_max_lag(99).with_timeline(TimelineId::new(2));
        let failover = |options: &ChangeOptions| plan(ChangeKind::Failover, &cluster, cluster.leader(), options);
        assert!(matches!(failover(&options), Err(HaError::Replaced { member, .. }) if member == "a"));
        for candidate in [None, Some("c".to_owned())] {
            let again = options.clone().with_candidate(candidate).with_again(true);
            let found = failover(&again).unwrap();
            assert!(found.already_done && found.candidate == "a", "{found:?}");
        }
        let same = failover(&options.with_timeline(TimelineId::new(3)).with_again(true)).unwrap();
        assert!(!same.already_done);
        let other = ChangePlan { timeline: TimelineId::new(4), ..same.clone() };
        assert!(same.is_same_change(&same) && !same.is_same_change(&other));
    }

    #[test]
    fn what_an_earlier_attempt_has_done_is_no_error_and_what_it_has_not_is_done() {
        let cluster = cluster();
        for (leader, candidate) in [(Some("c"), None), (Some("c"), Some("a")), (None, Some("a"))] {
            assert!(planned(&cluster, leader, candidate, true).unwrap().already_done, "{leader:?} {candidate:?}");
            assert!(planned(&cluster, leader, candidate, false).is_err());
        }
        assert!(!planned(&cluster, Some("a"), Some("c"), true).unwrap().already_done);
        assert!(matches!(planned(&cluster, Some("c"), Some("b"), true), Err(HaError::AnotherLeads { .. })));
    }
}
