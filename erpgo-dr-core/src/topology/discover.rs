//! All servers of a cluster at once, and what is wrong between them.

use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;

use super::server::{Followed, Role, ServerState, ask_server};
use crate::causes::chain;
use crate::postgres::ConnectionSettings;

/// A server that was asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClusterServer {
    /// What the caller calls it.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// What it said.
    pub state: Option<ServerState>,
    /// Why it said nothing.
    pub error: Option<String>,
}

/// The servers of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Topology {
    /// Each server, in the order in which they were named.
    pub servers: Vec<ClusterServer>,
    /// What is wrong, in words. Empty: one primary, which all others follow.
    pub findings: Vec<String>,
}

/// Asks all servers at the same time; `limit` is for each.
pub async fn discover(servers: &[(String, ConnectionSettings)], limit: Duration) -> Topology {
    let asked = servers.iter().map(|(name, settings)| async move {
        let (state, error) = match ask_server(settings, limit).await {
            Ok(state) => (Some(state), None),
            Err(error) => (None, Some(chain(&error))),
        };
        ClusterServer { name: name.clone(), address: settings.to_string(), state, error }
    });
    Topology::new(join_all(asked).await)
}

impl Topology {
    /// Looks at what servers said.
    pub fn new(servers: Vec<ClusterServer>) -> Self {
        let mut topology = Self { servers, findings: Vec::new() };
        topology.findings = topology.find();
        topology
    }

    /// Lists the servers that take writes.
    pub fn primaries(&self) -> impl Iterator<Item = (&ClusterServer, &ServerState)> {
        self.with_role(|role| role != Role::Standby)
    }

    /// Lists the standbys that answered.
    pub fn standbys(&self) -> impl Iterator<Item = (&ClusterServer, &ServerState)> {
        self.with_role(|role| role == Role::Standby)
    }

    fn with_role(&self, is: impl Fn(Role) -> bool) -> impl Iterator<Item = (&ClusterServer, &ServerState)> {
        let answered = self.servers.iter().filter_map(|server| Some((server, server.state.as_ref()?)));
        answered.filter(move |(_, state)| is(state.role))
    }

    fn find(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for server in &self.servers {
            if let Some(error) = &server.error {
                findings.push(format!("{} does not answer: {error}", server.name));
            }
        }
        let names: Vec<&str> = self.primaries().map(|(server, _)| server.name.as_str()).collect();
        match names.as_slice() {
            [] => findings.push("no server takes writes".to_owned()),
            [_] => {}
            names => findings.push(format!("more than one server takes writes: {}", names.join(", "))),
        }
        let mut systems: Vec<u64> =
            self.servers.iter().filter_map(|server| Some(server.state.as_ref()?.system_identifier)).collect();
        systems.sort_unstable();
        systems.dedup();
        if systems.len() > 1 {
            let systems: Vec<String> = systems.iter().map(u64::to_string).collect();
            findings.push(format!("they are not of one cluster: {}", systems.join(", ")));
        }
        for (server, state) in self.standbys() {
            match &state.follows {
                None => findings.push(format!("{} is a standby, and receives from nobody", server.name)),
                Some(Followed { status: None, .. }) => {
                    findings
                        .push(format!("{} does not say whether it receives: the role needs pg_monitor", server.name));
                }
                Some(followed) if !followed.is_streaming() => {
                    let status = followed.status.as_deref().unwrap_or_default();
                    findings.push(format!("{} receives nothing: its receiver is {status}", server.name));
                }
                Some(_) => {}
            }
        }
        if let Some((primary, state)) = self.primaries().next() {
            let lagging = self.standbys().filter(|(_, standby)| standby.timeline != state.timeline);
            findings.extend(lagging.map(|(server, standby)| {
                format!(
                    "{} is on timeline {}, and {} on {}",
                    server.name, standby.timeline, primary.name, state.timeline
                )
            }));
        }
        findings
    }
}
