//! `fleet status`: could we restore right now, cluster by cluster?

use clap::Args;
use erpgo_dr_core::ops::WindowMemory;
use futures::StreamExt as _;
use serde::Serialize;

use super::super::status::{Health, health};
use super::clusters::{self, Cluster};
use super::owners::Owners;
use super::{AT_ONCE, FolderArgs, answered};
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Align, Report, Table, moment, seconds};

/// Say of each cluster whether one could restore it right now, to which moment, and how long it would take
///
/// Ends with exit code 1 when one is not healthy, or cannot be asked.
#[derive(Debug, Args)]
pub(super) struct FleetStatusArgs {
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Serialize)]
struct FleetHealth {
    clusters: Vec<ClusterHealth>,
}

#[derive(Serialize)]
struct ClusterHealth {
    cluster: String,
    healthy: bool,
    /// Why it cannot be asked.
    error: Option<String>,
    /// What `status` says of it.
    status: Option<Health>,
}

impl FleetStatusArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        context.prompts.ask_nobody();
        let clusters = clusters::read(context, &self.folder.folder(context)?)?;
        let asked = futures::stream::iter(clusters).map(|(cluster, read)| async {
            let (status, error) = match answered(ask(read)).await {
                Ok(status) => (Some(status), None),
                Err(error) => (None, Some(error)),
            };
            let healthy = status.as_ref().is_some_and(|status| status.healthy);
            ClusterHealth { cluster, healthy, error, status }
        });
        let mut clusters: Vec<ClusterHealth> = asked.buffer_unordered(AT_ONCE).collect().await;
        clusters.sort_by(|one, other| one.cluster.cmp(&other.cluster));
        let mut owners = Owners::default();
        for found in &mut clusters {
            let Some(status) = &found.status else { continue };
            if let Err(error) = owners.admit(&found.cluster, &status.status.repository) {
                (found.healthy, found.error, found.status) = (false, Some(error), None);
            }
        }
        // What needs somebody comes first.
        clusters.sort_by(|one, other| (one.healthy, &one.cluster).cmp(&(other.healthy, &other.cluster)));
        let ok = clusters.iter().all(|cluster| cluster.healthy);
        let found = FleetHealth { clusters };
        Report::new(&found, render(&found.clusters), ok)
    }
}

async fn ask(cluster: Cluster) -> Result<Health, CliError> {
    let context = cluster?;
    let places = context.places()?;
    let repository = context.open_at(&places, Access::Unlocked).await?;
    health(&context, &places, &repository, context.max_age()?, &WindowMemory::default()).await
}

fn render(clusters: &[ClusterHealth]) -> String {
    let well = clusters.iter().filter(|cluster| cluster.healthy).count();
    let columns = ["CLUSTER", "STATE", "NEWEST PROVEN BACKUP", "RPO", "RTO"].map(|name| (name, Align::Left));
    let mut table = Table::new(columns);
    let mut errors = String::new();
    for cluster in clusters {
        let state = match (&cluster.status, cluster.healthy) {
            (None, _) => "UNKNOWN",
            (_, false) => "UNHEALTHY",
            (_, true) => "healthy",
        };
        let status = cluster.status.as_ref().map(|health| &health.status);
        let proven = status.and_then(|status| status.latest_proven.as_ref());
        let time = |value: Option<f64>| value.map(seconds).unwrap_or_default();
        table.row([
            cluster.cluster.clone(),
            state.to_owned(),
            proven.map_or_else(|| "none".to_owned(), |proven| moment(proven.created)),
            time(status.and_then(|status| status.rpo_seconds)),
            time(status.and_then(|status| status.rto_seconds)),
        ]);
        errors.extend(cluster.error.iter().map(|error| format!("{}: {error}\n", cluster.cluster)));
    }
    format!("{well} of {} clusters healthy\n{}{errors}", clusters.len(), table.render())
}
