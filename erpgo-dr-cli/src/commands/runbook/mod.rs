//! `runbook`: procedures for disasters, planned, run, resumed and taken back.

mod check;
mod contacts;
mod find;
mod list;
mod log;
mod narrator;
mod plan;
mod report;
mod run;
mod runs;
mod show;
mod terminal;
mod values;
mod watch;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

pub(super) use find::find;
pub(super) use narrator::Narrator;
pub(super) use values::pair;

/// Plan, run, resume and take back procedures for disasters
#[derive(Debug, Args)]
pub(crate) struct RunbookArgs {
    #[command(subcommand)]
    action: RunbookAction,
}

#[derive(Debug, Subcommand)]
enum RunbookAction {
    List(list::RunbookListArgs),
    Show(show::RunbookShowArgs),
    Check(check::RunbookCheckArgs),
    Plan(plan::RunbookPlanArgs),
    Run(run::RunbookRunArgs),
    Watch(watch::RunbookWatchArgs),
    Resume(run::RunbookResumeArgs),
    Undo(run::RunbookUndoArgs),
    Runs(runs::RunbookRunsArgs),
    Log(log::RunbookLogArgs),
    Report(report::RunbookReportArgs),
    Contacts(contacts::RunbookContactsArgs),
}

impl RunbookArgs {
    pub(super) fn name(&self) -> &'static str {
        match self.action {
            RunbookAction::List(_) => "runbook list",
            RunbookAction::Show(_) => "runbook show",
            RunbookAction::Check(_) => "runbook check",
            RunbookAction::Plan(_) => "runbook plan",
            RunbookAction::Run(_) => "runbook run",
            RunbookAction::Watch(_) => "runbook watch",
            RunbookAction::Resume(_) => "runbook resume",
            RunbookAction::Undo(_) => "runbook undo",
            RunbookAction::Runs(_) => "runbook runs",
            RunbookAction::Log(_) => "runbook log",
            RunbookAction::Report(_) => "runbook report",
            RunbookAction::Contacts(_) => "runbook contacts",
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        match self.action {
            RunbookAction::List(arguments) => arguments.run(context),
            RunbookAction::Show(arguments) => arguments.run(context),
            RunbookAction::Check(arguments) => arguments.run(context),
            RunbookAction::Plan(arguments) => arguments.run(context),
            RunbookAction::Run(arguments) => arguments.run(context).await,
            RunbookAction::Watch(arguments) => arguments.run(context).await,
            RunbookAction::Resume(arguments) => arguments.run(context).await,
            RunbookAction::Undo(arguments) => arguments.run(context).await,
            RunbookAction::Runs(arguments) => arguments.run(context).await,
            RunbookAction::Log(arguments) => arguments.run(context).await,
            RunbookAction::Report(arguments) => arguments.run(context).await,
            RunbookAction::Contacts(arguments) => arguments.run(context).await,
        }
    }
}
