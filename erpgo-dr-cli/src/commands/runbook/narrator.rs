//! Tells what happens in a run while it happens.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use erpgo_dr_core::runbook::{Entry, Event, Outcome, Purpose, RunObserver, Runbook, StepId};
use erpgo_dr_core::types::RunId;

use crate::output::{Output, seconds};

/// Prints a line for each thing that happens.
pub(in crate::commands) struct Narrator {
    output: Output,
    /// Whether a run that is cut off can go on.
    can_go_on: bool,
    steps: Vec<(StepId, String)>,
    begun: Mutex<BTreeMap<StepId, DateTime<Utc>>>,
    /// The run, from its first entry until its last.
    open: Mutex<Option<RunId>>,
}

impl Narrator {
    pub(super) fn new(output: Output, runbook: &Runbook) -> Self {
        let steps = runbook.steps.iter().map(|step| (step.id.clone(), step.title.clone())).collect();
        Self { output, can_go_on: true, steps, begun: Mutex::default(), open: Mutex::default() }
    }

    /// Tells of a drill, whose run is gone with its servers.
    pub(in crate::commands) fn of_drill(output: Output, runbook: &Runbook) -> Self {
        let mut narrator = Self::new(output, runbook);
        narrator.can_go_on = false;
        narrator
    }

    fn title(&self, step: &StepId) -> String {
        let number = self.steps.iter().position(|(id, _)| id == step);
        match number {
            Some(number) => format!("[{}/{}] {}", number + 1, self.steps.len(), self.steps[number].1),
            None => step.to_string(),
        }
    }

    fn line(&self, run: &RunId, entry: &Entry) -> Option<String> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match &entry.event {
            Event::Begun(beginning) => format!("run {run} of {} by {}", beginning.runbook, beginning.by),
            Event::Resumed { by, .. } => format!("run {run} goes on, by {by}"),
            Event::UndoBegun { by, .. } => format!("run {run} is taken back, by {by}"),
            Event::Skipped { step, why, .. } => format!("{}: skipped, {why}", self.title(step)),
            Event::Started { step, purpose, attempt, doing } => {
                begun.insert(step.clone(), entry.at);
                let back = if *purpose == Purpose::Undo { ", back" } else { "" };
                let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
                format!("{}{back}{again}: {doing}", self.title(step))
            }
            Event::Ended { step, outcome, output, .. } => {
                let took = begun.get(step).map_or(0.0, |begun| (entry.at - *begun).as_seconds_f64());
                let first = output.lines().next().unwrap_or_default();
                let word = if *outcome == Outcome::Succeeded { "done" } else { "FAILED" };
                format!("    {word} in {}{}{first}", seconds(took), if first.is_empty() { "" } else { ": " })
            }
            Event::Asked { question } => format!("{}: asks: {}", self.title(&question.step), question.text),
            Event::Answered { answer, .. } => {
                let note = answer.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
                format!("    {} answers {}{note}", answer.by, super::log::word(&answer.choice))
            }
            Event::Told { level, contact, failed } => {
                format!("    {}", super::log::told(*level, contact, failed.as_deref()))
            }
            _ => return None,
        })
    }
}

impl RunObserver for Narrator {
    fn recorded(&self, run: &RunId, entry: &Entry) {
        let open = (!matches!(entry.event, Event::Finished { .. })).then(|| run.clone());
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = open;
        if let Some(line) = self.line(run, entry) {
            self.output.note(&format!("{} {line}", entry.at.format("%H:%M:%S")));
        }
    }
}

/// Says what to do about a run that ends here and not in its journal.
impl Drop for Narrator {
    fn drop(&mut self) {
        if !self.can_go_on {
            return;
        }
        if let Some(run) = self.open.get_mut().unwrap_or_else(PoisonError::into_inner) {
            self.output.line(&format!("the run is cut off; `erpgo-dr runbook resume {run}` goes on with it"));
        }
    }
}
