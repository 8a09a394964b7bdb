//! `runbook watch`: watches a primary, and runs a runbook when it is gone.

use clap::Args;
use erpgo_dr_core::runbook::{Span, WatchEnding, WatchObserver, WatchOptions, WatchReport, WatchState, watch_primary};

use super::find::find;
use super::narrator::Narrator;
use super::run::{OperatorOptions, ended_well, told};
use super::values::ValueOptions;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Output, Report};

/// Watch a primary, and run the runbook when it is gone: several probes have failed, and its standbys hear nothing from it either
#[derive(Debug, Args)]
pub(super) struct RunbookWatchArgs {
    /// The runbook, which has a step `primary-down`: its name, or a file
    #[arg(value_name = "RUNBOOK")]
    runbook: String,
    #[command(flatten)]
    values: ValueOptions,
    #[command(flatten)]
    who: OperatorOptions,
    /// The time from one probe to the next; after a failed one the next comes after a quarter of it
    #[arg(long, value_name = "TIME", default_value = "1s")]
    every: Span,
    /// Probes that must fail one after the other before the standbys are asked
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    after: u32,
    /// How long an answer to a probe may take
    #[arg(long, value_name = "TIME", default_value = "2s")]
    limit: Span,
    /// End with the first run, also where that has brought the primary back
    #[arg(long)]
    once: bool,
}

impl RunbookWatchArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let runbook = find(context, &self.runbook)?.runbook;
        let values = self.values.values(context, &runbook)?;
        let spooled = context.spooled_repository(Access::Unlocked).await?;
        let surroundings = self.who.surroundings(context, &spooled)?;
        let narrator = Narrator::new(context.output.clone(), &runbook);
        let options = WatchOptions::default()
            .with_every(self.every.duration())
            .with_after(self.after)
            .with_limit(self.limit.duration())
            .with_once(self.once);
        let teller = Teller { output: context.output.clone() };
        let stop = context.stop.requested();
        let report = watch_primary(&runbook, &values, &surroundings, &options, (&teller, &narrator), stop).await;
        spooled.deliver(context).await;
        let report = report?;
        let ok = report.run.as_ref().is_none_or(ended_well);
        Report::new(&report, render(&report), ok)
    }
}

fn render(report: &WatchReport) -> String {
    let why = match report.ending {
        WatchEnding::Told => "told to end",
        WatchEnding::Ran => "a run has reached its end",
        WatchEnding::Replaced => "another server is the primary now: watch that one",
        _ => "a run has not reached its end: look at it before you watch again",
    };
    let run = report.run.as_ref().map(told).unwrap_or_default();
    format!("{} probes, {} of them failed; {why}\n{run}", report.probes, report.failed_probes)
}

/// Prints a line for each change.
struct Teller {
    output: Output,
}

impl WatchObserver for Teller {
    fn changed(&self, state: &WatchState) {
        self.output.note(&format!("{} {state}", chrono::Utc::now().format("%H:%M:%S")));
    }
}
