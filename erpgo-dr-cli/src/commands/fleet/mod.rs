//! `fleet`: many clusters in one process, a configuration file and a repository each.

mod agent;
mod clusters;
mod metrics;
mod opening;
mod owners;
mod service;
mod status;
mod watching;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use erpgo_dr_core::agent::FleetReport;
use serde::Serialize;

use super::history::line_of;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Look after many clusters: one agent for all of them, and their state in one table
///
/// FOLDER has a complete erpgo-dr.toml for each cluster, with a repository of its own; the file's name without `.toml` is the cluster's. What
/// concerns all of them is in [fleet] and [monitor] of the configuration file.
#[derive(Debug, Args)]
pub(crate) struct FleetArgs {
    #[command(subcommand)]
    action: FleetAction,
}

#[derive(Debug, Subcommand)]
enum FleetAction {
    Agent(agent::FleetAgentArgs),
    Status(status::FleetStatusArgs),
    Metrics(metrics::FleetMetricsArgs),
}

/// Clusters that are asked at once.
const AT_ONCE: usize = 8;
/// How long a cluster may take to answer.
const ANSWER: Duration = Duration::from_secs(60);

/// Where the clusters are described.
#[derive(Debug, Args)]
struct FolderArgs {
    /// The folder with a file for each cluster [default: `folder` in [fleet]]
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl FleetArgs {
    pub(super) fn name(&self) -> &'static str {
        match self.action {
            FleetAction::Agent(_) => "fleet agent",
            FleetAction::Status(_) => "fleet status",
            FleetAction::Metrics(_) => "fleet metrics",
        }
    }

    /// Returns whether it runs for long.
    pub(super) fn is_service(&self) -> bool {
        matches!(self.action, FleetAction::Agent(_))
    }

    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        match self.action {
            FleetAction::Agent(arguments) => arguments.run(context).await,
            FleetAction::Status(arguments) => arguments.run(context).await,
            FleetAction::Metrics(arguments) => arguments.run(context).await,
        }
    }
}

impl FolderArgs {
    fn folder(self, context: &Context) -> Result<PathBuf, CliError> {
        let hint = "name it: `erpgo-dr fleet status /etc/erpgo-dr/clusters.d`, or write `folder` into [fleet]";
        let named = self.folder.or_else(|| context.config.fleet.folder.clone());
        named.ok_or_else(|| CliError::usage("no folder of clusters was named", hint))
    }
}

#[derive(Serialize)]
struct Ended {
    clusters: Vec<FleetReport>,
}

/// Says what became of the agents.
fn report_of(mut clusters: Vec<FleetReport>, ok: bool) -> Result<Report, CliError> {
    clusters.sort_by(|one, other| one.cluster.cmp(&other.cluster));
    let mut text = String::new();
    for FleetReport { cluster, error, report, .. } in &clusters {
        text.extend(error.iter().map(|error| format!("{cluster}: FAILED {error}\n")));
        let runs = report.iter().flat_map(|report| &report.runs);
        text.extend(runs.map(|run| format!("{cluster}: {}", line_of(run))));
    }
    if text.is_empty() {
        text.push_str("nothing was due\n");
    }
    Report::new(&Ended { clusters }, text, ok)
}

/// Waits for what a cluster has to say, but not for ever.
async fn answered<T>(asked: impl Future<Output = Result<T, CliError>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.in_a_line()),
        Err(_) => Err(format!("it did not answer within {} seconds", ANSWER.as_secs())),
    }
}
