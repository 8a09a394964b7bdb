//! `metrics`: what is known, as Prometheus reads it.

use std::path::PathBuf;

use clap::Args;

use super::options::Watched;
use super::write_text;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Write metrics as Prometheus reads them: age, size and proof of backups, recovery window, RPO and RTO, lag, drills
#[derive(Debug, Args)]
pub(crate) struct MetricsArgs {
    /// A file to write in one step, for the textfile collector of the node exporter [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl MetricsArgs {
    pub(in crate::commands) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let watched = Watched::open(context).await?;
        let facts = watched.observe().await?;
        let text = facts.to_openmetrics();
        let Some(path) = self.output else { return Report::new(&facts, text, true) };
        write_text(&path, true, &text).await?;
        Report::new(&facts, format!("metrics are in {}\n", path.display()), true)
    }
}
