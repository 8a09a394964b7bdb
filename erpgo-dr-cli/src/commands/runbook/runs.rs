//! `runbook runs`: which runs there were, and how they stand.

use chrono::{DateTime, Utc};
use clap::Args;
use erpgo_dr_core::runbook::{Entry, Event, list_runs, read_journal};
use serde::Serialize;

use crate::context::{Access, Context, SpooledRepository};
use crate::error::CliError;
use crate::output::{Align, Report, Table, moment};

/// List the runs of runbooks, and how they stand
#[derive(Debug, Args)]
pub(super) struct RunbookRunsArgs {}

#[derive(Serialize)]
struct Runs {
    runs: Vec<Run>,
    /// Runs whose journals cannot be read, and why.
    unreadable: Vec<String>,
}

#[derive(Serialize)]
struct Run {
    run: String,
    runbook: String,
    by: String,
    began: DateTime<Utc>,
    /// `completed`, `stopped`, `undone`, `undo-stopped`; `open` while a process goes on with it, or after it was cut off.
    standing: String,
    step: Option<String>,
}

impl RunbookRunsArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let SpooledRepository { repository, .. } = context.spooled_repository(Access::Unlocked).await?;
        let mut found = Runs { runs: Vec::new(), unreadable: Vec::new() };
        for run in list_runs(&repository).await? {
            match read_journal(&repository, &run).await {
                Ok(entries) => found.runs.extend(summary(run.to_string(), &entries)),
                Err(error) => found.unreadable.push(format!("{run}: {error}")),
            }
        }
        found.unreadable.iter().for_each(|fault| context.output.warn(fault));
        let columns = ["RUN", "BEGAN", "RUNBOOK", "STANDING", "AT", "BY"].map(|name| (name, Align::Left));
        let mut table = Table::new(columns);
        for run in &found.runs {
            let step = run.step.clone().unwrap_or_else(|| "-".to_owned());
            table.row([
                run.run.clone(),
                moment(run.began),
                run.runbook.clone(),
                run.standing.clone(),
                step,
                run.by.clone(),
            ]);
        }
        let ok = found.unreadable.is_empty();
        Report::new(&found, table.render(), ok)
    }
}

fn summary(run: String, entries: &[Entry]) -> Option<Run> {
    let first = entries.first()?;
    let Event::Begun(beginning) = &first.event else { return None };
    let (standing, step) = match &entries.last()?.event {
        Event::Finished { ending, step } => (ending.as_str(), step.as_ref().map(ToString::to_string)),
        Event::Started { step, .. } => ("open", Some(step.to_string())),
        _ => ("open", None),
    };
    Some(Run {
        run,
        runbook: beginning.runbook.to_string(),
        by: beginning.by.clone(),
        began: first.at,
        standing: standing.to_owned(),
        step,
    })
}
