//! Runs a runbook: begins, goes on after a crash, or takes back. Whatever is done stands in the journal first.

mod attempt;
mod conditions;
mod forward;
mod recall;
mod state;
mod undo;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::RunbookError;
use super::actions::{Scope, View};
use super::escalation::{EscalationClock, Incident};
use super::journal::{
    Beginning, Ending, Event, JOURNAL_FORMAT, Journal, ProcessMark, Purpose, RunObserver, read_journal,
};
use super::model::{Outcome, Runbook, Step, StepId};
use super::operator::{Choice, Question, QuestionKind};
use super::span::Span;
use super::surroundings::Surroundings;
use super::values::Values;
use crate::repository::Repository;
use crate::types::RunId;
use state::{Progress, State};

/// How a run begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunOptions {
    /// When the incident began, from which the recovery time counts; without it, when the run does.
    pub incident: Option<DateTime<Utc>>,
    /// Whether it is a drill.
    pub drill: bool,
}

impl RunOptions {
    /// Sets when the incident began.
    pub fn with_incident(mut self, moment: Option<DateTime<Utc>>) -> Self {
        self.incident = moment;
        self
    }

    /// Sets whether it is a drill.
    pub fn with_drill(mut self, drill: bool) -> Self {
        self.drill = drill;
        self
    }
}

/// How a run stands when its process leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Standing {
    /// The run.
    pub run: RunId,
    /// How it stands.
    pub ending: Ending,
    /// The step that it stands at.
    pub step: Option<StepId>,
    /// Steps that failed, and behind which the run went on.
    pub failed: Vec<StepId>,
}

/// Runs a runbook from its first step on.
///
/// Dropping the future leaves the run where it is, as a crash does: [`resume_run`] goes on, [`undo_run`] takes back.
///
/// # Errors
/// [`RunbookError::Faulty`] and [`RunbookError::MissingValues`] before anything is done; when the journal cannot be written. That a
/// step failed is no error: the [`Standing`] says so.
pub async fn run_runbook(
    runbook: &Runbook,
    values: Values,
    surroundings: &Surroundings,
    options: &RunOptions,
    observer: &dyn RunObserver,
) -> Result<Standing, RunbookError> {
    runbook.check()?;
    let missing: Vec<String> = runbook.unset(&values).map(str::to_owned).collect();
    if !missing.is_empty() {
        return Err(RunbookError::MissingValues { names: missing });
    }
    let journal = Journal::new(surroundings.repository.clone(), observer);
    let now = surroundings.repository.environment().clock.now();
    let beginning = Beginning {
        format: JOURNAL_FORMAT,
        process: ProcessMark::own(),
        runbook: runbook.name.clone(),
        text: runbook.text().to_owned(),
        by: surroundings.operator.name(),
        incident: options.incident.unwrap_or(now),
        drill: options.drill,
        values: recall::recorded(&values),
    };
    let mut engine = Engine { runbook, surroundings, journal: Arc::new(journal), values, state: State::default() };
    engine.record(Event::Begun(Box::new(beginning))).await?;
    engine.forward().await
}

/// Goes on with a run that stopped or was cut off. `given` are the values that the journal does not have: secrets, and servers with
/// passwords; others replace what the run began with. [`runbook_of_run`] tells which they are.
///
/// A step that was cut off is done again if that does no harm, or if a check of its own says that it is not done; otherwise the
/// operator is asked.
///
/// # Errors
/// [`RunbookError::NoSuchRun`], [`RunbookError::Ended`], [`RunbookError::Journal`], and those of [`run_runbook`].
pub async fn resume_run(
    run: &RunId,
    given: &Values,
    surroundings: &Surroundings,
    observer: &dyn RunObserver,
) -> Result<Standing, RunbookError> {
    let (runbook, journal, state) = open(run, surroundings, observer).await?;
    if matches!(state.ending, Some(Ending::Completed | Ending::Undone)) {
        return Err(RunbookError::Ended(run.clone()));
    }
    alone(run, &state, surroundings).await?;
    let mut engine = Engine::recalled(&runbook, given, surroundings, journal, state)?;
    engine.record(Event::Resumed { by: surroundings.operator.name(), process: ProcessMark::own() }).await?;
    match engine.state.undoing {
        true => engine.back().await,
        false => engine.forward().await,
    }
}

/// Takes back what a run has done, the last step first. `given` as for [`resume_run`].
///
/// # Errors
/// As [`resume_run`]; [`RunbookError::Ended`] when it is taken back already.
pub async fn undo_run(
    run: &RunId,
    given: &Values,
    surroundings: &Surroundings,
    observer: &dyn RunObserver,
) -> Result<Standing, RunbookError> {
    let (runbook, journal, state) = open(run, surroundings, observer).await?;
    if state.ending == Some(Ending::Undone) {
        return Err(RunbookError::Ended(run.clone()));
    }
    alone(run, &state, surroundings).await?;
    let mut engine = Engine::recalled(&runbook, given, surroundings, journal, state)?;
    engine.record(Event::UndoBegun { by: surroundings.operator.name(), process: ProcessMark::own() }).await?;
    engine.back().await
}

/// Reads what a run began with, and its runbook.
///
/// # Errors
/// [`RunbookError::NoSuchRun`], [`RunbookError::Journal`]; of the repository.
pub async fn runbook_of_run(repository: &Repository, run: &RunId) -> Result<(Runbook, Beginning), RunbookError> {
    let entries = read_journal(repository, run).await?;
    let beginning = State::of(&entries).beginning.ok_or_else(|| RunbookError::NoSuchRun(run.clone()))?;
    Ok((Runbook::from_toml(&beginning.text)?, beginning))
}

async fn open<'r>(
    run: &RunId,
    surroundings: &Surroundings,
    observer: &'r dyn RunObserver,
) -> Result<(Runbook, Journal<'r>, State), RunbookError> {
    let (journal, entries) = Journal::open(surroundings.repository.clone(), observer, run).await?;
    let state = State::of(&entries);
    let text = state.beginning.as_ref().map(|beginning| beginning.text.as_str()).unwrap_or_default();
    Ok((Runbook::from_toml(text)?, journal, state))
}

/// Makes sure that no other process is at the run. One that ended in order has said so; of another host only people can say.
async fn alone(run: &RunId, state: &State, surroundings: &Surroundings) -> Result<(), RunbookError> {
    if state.ending.is_some() {
        return Ok(());
    }
    let process = &state.process;
    match process.is_alive() {
        Some(false) => Ok(()),
        Some(true) => Err(RunbookError::Busy(run.clone())),
        None => {
            let step = "other-process".parse().expect("a name of a step");
            let text = format!(
                "The run was cut off, or goes on: by process {} of the host {}, which cannot be seen from here. \
                 Make sure that it has ended, and say so.",
                process.pid, process.host
            );
            let question = Question { step, kind: QuestionKind::Manual, text };
            match surroundings.operator.ask(&question).await.choice {
                Choice::Yes => Ok(()),
                _ => Err(RunbookError::Busy(run.clone())),
            }
        }
    }
}

/// A run that goes on.
struct Engine<'r> {
    runbook: &'r Runbook,
    surroundings: &'r Surroundings,
    journal: Arc<Journal<'r>>,
    values: Values,
    state: State,
}

impl<'r> Engine<'r> {
    async fn record(&mut self, event: Event) -> Result<(), RunbookError> {
        let event = self.redacted(event);
        self.state.take(&event);
        self.journal.record(event).await
    }

    /// Blacks secrets out wherever they stand in an entry.
    fn redacted(&self, event: Event) -> Event {
        let redact = |text: String| self.values.redact(&text);
        match event {
            Event::Begun(mut beginning) => {
                beginning.text = redact(beginning.text);
                Event::Begun(beginning)
            }
            Event::Skipped { step, purpose, why, done } => Event::Skipped { step, purpose, why: redact(why), done },
            Event::Asked { mut question } => {
                question.text = redact(question.text);
                Event::Asked { question }
            }
            Event::Answered { step, mut answer } => {
                answer.note = answer.note.map(redact);
                Event::Answered { step, answer }
            }
            Event::Started { step, purpose, attempt, doing } => {
                Event::Started { step, purpose, attempt, doing: redact(doing) }
            }
            Event::Ended { step, purpose, attempt, outcome, unsure, unchanged, output, mut stored, loss } => {
                if let Some(stored) = &mut stored {
                    stored.value = redact(std::mem::take(&mut stored.value));
                }
                let output = redact(output);
                Event::Ended { step, purpose, attempt, outcome, unsure, unchanged, output, stored, loss }
            }
            other @ (Event::Resumed { .. }
            | Event::UndoBegun { .. }
            | Event::Told { .. }
            | Event::Finished { .. }
            | Event::Unknown) => other,
        }
    }

    /// Makes what tells people how the run goes, where anybody is to be told.
    fn escalation_clock(&self) -> Option<EscalationClock<'r>> {
        let escalation = self.surroundings.escalation.clone()?;
        let beginning = self.state.beginning.as_ref()?;
        let incident = Incident::new(self.runbook, beginning.incident, beginning.drill);
        let clock = Arc::clone(&self.surroundings.repository.environment().clock);
        Some(EscalationClock::new(escalation, Arc::clone(&self.journal), clock, incident, self.state.told.clone()))
    }

    /// Leaves the run.
    async fn finish(&mut self, ending: Ending, step: Option<&StepId>) -> Result<Standing, RunbookError> {
        self.record(Event::Finished { ending, step: step.cloned() }).await?;
        let steps = self.runbook.steps.iter().map(|step| &step.id);
        let failed = |id: &&StepId| {
            self.state.progress(Purpose::Do, id) == Progress::Ended(Outcome::Failed) && Some(*id) != step
        };
        let failed = steps.filter(failed).cloned().collect();
        Ok(Standing { run: self.journal.run.clone(), ending, step: step.cloned(), failed })
    }

    fn view(&self, timeout: Span) -> View<'_> {
        View { runbook: self.runbook, values: &self.values, timeout }
    }

    fn scope<'s>(&'s self, step: &'s Step, timeout: Span) -> Scope<'s> {
        let (run, step, surroundings) = (&self.journal.run, &step.id, self.surroundings);
        Scope { view: self.view(timeout), run, step, surroundings, again: false }
    }
}
