//! Agents of several clusters in one process, which share [`Turns`].

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tracing::Instrument as _;

use super::{Agent, AgentControl, AgentError, AgentOptions, AgentPlan, AgentReport, AgentState, Turns};
use crate::causes::chain;
use crate::repository::RunResult;

/// Agents by the names of their clusters. Each has a repository of its own, and what goes wrong with one is no business of the others.
///
/// Dropping it leaves jobs as a crash does; [`Fleet::stop`] lets them end.
#[derive(Debug)]
pub struct Fleet {
    turns: Turns,
    members: BTreeMap<String, Member>,
    names: HashMap<Id, String>,
    tasks: JoinSet<Result<AgentReport, AgentError>>,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Member {
    task: Id,
    control: AgentControl,
    state: watch::Receiver<AgentState>,
    stop: watch::Sender<bool>,
}

/// What became of an agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FleetReport {
    /// The cluster.
    pub cluster: String,
    /// Why it could not begin, or broke off; `None` where it ended as it should.
    pub error: Option<String>,
    /// What it did.
    #[serde(flatten)]
    pub report: Option<AgentReport>,
}

impl FleetReport {
    /// An agent that could not begin.
    pub fn failed(cluster: impl Into<String>, error: impl Into<String>) -> Self {
        Self { cluster: cluster.into(), error: Some(error.into()), report: None }
    }

    /// Returns whether nothing failed, found something bad, or was given up.
    pub fn is_well(&self) -> bool {
        self.error.is_none() && self.report.as_ref().is_none_or(AgentReport::is_well)
    }

    /// Returns whether a job was given up because the agent was told to stop.
    pub fn gave_up(&self) -> bool {
        let runs = self.report.iter().flat_map(|report| &report.runs);
        self.error.is_some() || runs.into_iter().any(|run| run.result() == Some(RunResult::Interrupted))
    }
}

impl Fleet {
    /// Has so many jobs run at once, of all clusters together.
    pub fn new(jobs: NonZeroUsize) -> Self {
        Self {
            turns: Turns::new(jobs),
            members: BTreeMap::new(),
            names: HashMap::new(),
            tasks: JoinSet::new(),
            stop: watch::Sender::new(false),
        }
    }

    /// Starts the agent of a cluster, in the place of one that it may have: that one is told to stop, and the new one acts when it has.
    pub fn start(&mut self, cluster: &str, plan: AgentPlan, options: AgentOptions) {
        self.dismiss(cluster);
        let agent = Agent::new(plan, options.with_turns(Some(self.turns.clone())));
        let (control, state, stop) = (agent.control(), agent.state(), watch::Sender::new(false));
        let (all, one) = (told(self.stop.subscribe()), told(stop.subscribe()));
        let told = async move {
            tokio::select! {
                () = all => {}
                () = one => {}
            }
        };
        let task = self.tasks.spawn(async move { Ok(agent.run(told).await) }.instrument(span(cluster))).id();
        self.names.insert(task, cluster.to_owned());
        self.members.insert(cluster.to_owned(), Member { task, control, state, stop });
    }

    /// Has a cluster's agent do what is due now, and end.
    pub fn start_once(&mut self, cluster: &str, plan: AgentPlan, options: AgentOptions) {
        let agent = Agent::new(plan, options.with_turns(Some(self.turns.clone())));
        let told = told(self.stop.subscribe());
        let task = self.tasks.spawn(async move { agent.once(told).await }.instrument(span(cluster))).id();
        self.names.insert(task, cluster.to_owned());
    }

    /// Returns what tells the agent of a cluster of a new configuration.
    pub fn control(&self, cluster: &str) -> Option<&AgentControl> {
        self.members.get(cluster).map(|member| &member.control)
    }

    /// Returns how the agent of a cluster stands.
    pub fn state(&self, cluster: &str) -> Option<&watch::Receiver<AgentState>> {
        self.members.get(cluster).map(|member| &member.state)
    }

    /// Returns whether no agent runs, also none that was told to stop.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Returns how the agents stand, by the names of their clusters.
    pub fn states(&self) -> impl Iterator<Item = (&str, &watch::Receiver<AgentState>)> {
        self.members.iter().map(|(name, member)| (name.as_str(), &member.state))
    }

    /// Tells the agent of a cluster to stop, if there is one. [`Fleet::ended`] tells when it has.
    pub fn dismiss(&mut self, cluster: &str) {
        if let Some(member) = self.members.remove(cluster) {
            member.stop.send_replace(true);
        }
    }

    /// Waits for the end of an agent; `None` when there is none.
    ///
    /// One that ends unasked has failed in a way it did not expect, and may be started again.
    pub async fn ended(&mut self) -> Option<FleetReport> {
        let (task, outcome) = match self.tasks.join_next_with_id().await? {
            Ok((task, outcome)) => (task, outcome.map_err(|error| chain(&error))),
            Err(error) => (error.id(), Err(format!("its agent failed in a way it did not expect: {error}"))),
        };
        let cluster = self.names.remove(&task).unwrap_or_default();
        self.members.retain(|_, member| member.task != task);
        Some(match outcome {
            Ok(report) => FleetReport { cluster, error: None, report: Some(report) },
            Err(error) => FleetReport::failed(cluster, error),
        })
    }

    /// Tells all to stop. Jobs that run may go on for [`AgentOptions::grace`].
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// Has what is logged of an agent name its cluster.
fn span(cluster: &str) -> tracing::Span {
    tracing::error_span!("cluster", name = cluster)
}

/// Waits for the word; for ever where whoever could say it has gone.
async fn told(mut word: watch::Receiver<bool>) {
    if word.wait_for(|told| *told).await.is_err() {
        std::future::pending::<()>().await;
    }
}
