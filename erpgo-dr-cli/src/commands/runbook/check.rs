//! `runbook check`: whether a runbook can work.

use clap::Args;
use erpgo_dr_core::runbook::RunbookError;
use serde::Serialize;

use super::find::find;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Check a runbook without doing anything of it
#[derive(Debug, Args)]
pub(super) struct RunbookCheckArgs {
    /// The runbook: its name, or a file
    #[arg(value_name = "RUNBOOK")]
    runbook: String,
}

#[derive(Serialize)]
struct Checked {
    name: String,
    steps: usize,
    faults: Vec<String>,
}

impl RunbookCheckArgs {
    pub(super) fn run(self, context: &Context) -> Result<Report, CliError> {
        let found = find(context, &self.runbook)?;
        let faults = match found.runbook.check() {
            Ok(()) => Vec::new(),
            Err(RunbookError::Faulty { faults, .. }) => faults,
            Err(error) => return Err(error.into()),
        };
        let (name, steps) = (found.runbook.name.to_string(), found.runbook.steps.len());
        let text = match faults.as_slice() {
            [] => format!("{name}: {steps} steps, no faults\n"),
            faults => format!("{name}:\n  {}\n", faults.join("\n  ")),
        };
        let ok = faults.is_empty();
        Report::new(&Checked { name, steps, faults }, text, ok)
    }
}
