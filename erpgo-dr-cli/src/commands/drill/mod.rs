//! `drill`: recovery rehearsed, measured and written down.

mod calendar;
mod describe;
mod forecast;
mod list;
mod plan;
mod record;
mod run;

use clap::{Args, Subcommand};
use erpgo_dr_core::repository::Drills;

use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

pub(super) use plan::{due, objectives, planned};
pub(super) use run::rehearsal;

/// Rehearse recovery where it can harm nobody, measure it against its objectives, and know when the next drill is due
#[derive(Debug, Args)]
pub(crate) struct DrillArgs {
    #[command(subcommand)]
    action: DrillAction,
}

#[derive(Debug, Subcommand)]
enum DrillAction {
    Run(run::DrillRunArgs),
    Record(record::DrillRecordArgs),
    List(list::DrillListArgs),
    Calendar(calendar::DrillCalendarArgs),
    Forecast(forecast::DrillForecastArgs),
}

/// Tells which records cannot be trusted, and returns that.
pub(super) fn told(context: &Context, drills: &Drills) -> Vec<String> {
    let problems: Vec<String> =
        drills.problems.iter().map(|problem| format!("{}: {}", problem.subject, problem.problem)).collect();
    problems.iter().for_each(|problem| context.output.warn(problem));
    problems
}

impl DrillArgs {
    pub(super) fn name(&self) -> &'static str {
        match self.action {
            DrillAction::Run(_) => "drill run",
            DrillAction::Record(_) => "drill record",
            DrillAction::List(_) => "drill list",
            DrillAction::Calendar(_) => "drill calendar",
            DrillAction::Forecast(_) => "drill forecast",
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        match self.action {
            DrillAction::Run(arguments) => arguments.run(context).await,
            DrillAction::Record(arguments) => arguments.run(context).await,
            DrillAction::List(arguments) => arguments.run(context).await,
            DrillAction::Calendar(arguments) => arguments.run(context).await,
            DrillAction::Forecast(arguments) => arguments.run(context).await,
        }
    }
}
