//! `check`: looks at what a server in use holds.

mod figures;
mod integrity;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Look at the data of a server that is in use
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(subcommand)]
    command: CheckCommand,
}

#[derive(Debug, Subcommand)]
enum CheckCommand {
    Integrity(integrity::IntegrityArgs),
    Figures(figures::FiguresArgs),
}

impl CheckArgs {
    pub(crate) fn name(&self) -> &'static str {
        match self.command {
            CheckCommand::Integrity(_) => "check integrity",
            CheckCommand::Figures(_) => "check figures",
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        match self.command {
            CheckCommand::Integrity(arguments) => arguments.run(context).await,
            CheckCommand::Figures(arguments) => arguments.run(context).await,
        }
    }
}
