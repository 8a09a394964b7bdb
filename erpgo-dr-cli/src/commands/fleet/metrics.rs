//! `fleet metrics`: what is known of all clusters, as Prometheus reads it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use erpgo_dr_core::monitor::{ClusterFacts, Facts, FleetFacts};
use futures::StreamExt as _;

use super::super::monitor::{Watched, write_text};
use super::clusters::{self, Cluster};
use super::owners::Owners;
use super::{AT_ONCE, FolderArgs, answered};
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Write metrics of all clusters as Prometheus reads them, each with the label cluster_name
#[derive(Debug, Args)]
pub(super) struct FleetMetricsArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// A file to write in one step, for the textfile collector of the node exporter [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl FleetMetricsArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        context.prompts.ask_nobody();
        let clusters = clusters::read(context, &self.folder.folder(context)?)?;
        let asked = futures::stream::iter(clusters).map(|(name, cluster)| async {
            let facts = answered(async { observe(cluster).await }).await;
            let (facts, error) = facts.map_or_else(|error| (None, Some(error)), |facts| (Some(facts), None));
            (name, ClusterFacts::new(facts, error))
        });
        let mut clusters: BTreeMap<String, ClusterFacts> = asked.buffer_unordered(AT_ONCE).collect().await;
        let mut owners = Owners::default();
        for (name, cluster) in &mut clusters {
            let Some(facts) = &cluster.facts else { continue };
            if let Err(error) = owners.admit(name, &facts.status.repository) {
                *cluster = ClusterFacts::new(None, Some(error));
            }
        }
        let facts = FleetFacts::new(clusters);
        let (text, ok) = (facts.to_openmetrics(), facts.clusters.values().all(|cluster| cluster.error.is_none()));
        let Some(path) = self.output else { return Report::new(&facts, text, ok) };
        write_text(&path, true, &text).await?;
        Report::new(&facts, format!("metrics are in {}\n", path.display()), ok)
    }
}

async fn observe(cluster: Cluster) -> Result<Arc<Facts>, CliError> {
    let watched = Watched::open(&cluster?).await?;
    Ok(Arc::new(watched.observe().await?))
}
