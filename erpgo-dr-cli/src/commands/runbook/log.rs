//! `runbook log`: what happened in a run, entry by entry.

use clap::Args;
use erpgo_dr_core::runbook::{Entry, Event, read_journal};
use serde::Serialize;

use super::find::find_run;
use crate::context::{Access, Context, SpooledRepository};
use crate::error::CliError;
use crate::output::Report;

/// Print the journal of a run, after checking that nothing of it was altered
#[derive(Debug, Args)]
pub(super) struct RunbookLogArgs {
    /// The run: its identifier or the beginning of one, or `latest`
    #[arg(value_name = "RUN", default_value = "latest")]
    run: String,
}

#[derive(Serialize)]
struct Log {
    run: String,
    entries: Vec<Entry>,
}

impl RunbookLogArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let SpooledRepository { repository, .. } = context.spooled_repository(Access::Unlocked).await?;
        let run = find_run(&repository, &self.run).await?;
        let entries = read_journal(&repository, &run).await?;
        let text = entries.iter().map(line).collect::<String>();
        Report::new(&Log { run: run.to_string(), entries }, text, true)
    }
}

fn line(entry: &Entry) -> String {
    let what = match &entry.event {
        Event::Begun(beginning) => format!("begun: {} by {}", beginning.runbook, beginning.by),
        Event::Resumed { by, .. } => format!("resumed by {by}"),
        Event::UndoBegun { by, .. } => format!("taken back by {by}"),
        Event::Skipped { step, why, .. } => format!("{step}: skipped, {why}"),
        Event::Asked { question } => format!("{}: asked, {}", question.step, question.text),
        Event::Answered { step, answer } => {
            let note = answer.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            format!("{step}: {} answered {}{note}", answer.by, word(&answer.choice))
        }
        Event::Started { step, purpose, attempt, doing } => format!("{step}: {} {attempt}: {doing}", word(purpose)),
        Event::Ended { step, outcome, output, .. } => {
            format!("{step}: {} {}", outcome.as_str(), indented(output))
        }
        Event::Told { level, contact, failed } => told(*level, contact, failed.as_deref()),
        Event::Finished { ending, .. } => ending.as_str().to_owned(),
        _ => "something that this version does not know".to_owned(),
    };
    format!("{:>4}  {}  {}\n", entry.number, entry.at.format("%Y-%m-%d %H:%M:%S%.3f"), what.trim_end())
}

/// Says that a contact was told, or why not.
pub(super) fn told(level: Option<u32>, contact: &str, failed: Option<&str>) -> String {
    let what = level.map_or_else(|| "how it ends".to_owned(), |level| format!("level {level} of escalation"));
    match failed {
        None => format!("{contact} was told ({what})"),
        Some(reason) => format!("{contact} COULD NOT BE TOLD ({what}): {}", indented(reason)),
    }
}

/// The word that the journal has for something.
pub(super) fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n      ")
}
