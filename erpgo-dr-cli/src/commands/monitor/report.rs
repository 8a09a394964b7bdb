//! `report`: what is known, as a page for people.

use std::path::PathBuf;

use clap::Args;

use super::super::refuse_existing;
use super::options::Watched;
use super::write_text;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Write a page for people: which moments can be had, RPO and RTO against the objectives, drills, incidents, trends
///
/// The page is one file that fetches nothing. `serve` shows the same, always as it is now.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The file that it is written to [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file
    #[arg(long, requires = "output")]
    force: bool,
}

impl ReportArgs {
    pub(in crate::commands) async fn run(self, context: &Context) -> Result<Report, CliError> {
        if let Some(path) = &self.output {
            refuse_existing(path, self.force)?;
        }
        let watched = Watched::open(context).await?;
        let facts = watched.observe().await?;
        let Some(path) = self.output else { return Report::new(&facts, facts.to_html(), true) };
        write_text(&path, self.force, &facts.to_html()).await?;
        Report::new(&facts, format!("the report is in {}\n", path.display()), true)
    }
}
