//! A cluster as whoever runs it sees it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::error::HaError;
use crate::types::{Lsn, TimelineId};

/// A cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HaCluster {
    /// Its name, where it has one.
    pub scope: Option<String>,
    /// Its members, in the order of names.
    pub members: Vec<HaMember>,
    /// Whether nobody is replaced by itself.
    pub paused: bool,
    /// A switchover that is to come.
    pub scheduled: Option<ScheduledSwitchover>,
}

/// A server of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HaMember {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: HaRole,
    /// What its server does: `running`, `streaming`, `creating replica`, `start failed`...
    pub state: String,
    /// Where its server listens.
    pub host: Option<String>,
    /// The port there.
    pub port: Option<u16>,
    /// Its timeline.
    pub timeline: Option<TimelineId>,
    /// How far a follower has the log.
    pub reached: Option<Lsn>,
    /// Bytes that a follower does not have of what the leader has told.
    pub behind_bytes: Option<u64>,
    /// Whether it may lead.
    pub may_lead: bool,
    /// Whether a setting waits for a restart.
    pub pending_restart: bool,
    /// Where it is asked.
    #[serde(skip)]
    pub(super) interface: Option<String>,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HaRole {
    /// It takes writes.
    Leader,
    /// It leads a cluster that follows another cluster.
    StandbyLeader,
    /// Commits wait for it.
    SynchronousStandby,
    /// Commits wait for it, or for another of its kind.
    QuorumStandby,
    /// It follows.
    Replica,
}

/// A switchover that is to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ScheduledSwitchover {
    /// When.
    pub at: String,
    /// Who leads until then.
    pub from: Option<String>,
    /// Who leads from then on.
    pub to: Option<String>,
}

/// How far one member is, by its own word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemberStatus {
    /// When its server was started, as it says it: another text is another start.
    pub started: Option<String>,
    /// How far it has written, or received.
    pub reached: Option<Lsn>,
    /// When the newest transaction was committed that a follower has replayed, by the clock of its leader.
    pub newest_commit: Option<DateTime<Utc>>,
    /// Whether it knows that nobody is to be replaced by itself.
    pub paused: bool,
    /// Whether its server takes writes, whoever leads: two that do are two histories. None where it does not say.
    pub takes_writes: Option<bool>,
}

impl HaRole {
    /// Returns whether it leads.
    pub fn leads(self) -> bool {
        matches!(self, Self::Leader | Self::StandbyLeader)
    }

    /// Returns whether commits wait for it.
    pub fn is_synchronous(self) -> bool {
        matches!(self, Self::SynchronousStandby | Self::QuorumStandby)
    }

    /// Returns the role in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::StandbyLeader => "standby leader",
            Self::SynchronousStandby => "sync standby",
            Self::QuorumStandby => "quorum standby",
            Self::Replica => "replica",
        }
    }
}

impl HaMember {
    /// Returns whether its server leads and works.
    pub fn is_well_leader(&self) -> bool {
        self.role.leads() && matches!(self.state.as_str(), "running" | "streaming")
    }

    /// Returns whether it receives from a leader of this timeline.
    pub fn follows(&self, leader: &Self) -> bool {
        let works = matches!(self.state.as_str(), "streaming" | "running");
        !self.role.leads() && works && self.timeline == leader.timeline
    }

    /// Returns whether it could take over.
    pub(super) fn is_ready(&self) -> bool {
        let works = matches!(self.state.as_str(), "streaming" | "running" | "in archive recovery");
        !self.role.leads() && works && self.may_lead
    }
}

impl HaCluster {
    /// Returns the member that leads.
    pub fn leader(&self) -> Option<&HaMember> {
        self.members.iter().find(|member| member.role.leads())
    }

    /// Returns the timeline that a new leader must come from: the leader's, or the newest of all where that is not known. Positions of the
    /// log on others say nothing of how much a member has.
    pub fn timeline(&self) -> Option<TimelineId> {
        let newest = || self.members.iter().filter_map(|member| member.timeline).max();
        self.leader().and_then(|leader| leader.timeline).or_else(newest)
    }

    /// Returns a member.
    ///
    /// # Errors
    /// [`HaError::NoSuchMember`] with the names that there are.
    pub fn member(&self, name: &str) -> Result<&HaMember, HaError> {
        let found = self.members.iter().find(|member| member.name == name);
        found.ok_or_else(|| HaError::NoSuchMember {
            name: name.to_owned(),
            members: self.members.iter().map(|member| member.name.clone()).collect(),
        })
    }

    /// Returns how far the log is that the leader has told of, by what followers have and miss of it.
    pub fn announced(&self) -> Option<Lsn> {
        let told = |member: &HaMember| Some(Lsn(member.reached?.0.saturating_add(member.behind_bytes?)));
        self.members.iter().filter_map(told).max()
    }

    /// Says what is wrong, in words. Nothing: one leads, all others follow and miss at most `max_lag` bytes. That it is paused is said
    /// too, unless that is as it should be.
    pub fn findings(&self, max_lag: u64, may_be_paused: bool) -> Vec<String> {
        let mut findings = Vec::new();
        let leader = self.leader();
        match leader {
            None => findings.push("nobody leads".to_owned()),
            Some(leader) if !leader.is_well_leader() => {
                findings.push(format!("{} leads, and its server is {}", leader.name, leader.state));
            }
            Some(_) => {}
        }
        if self.paused && !may_be_paused {
            findings.push("it is paused: a leader that is lost is replaced by nobody".to_owned());
        }
        for member in self.members.iter().filter(|member| !member.role.leads()) {
            let name = &member.name;
            match leader {
                Some(leader) if !member.follows(leader) => {
                    let timeline = member.timeline.map_or_else(|| "none".to_owned(), |timeline| timeline.to_string());
                    findings.push(format!("{name} does not follow: it is {}, timeline {timeline}", member.state));
                }
                _ => match member.behind_bytes {
                    Some(behind) if behind > max_lag => findings.push(format!("{name} is {behind} bytes behind")),
                    Some(_) => {}
                    None => findings.push(format!("how far {name} is, is not known")),
                },
            }
        }
        findings
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn member(name: &str, role: HaRole, state: &str, reached: u64, behind: u64) -> HaMember {
        HaMember {
            name: name.to_owned(),
            role,
            state: state.to_owned(),
            host: None,
            port: None,
            timeline: TimelineId::new(3),
            reached: Some(Lsn(reached)),
            behind_bytes: (!role.leads()).then_some(behind),
            may_lead: true,
            pending_restart: false,
            interface: None,
        }
    }

    #[test]
    fn what_is_wrong_in_a_cluster_is_said() {
        let leader = member("a", HaRole::Leader, "running", 0, 0);
        let mut cluster = HaCluster {
            members: vec![leader.clone(), member("b", HaRole::Replica, "streaming", 900, 100)],
            ..HaCluster::default()
        };
        assert_eq!(cluster.findings(100, false), [""; 0]);
        assert_eq!(cluster.announced(), Some(Lsn(1000)));
        assert_eq!(cluster.findings(99, false), ["b is 100 bytes behind"]);
        cluster.paused = true;
        assert!(cluster.findings(100, true).is_empty() && cluster.findings(100, false)[0].starts_with("it is paused"));
        cluster.members[1].timeline = TimelineId::new(2);
        assert_eq!(cluster.findings(100, true), ["b does not follow: it is streaming, timeline 2"]);
        cluster.members.remove(0);
        assert_eq!(cluster.findings(100, true), ["nobody leads"]);
        cluster.members[0].behind_bytes = None;
        assert_eq!(cluster.findings(100, true), ["nobody leads", "how far b is, is not known"]);
        let crashed = HaMember { state: "crashed".to_owned(), ..leader };
        cluster.members = vec![crashed];
        assert_eq!(cluster.findings(0, true), ["a leads, and its server is crashed"]);
        assert_eq!(cluster.timeline(), TimelineId::new(3));
        assert!(matches!(cluster.member("z"), Err(HaError::NoSuchMember { members, .. }) if members == ["a"]));
    }
}
