//! `runbook report`: what happened in an incident, for those who were not there.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use erpgo_dr_core::runbook::report;
use tokio::io::AsyncWriteExt as _;

use super::super::{refuse_existing, write_new_file};
use super::find::find_run;
use crate::context::{Access, Context, SpooledRepository};
use crate::error::{self, CliError};
use crate::output::Report;

/// Report an incident from the journal of its run: its course, what it took against the objectives, who decided what
#[derive(Debug, Args)]
pub(super) struct RunbookReportArgs {
    /// The run: its identifier or the beginning of one, or `latest`
    #[arg(value_name = "RUN", default_value = "latest")]
    run: String,
    /// How it is written
    #[arg(long, value_name = "FORM", default_value = "markdown")]
    format: Form,
    /// The file that it is written to [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file
    #[arg(long, requires = "output")]
    force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Text that reads well as it is
    Markdown,
    /// One page without outside requests, with a picture of the course
    Html,
}

impl RunbookReportArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        if let Some(path) = &self.output {
            refuse_existing(path, self.force)?;
        }
        let SpooledRepository { repository, .. } = context.spooled_repository(Access::Unlocked).await?;
        let run = find_run(&repository, &self.run).await?;
        let incident = report(&repository, &run).await?;
        let text = match self.format {
            Form::Markdown => incident.to_markdown(),
            Form::Html => incident.to_html(),
        };
        let Some(path) = self.output else { return Report::new(&incident, text, true) };
        let action = format!("write {}", path.display());
        write_new_file(&path, self.force, async |file| {
            file.write_all(text.as_bytes()).await.map_err(|source| error::io(action.clone(), source))?;
            Ok(text.len() as u64)
        })
        .await?;
        Report::new(&incident, format!("the report of {run} is in {}\n", path.display()), true)
    }
}
