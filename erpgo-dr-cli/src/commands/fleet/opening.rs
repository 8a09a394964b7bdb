//! The repositories of clusters are opened, several at once.

use std::sync::Arc;

use erpgo_dr_core::agent::{AgentOptions, AgentPlan};
use tokio::sync::Semaphore;

use super::super::agent::{options, plan_of};
use super::super::monitor::Watched;
use super::answered;
use super::clusters::Cluster;
use super::owners::Owners;
use crate::error::CliError;

/// Repositories that are opened at once: one that does not answer keeps only those behind it waiting.
const AT_ONCE: usize = 8;

/// What an agent needs of a cluster.
pub(super) struct Opened {
    pub(super) plan: AgentPlan,
    pub(super) options: AgentOptions,
    pub(super) watched: Arc<Watched>,
}

impl Opened {
    /// Returns it, unless its repository is another cluster's.
    pub(super) fn admitted(self, cluster: &str, owners: &mut Owners) -> Result<Self, String> {
        owners.admit(cluster, &self.plan.repository.settings().id)?;
        Ok(self)
    }
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
