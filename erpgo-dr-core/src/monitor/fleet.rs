//! What is known of several clusters, each with a repository of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::Facts;

/// Says why facts are not to be relied on, if there is a reason.
pub(super) type Doubt<'a> = &'a dyn Fn(&Facts) -> Option<&'static str>;

/// What is known of several clusters.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct FleetFacts {
    /// Each cluster, by its name.
    pub clusters: BTreeMap<String, ClusterFacts>,
}

/// What is known of a cluster of a fleet.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ClusterFacts {
    /// Why nothing newer is known: its configuration is wrong, or its repository does not answer.
    pub error: Option<String>,
    /// What was found last; `None` before the first answer.
    #[serde(serialize_with = "as_plain")]
    pub facts: Option<Arc<Facts>>,
}

impl FleetFacts {
    /// Returns what is known of these clusters.
    pub fn new(clusters: BTreeMap<String, ClusterFacts>) -> Self {
        Self { clusters }
    }

    /// Returns whether all clusters are well. Where there is none, nothing is known to be.
    pub fn is_healthy(&self) -> bool {
        !self.clusters.is_empty() && self.clusters.values().all(ClusterFacts::is_healthy)
    }

    /// Returns the facts that there are.
    pub(super) fn known(&self) -> impl Iterator<Item = &Facts> {
        self.clusters.values().filter_map(|cluster| cluster.facts.as_deref())
    }

    /// Returns how many clusters are well by facts that can be relied on.
    pub(super) fn well(&self, doubt: Doubt<'_>) -> usize {
        self.clusters.values().filter(|cluster| cluster.is_well(doubt)).count()
    }
}

impl ClusterFacts {
    /// Returns what is known of a cluster: what was found last, and why nothing newer was.
    pub fn new(facts: Option<Arc<Facts>>, error: Option<String>) -> Self {
        Self { error, facts }
    }

    /// Returns whether its repository answers, one could restore now, and its agent, if there is one, has raised no alarm.
    pub fn is_healthy(&self) -> bool {
        let is_calm = |facts: &Facts| facts.agent.as_ref().is_none_or(|agent| agent.alarms.is_empty());
        self.is_up() && self.facts.as_deref().is_some_and(|facts| facts.healthy && is_calm(facts))
    }

    /// Returns whether facts are known, and nothing keeps newer ones away.
    pub(super) fn is_up(&self) -> bool {
        self.error.is_none() && self.facts.is_some()
    }

    /// Returns why what is known is not to be relied on, if there is a reason.
    pub(super) fn doubted(&self, doubt: Doubt<'_>) -> Option<&str> {
        self.error.as_deref().or_else(|| doubt(self.facts.as_deref()?))
    }

    /// Returns whether it is healthy by facts that can be relied on.
    pub(super) fn is_well(&self, doubt: Doubt<'_>) -> bool {
        self.is_healthy() && self.doubted(doubt).is_none()
    }
}

fn as_plain<S: Serializer>(facts: &Option<Arc<Facts>>, serializer: S) -> Result<S::Ok, S::Error> {
    facts.as_deref().serialize(serializer)
}
