//! `history`: what the agent did.

use std::num::NonZeroUsize;

use chrono::TimeDelta;
use clap::Args;
use erpgo_dr_core::agent::summary;
use erpgo_dr_core::repository::{JobName, JobRun, RunResult};
use erpgo_dr_core::runbook::Span;
use serde::Serialize;

use super::drill::planned;

use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Report, bytes, moment, seconds};

/// List what the agent did, the newest first
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Only this job
    #[arg(value_name = "JOB")]
    job: Option<JobName>,
    /// So many runs at most
    #[arg(short, long, value_name = "N", default_value = "50")]
    limit: NonZeroUsize,
    /// Sum this span of time up instead, and say how the repository stands; ends with 1 if something needs somebody
    #[arg(long, value_name = "SPAN", num_args = 0..=1, default_missing_value = "7d", conflicts_with_all = ["job", "limit"])]
    summary: Option<Span>,
}

#[derive(Serialize)]
struct Listed {
    runs: Vec<Shown>,
    /// Runs whose records were altered.
    unreadable: Vec<String>,
}

#[derive(Serialize)]
struct Shown {
    /// How it stands, in a word.
    state: &'static str,
    #[serde(flatten)]
    run: JobRun,
}

impl HistoryArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        if let Some(span) = self.summary {
            let span = TimeDelta::from_std(span.duration())
                .map_err(|_| CliError::usage("the span is too long", "a week is usual: --summary 7d"))?;
            let summary = summary(&repository, span, &planned(&context.config)).await?;
            return Report::new(&summary, summary.to_text(&context.host()), summary.is_well());
        }
        let history = repository.history(self.job.as_ref(), self.limit.get()).await?;
        let unreadable: Vec<String> =
            history.problems.iter().map(|problem| format!("{}: {}", problem.subject, problem.problem)).collect();
        unreadable.iter().for_each(|problem| context.output.warn(problem));
        let text = match history.runs.is_empty() {
            true => "no runs: `erpgo-dr agent` does jobs by schedule\n".to_owned(),
            false => history.runs.iter().map(line_of).collect(),
        };
        let is_whole = unreadable.is_empty();
        let runs = history.runs.into_iter().map(|run| Shown { state: word(&run), run }).collect();
        Report::new(&Listed { runs, unreadable }, text, is_whole)
    }
}

fn word(run: &JobRun) -> &'static str {
    run.result().map_or("running", RunResult::as_str)
}

/// Says in a line how a run went.
pub(super) fn line_of(run: &JobRun) -> String {
    let beginning = &run.beginning;
    let word = match word(run) {
        word @ ("running" | "succeeded") => word.to_owned(),
        word => word.to_uppercase(),
    };
    let mut text = format!("{}  {:<16} {word:<11}", moment(beginning.began), beginning.job);
    if beginning.attempt > 1 {
        text.push_str(&format!(" attempt {}", beginning.attempt));
    }
    if let Some(ending) = &run.ending {
        text.push_str(&ending.seconds.map(|spent| format!(" {}", seconds(spent))).unwrap_or_default());
        text.push_str(&ending.bytes.map(|count| format!(" {}", bytes(count))).unwrap_or_default());
        text.push_str(&format!(" {}", ending.message));
        text.push_str(&ending.retry_at.map(|at| format!(" (again at {})", moment(at))).unwrap_or_default());
    }
    text.push('\n');
    text
}
