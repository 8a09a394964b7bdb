//! The repositories of clusters are opened, several at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use erpgo_dr_core::agent::{AgentOptions, AgentPlan};
use erpgo_dr_core::types::RepositoryId;
use tokio::sync::Semaphore;

use super::super::agent::{options, plan_of};
use super::super::monitor::Watched;
use super::answered;
use super::clusters::Cluster;
use crate::error::CliError;

/// Repositories that are opened at once: one that does not answer keeps only those behind it waiting.
const AT_ONCE: usize = 8;

/// What an agent needs of a cluster.
pub(super) struct Opened {
    pub(super) plan: AgentPlan,
    pub(super) options: AgentOptions,
    pub(super) watched: Arc<Watched>,
}

/// Which repository is whose: two clusters may not have one, by whichever address.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<RepositoryId, String>);

impl Owners {
    /// Returns a repository for its first cluster, and a refusal for any other.
    pub(super) fn admit(&mut self, name: &str, opened: Result<Opened, String>) -> Result<Opened, String> {
        let opened = opened?;
        let owner = self.0.entry(opened.plan.repository.settings().id.clone()).or_insert_with(|| name.to_owned());
        if owner == name { Ok(opened) } else { Err(twin(owner)) }
    }
}

/// Says that a repository is another cluster's.
pub(super) fn twin(owner: &str) -> String {
    format!("it has the repository of {owner}, or a copy of it: each cluster has one of its own")
}

/// Opens as many at once as is good.
#[derive(Debug)]
pub(super) struct Openings(Semaphore);

impl Default for Openings {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Openings {
    /// Opens a cluster's repository, and makes its jobs. Returns its name with it, or with what is wrong.
    pub(super) async fn open(&self, name: String, cluster: Cluster) -> (String, Result<Opened, String>) {
        let _place = self.0.acquire().await;
        (name, answered(opened(cluster)).await)
    }
}

async fn opened(cluster: Cluster) -> Result<Opened, CliError> {
    let cluster = cluster?;
    let plan = plan_of(&cluster).await?;
    let watched = Watched::of_agent(&cluster, Arc::clone(&plan.repository))?;
    Ok(Opened { options: options(&cluster)?, plan, watched: Arc::new(watched) })
}
