//! `runbook show`: a runbook's own text, to read, and to begin one's own from.

use clap::Args;
use serde::Serialize;

use super::find::find;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Print a runbook as it is written: to read it, or to begin one of your own from it
#[derive(Debug, Args)]
pub(super) struct RunbookShowArgs {
    /// The runbook: its name, or a file
    #[arg(value_name = "RUNBOOK")]
    runbook: String,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    path: Option<String>,
    text: String,
}

impl RunbookShowArgs {
    pub(super) fn run(self, context: &Context) -> Result<Report, CliError> {
        let found = find(context, &self.runbook)?;
        let shown = Shown {
            name: found.runbook.name.to_string(),
            path: found.path.map(|path| path.display().to_string()),
            text: found.runbook.text().to_owned(),
        };
        let text = shown.text.clone();
        Report::new(&shown, text, true)
    }
}
