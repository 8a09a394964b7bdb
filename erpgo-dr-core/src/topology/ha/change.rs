//! A change of the leader: told, waited for, and measured.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;

use super::backend::HaBackend;
use super::cluster::{HaCluster, HaRole};
use super::error::HaError;
use super::plan::{ChangeKind, ChangePlan};
use crate::types::{Lsn, TimelineId};

/// How long it is waited before the cluster is asked again.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a candidate may take to have what the leader had when it was asked.
const CATCH_UP: Duration = Duration::from_secs(30);
/// How long a new leader may take to write down where it left the old timeline.
const HISTORY: Duration = Duration::from_secs(20);
/// How long an old leader may be silent before it counts as one that cannot be asked.
const SILENCE: Duration = Duration::from_secs(3);

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
    /// Whether the old leader itself said right before the order how far it was. If not, `written` is what others had heard of it, it may
    /// have written more, and `lost_bytes` is the least that is lost.
    pub leader_answered: bool,
    /// Bytes between the two, which are lost. None where nobody knows.
    pub lost_bytes: Option<u64>,
    /// The newest commit that the new leader had replayed before it led, where it has said so.
    pub newest_commit: Option<DateTime<Utc>>,
    /// Milliseconds from the order to the state that was waited for.
    pub took_ms: u64,
    /// Whether an earlier attempt had done it.
    pub already_done: bool,
    /// Whether the cluster follows another one: nothing is written here that could be lost.
    pub standby_cluster: bool,
    /// Members that say that they take writes beside the new leader.
    pub beside: Vec<String>,
    /// The old leader, where it cannot be asked: it may take writes until it is fenced.
    pub unfenced: Option<String>,
    /// What is wrong with the cluster since.
    pub findings: Vec<String>,
}

impl ChangeReport {
    /// Returns whether it is shown that nothing is lost of what the old leader had when it was asked, and that nobody takes writes beside
    /// the new one.
    pub fn is_clean(&self) -> bool {
        let nothing_lost = self.leader_answered && self.lost_bytes == Some(0);
        (nothing_lost || self.standby_cluster) && self.beside.is_empty() && self.unfenced.is_none()
    }

    /// Returns the bytes that are lost, where that is certain: behind a switchover, before which the old leader said how far it was. A
    /// failover may lose what a leader writes after it was asked.
    pub fn certain_loss(&self) -> Option<u64> {
        let certain = self.kind == ChangeKind::Switchover && self.leader_answered && !self.already_done;
        self.lost_bytes.filter(|_| certain)
    }
}

/// Carries a plan out, and waits until it is so. A switchover is ordered when the candidate has what the leader has said that it had: one
/// that receives nothing would be behind for good. Then the candidate leads on a later timeline, and behind a switchover the old leader follows
/// it. That everything is there which the old leader had when it was asked last is shown by where the new timeline leaves the old one.
///
/// # Errors
/// [`HaError::Lagging`] before anything is ordered; [`HaError::Refused`], [`HaError::Unauthorized`], [`HaError::AnotherLeads`] if it came to another leader, [`HaError::NotSettled`].
pub async fn carry_out(backend: &dyn HaBackend, plan: &ChangePlan, limit: Duration) -> Result<ChangeReport, HaError> {
    let deadline = Deadline { begun: Instant::now(), limit };
    let (mut written, mut newest_commit, mut leader_answered) = (plan.announced, None, false);
    let begun = Instant::now();
    if !plan.already_done {
        if let Some(leader) = &plan.leader {
            // One that is lost does not answer: then what it has told before counts, and is not all.
            let asked = backend.member(leader).await.ok().filter(|status| status.takes_writes == Some(true));
            let said = asked.and_then(|status| status.reached);
            leader_answered = said.is_some();
            written = written.max(said);
            if let Some(said) = said.filter(|_| plan.kind == ChangeKind::Switchover) {
                catch_up(backend, &plan.candidate, said, limit).await?;
            }
        }
        newest_commit = backend.member(&plan.candidate).await.ok().and_then(|status| status.newest_commit);
        tell(backend, plan, deadline.left()).await?;
    }
    let cluster = wait(backend, plan, &deadline).await?;
    let took = begun.elapsed();
    let branched_at = match plan.timeline {
        Some(timeline) if !plan.standby_cluster => branch(backend, timeline, &deadline).await,
        _ => None,
    };
    let (beside, unfenced) = writers(backend, &cluster, plan, limit).await;
    let mut findings = cluster.findings(u64::MAX, plan.paused);
    findings.extend(beside.iter().map(|name| format!("{name} takes writes beside {}: fence it", plan.candidate)));
    findings.extend(unfenced.iter().map(|name| format!("{name} cannot be asked, and may still take writes: fence it")));
    let new_timeline = cluster.leader().and_then(|leader| leader.timeline);
    Ok(ChangeReport {
        kind: plan.kind,
        old_leader: plan.leader.clone(),
        new_leader: plan.candidate.clone(),
        old_timeline: plan.timeline,
        new_timeline,
        written,
        branched_at,
        leader_answered,
        lost_bytes: written.zip(branched_at).map(|(written, branched)| written.0.saturating_sub(branched.0)),
        newest_commit,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        already_done: plan.already_done,
        standby_cluster: plan.standby_cluster,
        beside,
        unfenced,
        findings,
    })
}

/// Asks who takes writes beside the new leader: those that say so, and the old leader where it does not answer. Who is made a follower
/// just now is given time for it.
async fn writers(
    backend: &dyn HaBackend,
    cluster: &HaCluster,
    plan: &ChangePlan,
    limit: Duration,
) -> (Vec<String>, Option<String>) {
    let begun = Instant::now();
    // The old one may be gone from the list, and run on.
    let names: BTreeSet<&str> =
        cluster.members.iter().map(|member| member.name.as_str()).chain(plan.leader.as_deref()).collect();
    loop {
        let (mut beside, mut unfenced) = (Vec::new(), None);
        for name in names.iter().filter(|name| **name != plan.candidate) {
            match backend.member(name).await {
                Ok(status) if status.takes_writes == Some(true) => beside.push((*name).to_owned()),
                Ok(_) => {}
                Err(_) if (!backend.fences() || plan.already_done) && plan.leader.as_deref() == Some(*name) => {
                    unfenced = Some((*name).to_owned());
                }
                Err(_) => {}
            }
        }
        let patience = match (&*beside, &unfenced) {
            ([], None) => return (beside, unfenced),
            ([], Some(_)) => SILENCE,
            _ => HISTORY,
        };
        if begun.elapsed() >= patience.min(limit) {
            return (beside, unfenced);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

pub(super) struct Deadline {
    pub(super) begun: Instant,
    pub(super) limit: Duration,
}

impl Deadline {
    pub(super) fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.limit
    }

    /// Returns what is left, and a moment at least.
    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.begun.elapsed()).max(Duration::from_secs(1))
    }
}

/// Waits until a candidate has what the leader had.
async fn catch_up(backend: &dyn HaBackend, candidate: &str, said: Lsn, limit: Duration) -> Result<(), HaError> {
    let begun = Instant::now();
    loop {
        let reached = backend.member(candidate).await.ok().and_then(|status| status.reached);
        if reached.is_some_and(|reached| reached >= said) {
            return Ok(());
        }
        if begun.elapsed() >= CATCH_UP.min(limit / 2) {
            let behind = reached.map(|reached| said.0.saturating_sub(reached.0));
            return Err(HaError::Lagging { member: candidate.to_owned(), behind, limit: 0 });
        }
        tokio::time::sleep(PAUSE).await;
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
            // Behind an order no question that fails says that the order failed: who is asked may be made another thing just now.
            Err(error) => error.to_string(),
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
    // Who leads a cluster that follows another stays on the timeline of that one.
    let stays = leader.role == HaRole::StandbyLeader;
    if !stays && plan.timeline.is_some_and(|before| leader.timeline.is_none_or(|now| now <= before)) {
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
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::super::cluster::MemberStatus;
    use super::super::cluster::tests::member;
    use super::super::plan::{ChangeOptions, plan_failover, plan_switchover};
    use super::*;

    /// A cluster whose leader is replaced by an order, and that says what is written here.
    #[derive(Debug, Default)]
    struct Scripted {
        /// Questions for the cluster that fail behind the order.
        failing: Mutex<usize>,
        told: Mutex<usize>,
        /// What the old leader says of itself before the order, and behind it.
        old: [Option<MemberStatus>; 2],
        /// How far the candidate is.
        reached: Option<Lsn>,
    }

    impl Scripted {
        fn is_told(&self) -> usize {
            *self.told.lock().unwrap()
        }
    }

    #[async_trait]
    impl HaBackend for Scripted {
        fn name(&self) -> String {
            "a script".to_owned()
        }

        async fn cluster(&self) -> Result<HaCluster, HaError> {
            let mut members = vec![
                member("a", HaRole::Leader, "running", 1000, 0),
                member("b", HaRole::Replica, "streaming", 1000, 0),
            ];
            if self.is_told() > 0 {
                let mut failing = self.failing.lock().unwrap();
                if *failing > 0 {
                    *failing -= 1;
                    return Err(HaError::Unauthorized { url: "x".to_owned(), status: 401, text: String::new() });
                }
                members[1] = member("b", HaRole::Leader, "running", 0, 0);
                members[1].timeline = TimelineId::new(4);
                members.remove(0);
            }
            Ok(HaCluster { members, paused: true, ..HaCluster::default() })
        }

        async fn member(&self, name: &str) -> Result<MemberStatus, HaError> {
            let told = self.is_told().min(1);
            match name {
                "a" => self.old[told].clone().ok_or(HaError::Unreachable { tried: Vec::new() }),
                _ => {
                    let (takes_writes, reached) = (Some(told > 0), self.reached);
                    Ok(MemberStatus { takes_writes, reached, ..MemberStatus::default() })
                }
            }
        }

        async fn branch(&self, _: TimelineId) -> Result<Option<Lsn>, HaError> {
            Ok(Some(Lsn(1000)))
        }

        async fn switchover(&self, _: &str, _: &str, _: Duration) -> Result<(), HaError> {
            *self.told.lock().unwrap() += 1;
            Ok(())
        }

        async fn failover(&self, _: &str, _: Duration) -> Result<(), HaError> {
            *self.told.lock().unwrap() += 1;
            Ok(())
        }

        async fn set_paused(&self, _: bool, _: Duration) -> Result<(), HaError> {
            Err(HaError::NoLeader)
        }

        async fn reinitialize(&self, _: &str, _: Duration) -> Result<(), HaError> {
            Err(HaError::NoLeader)
        }
    }

    fn says(takes_writes: bool) -> Option<MemberStatus> {
        let reached = Some(Lsn(1000));
        Some(MemberStatus { reached, takes_writes: Some(takes_writes), ..MemberStatus::default() })
    }

    async fn failed_over(script: &Scripted, even_if_well: bool) -> Result<ChangeReport, HaError> {
        let options = ChangeOptions::default().with_candidate(Some("b".to_owned())).with_even_if_well(even_if_well);
        let options = options.with_limit(Duration::from_secs(3));
        let plan = plan_failover(script, &options).await?;
        carry_out(script, &plan, options.limit).await
    }

    #[tokio::test]
    async fn what_a_lost_leader_had_is_not_known_and_it_may_take_writes() {
        let script = Scripted::default();
        let report = failed_over(&script, false).await.unwrap();
        assert_eq!((report.lost_bytes, report.leader_answered, report.certain_loss()), (Some(0), false, None));
        assert_eq!(report.unfenced.as_deref(), Some("a"));
        assert!(
            !report.is_clean() && report.findings.iter().any(|finding| finding.ends_with("fence it")),
            "{report:?}"
        );
    }

    #[tokio::test]
    async fn a_leader_that_is_well_is_replaced_only_where_that_is_asked_for() {
        let script = Scripted { old: [says(true), says(false)], ..Scripted::default() };
        assert!(matches!(failed_over(&script, false).await, Err(HaError::LeaderIsWell { .. })));
        assert_eq!(script.is_told(), 0);
        let report = failed_over(&script, true).await.unwrap();
        assert!(report.is_clean() && report.certain_loss().is_none(), "{report:?}");
    }

    #[tokio::test]
    async fn a_switchover_is_not_ordered_while_the_candidate_lacks_something() {
        let options = ChangeOptions::default().with_limit(Duration::from_secs(1));
        for (reached, ordered) in [(None, 0), (Some(Lsn(900)), 0), (Some(Lsn(1000)), 1)] {
            let script = Scripted { old: [says(true), says(false)], reached, ..Scripted::default() };
            let plan = plan_switchover(&script, &options.clone().with_candidate(Some("b".to_owned()))).await.unwrap();
            let changed = carry_out(&script, &plan, options.limit).await;
            assert_eq!(script.is_told(), ordered, "{changed:?}");
            assert_eq!(matches!(changed, Err(HaError::Lagging { limit: 0, .. })), ordered == 0, "{changed:?}");
        }
    }

    #[tokio::test]
    async fn two_that_take_writes_are_no_success() {
        let script = Scripted { old: [None, says(true)], ..Scripted::default() };
        let report = failed_over(&script, false).await.unwrap();
        assert_eq!((report.beside.as_slice(), report.is_clean()), (["a".to_owned()].as_slice(), false));
    }

    #[tokio::test]
    async fn a_question_that_fails_behind_an_order_is_asked_again() {
        let script = Scripted { old: [None, says(false)], failing: Mutex::new(5), ..Scripted::default() };
        let report = failed_over(&script, false).await.unwrap();
        assert_eq!((script.is_told(), report.new_leader.as_str()), (1, "b"));
        let script = Scripted { failing: Mutex::new(usize::MAX), ..Scripted::default() };
        assert!(matches!(failed_over(&script, false).await, Err(HaError::NotSettled { .. })));
    }

    #[test]
    fn who_leads_a_cluster_that_follows_another_keeps_its_timeline() {
        let mut plan = ChangePlan {
            kind: ChangeKind::Switchover,
            leader: Some("a".to_owned()),
            candidate: "b".to_owned(),
            timeline: TimelineId::new(3),
            announced: None,
            behind_bytes: None,
            paused: false,
            standby_cluster: true,
            already_done: false,
        };
        let mut cluster = HaCluster {
            members: vec![
                member("a", HaRole::Replica, "streaming", 0, 0),
                member("b", HaRole::StandbyLeader, "streaming", 0, 0),
            ],
            ..HaCluster::default()
        };
        assert_eq!(missing(&cluster, &plan).unwrap(), None);
        cluster.members[1].role = HaRole::Leader;
        plan.standby_cluster = false;
        assert!(missing(&cluster, &plan).unwrap().is_some());
    }

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
            standby_cluster: false,
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
