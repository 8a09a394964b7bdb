//! A cluster that nobody runs but us: its servers are asked and told by SQL, and their hosts by a [`HostControl`].

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::super::agent::patroni_runs;
use super::super::candidate::candidate;
use super::super::discover::{ClusterServer, discover};
use super::super::promotion::{point_standby, promote_standby};
use super::super::server::{Role, ask_server, within};
use super::super::shutdown::replayed_checkpoint;
use super::super::verdict::{Liveness, liveness};
use super::backend::HaBackend;
use super::cluster::{HaCluster, HaMember, HaRole, MemberStatus};
use super::error::HaError;
use crate::postgres::wal::TimelineHistory;
use crate::postgres::{ConnectionSettings, PostgresError};
use crate::types::{Lsn, TimelineId};

/// How long a server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the answer of a primary may take that a standby asks for.
const REPLY: Duration = Duration::from_secs(2);
/// How long it is waited before a server is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// What is done to hosts. Each returns when it is done.
#[async_trait]
pub trait HostControl: Send + Sync + fmt::Debug {
    /// Stops a server in order, as `pg_ctl stop -m fast` does, so that it stays stopped.
    ///
    /// # Errors
    /// If it may still run.
    async fn stop(&self, member: &str) -> io::Result<()>;

    /// Makes sure that a server is off and stays off, in whatever way.
    ///
    /// # Errors
    /// If it may still run.
    async fn fence(&self, member: &str) -> io::Result<()>;

    /// Starts a server that was stopped as what it was.
    ///
    /// # Errors
    /// If it does not start.
    async fn start(&self, member: &str) -> io::Result<()>;

    /// Starts a server that was stopped as a standby of another.
    ///
    /// # Errors
    /// If it does not start.
    async fn follow(&self, member: &str, leader: &str) -> io::Result<()>;
}

/// Servers that nobody runs but us.
///
/// There is no consensus: that two lead is prevented by fencing alone, and nobody is replaced unless it is told here.
#[derive(Debug)]
pub struct DirectBackend {
    servers: Vec<(String, ConnectionSettings)>,
    hosts: Arc<dyn HostControl>,
}

impl DirectBackend {
    /// Runs these servers, whose hosts are told what to do by `hosts`. Roles need `pg_monitor`, to promote `pg_promote`, and to have
    /// others follow a superuser.
    pub fn new(servers: Vec<(String, ConnectionSettings)>, hosts: Arc<dyn HostControl>) -> Self {
        Self { servers, hosts }
    }

    fn server(&self, name: &str) -> Result<&ConnectionSettings, HaError> {
        let found = self.servers.iter().find(|(found, _)| found == name).map(|(_, settings)| settings);
        found.ok_or_else(|| HaError::NoSuchMember {
            name: name.to_owned(),
            members: self.servers.iter().map(|(name, _)| name.clone()).collect(),
        })
    }

    fn others<'s>(&'s self, names: &'s [&str]) -> impl Iterator<Item = &'s (String, ConnectionSettings)> {
        self.servers.iter().filter(move |(name, _)| !names.contains(&name.as_str()))
    }

    /// Promotes a standby, and has the others follow it that are well.
    async fn promote(&self, candidate: &str, but: &[&str], limit: Duration) -> Result<(), HaError> {
        let settings = self.server(candidate)?;
        if !promote_standby(settings, limit).await? {
            let reason = "it was promoted, and is still in recovery".to_owned();
            return Err(HaError::NotReady { member: candidate.to_owned(), reason });
        }
        let port = settings.port_number().to_string();
        for (name, other) in self.others(but) {
            if let Err(error) = point_standby(other, settings.host(), &port).await {
                tracing::warn!(server = %name, %error, "it does not follow the new primary");
            }
        }
        Ok(())
    }

    /// Waits until the last that a standby has replayed is the checkpoint by which its primary ended: one behind `written`, which that
    /// primary had before it was stopped, and not the one of an earlier shutdown.
    async fn has_everything(&self, candidate: &str, written: Lsn, limit: Duration) -> Result<bool, HaError> {
        let settings = self.server(candidate)?;
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let last = replayed_checkpoint(settings, limit).await;
            if matches!(&last, Ok(last) if last.is_shutdown() && last.checkpoint >= written) {
                return Ok(true);
            }
            if tokio::time::Instant::now() >= deadline {
                return last.map(|_| false).map_err(HaError::from);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes sure that nobody leads beside a candidate.
    async fn fence_others(&self, candidate: &str) -> Result<(), HaError> {
        for (name, settings) in self.others(&[candidate]) {
            if liveness(settings, ANSWER).await == Liveness::Standby {
                continue;
            }
            self.hosts.fence(name).await.map_err(host_error(name, "fenced"))?;
            if matches!(liveness(settings, ANSWER).await, Liveness::Primary | Liveness::Answers { .. }) {
                let reason = "it was fenced, and answers".to_owned();
                return Err(HaError::Host { member: name.clone(), action: "fenced", reason });
            }
        }
        Ok(())
    }

    /// Waits until a standby hears nothing from its primary any more: while it does, somebody can still write there.
    async fn wait_until_deaf(&self, candidate: &str, limit: Duration) -> Result<(), HaError> {
        let settings = self.server(candidate)?;
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let state = ask_server(settings, ANSWER).await?;
            if !state.follows.as_ref().is_some_and(|followed| followed.hears(REPLY)) {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                let reason = "it still hears from its primary".to_owned();
                return Err(HaError::NotReady { member: candidate.to_owned(), reason });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Refuses to decide beside Patroni.
    async fn refuse_patroni(&self, names: &[&str]) -> Result<(), HaError> {
        for name in names {
            if patroni_runs(self.server(name)?, ANSWER).await? {
                let reason = "Patroni runs it, and decides who leads".to_owned();
                return Err(HaError::NotReady { member: (*name).to_owned(), reason });
            }
        }
        Ok(())
    }

    fn unsupported(&self, what: &'static str) -> HaError {
        HaError::Unsupported { backend: self.name(), what }
    }
}

#[async_trait]
impl HaBackend for DirectBackend {
    fn name(&self) -> String {
        let names: Vec<&str> = self.servers.iter().map(|(name, _)| name.as_str()).collect();
        format!("the servers {}", names.join(", "))
    }

    async fn cluster(&self) -> Result<HaCluster, HaError> {
        let topology = discover(&self.servers, ANSWER).await;
        let leaders: Vec<String> = topology.primaries().map(|(server, _)| server.name.clone()).collect();
        let systems: BTreeSet<u64> =
            topology.servers.iter().filter_map(|server| Some(server.state.as_ref()?.system_identifier)).collect();
        if systems.len() > 1 {
            let reason = "they are of several clusters, by their system identifiers".to_owned();
            return Err(HaError::Setting { what: self.name(), reason });
        }
        if leaders.len() > 1 {
            return Err(HaError::Ambiguous { leaders });
        }
        if topology.servers.iter().all(|server| server.state.is_none()) {
            return Err(HaError::Unreachable { tried: topology.findings });
        }
        let written = topology.primaries().find_map(|(_, state)| state.written);
        let announced = candidate(&topology).and_then(|candidate| candidate.announced);
        let members = topology.servers.iter().zip(&self.servers);
        let mut members: Vec<HaMember> =
            members.map(|(server, (_, settings))| member_of(server, settings, written.or(announced))).collect();
        members.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(HaCluster { members, ..HaCluster::default() })
    }

    async fn member(&self, name: &str) -> Result<MemberStatus, HaError> {
        let state = ask_server(self.server(name)?, ANSWER).await?;
        let takes_writes = Some(state.role != Role::Standby);
        let (reached, newest_commit) = (state.reached(), state.newest_commit);
        Ok(MemberStatus { reached, newest_commit, takes_writes, ..MemberStatus::default() })
    }

    async fn branch(&self, timeline: TimelineId) -> Result<Option<Lsn>, HaError> {
        let cluster = self.cluster().await?;
        let leader = cluster.leader().ok_or(HaError::NoLeader)?;
        let Some(now) = leader.timeline.filter(|now| *now > timeline) else { return Ok(None) };
        let history = read_history(self.server(&leader.name)?, now).await?;
        Ok(history.ancestors.iter().find(|switch| switch.timeline == timeline).map(|switch| switch.position))
    }

    async fn switchover(&self, leader: &str, candidate: &str, limit: Duration) -> Result<(), HaError> {
        self.refuse_patroni(&[leader, candidate]).await?;
        let written = ask_server(self.server(leader)?, ANSWER).await?.written.ok_or_else(|| HaError::NotReady {
            member: leader.to_owned(),
            reason: "it does not say how far it has written".to_owned(),
        })?;
        self.hosts.stop(leader).await.map_err(host_error(leader, "stopped"))?;
        // A part of the time is left for the way back.
        match self.has_everything(candidate, written, limit / 2).await {
            Ok(true) => {}
            missing => {
                self.hosts.start(leader).await.map_err(host_error(leader, "started again"))?;
                missing?;
                let reason = "the last that its primary wrote has not arrived".to_owned();
                return Err(HaError::NotReady { member: candidate.to_owned(), reason });
            }
        }
        // Until it is told to lead, the old leader can take over again.
        if let Err(error) = ask_server(self.server(candidate)?, ANSWER).await {
            self.hosts.start(leader).await.map_err(host_error(leader, "started again"))?;
            return Err(error.into());
        }
        if let Err(error) = self.promote(candidate, &[candidate, leader], limit).await {
            // It may lead now, or in a moment: beside it nobody may be started.
            let reason = format!("it is off, and stays off: {candidate} was told to lead, and may do so: {error}");
            return Err(HaError::Host { member: leader.to_owned(), action: "started again", reason });
        }
        self.hosts.follow(leader, candidate).await.map_err(host_error(leader, "started as a standby"))
    }

    async fn failover(&self, candidate: &str, limit: Duration) -> Result<(), HaError> {
        self.refuse_patroni(&[candidate]).await?;
        self.fence_others(candidate).await?;
        self.wait_until_deaf(candidate, limit).await?;
        self.promote(candidate, &[candidate], limit).await
    }

    fn fences(&self) -> bool {
        true
    }

    async fn set_paused(&self, _paused: bool, _limit: Duration) -> Result<(), HaError> {
        Err(self.unsupported("be paused: nobody replaces a primary by itself here"))
    }

    async fn reinitialize(&self, _member: &str, _limit: Duration) -> Result<(), HaError> {
        Err(self.unsupported("make a standby anew: restore it, or copy its primary"))
    }
}

fn member_of(server: &ClusterServer, settings: &ConnectionSettings, announced: Option<Lsn>) -> HaMember {
    let state = server.state.as_ref();
    let leads = state.is_some_and(|state| state.role != Role::Standby);
    let said = match state {
        None => "no answer",
        Some(_) if leads => "running",
        Some(state) if state.follows.as_ref().is_some_and(|followed| followed.is_streaming()) => "streaming",
        Some(_) => "in archive recovery",
    };
    let reached = state.and_then(|state| state.reached()).filter(|_| !leads);
    HaMember {
        name: server.name.clone(),
        role: if leads { HaRole::Leader } else { HaRole::Replica },
        state: said.to_owned(),
        host: Some(settings.host().to_owned()),
        port: Some(settings.port_number()),
        timeline: state.map(|state| state.timeline),
        reached,
        behind_bytes: announced.or(reached).zip(reached).map(|(told, reached)| told.0.saturating_sub(reached.0)),
        may_lead: true,
        pending_restart: false,
        interface: None,
    }
}

/// Reads the history of a timeline from a server.
async fn read_history(server: &ConnectionSettings, timeline: TimelineId) -> Result<TimelineHistory, PostgresError> {
    let asked = async {
        let client = server.clone().connect_timeout(ANSWER).connect().await?;
        let sql = format!("SELECT pg_catalog.pg_read_file('pg_wal/{:08X}.history')", timeline.get());
        let read = client.query_one(&sql, &[]).await.map_err(client.query_error("read its history"));
        client.close().await;
        let text: String = read?.get(0);
        TimelineHistory::parse(timeline, text.as_bytes()).map_err(|source| PostgresError::Query {
            server: server.to_string(),
            action: "read its history".to_owned(),
            source: source.into(),
        })
    };
    within(server, ANSWER, asked).await
}

fn host_error(member: &str, action: &'static str) -> impl FnOnce(io::Error) -> HaError {
    let member = member.to_owned();
    move |error| HaError::Host { member, action, reason: error.to_string() }
}
