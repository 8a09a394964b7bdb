//! From the entries of a journal, one after the other, to a report.

use chrono::{DateTime, Utc};

use super::super::RunbookError;
use super::super::journal::{Beginning, Ending, Entry, Event, Purpose};
use super::super::model::{Outcome, Runbook, Step, StepId};
use super::super::operator::Answer;
use super::{
    AttemptReport, Continuation, IncidentReport, QuestionReport, RunState, StepReport, StepState, ToldReport, measure,
    seconds,
};
use crate::types::{ContentHash, RunId};

impl IncidentReport {
    /// Makes the report from a journal's entries. `last` is the hash of the last of them.
    pub(super) fn from_entries(run: &RunId, entries: &[Entry], last: ContentHash) -> Result<Self, RunbookError> {
        let damaged = |number: u32, reason: String| RunbookError::Journal { run: run.clone(), number, reason };
        let (Some(first), Some(newest)) = (entries.first(), entries.last()) else {
            return Err(RunbookError::NoSuchRun(run.clone()));
        };
        let Event::Begun(beginning) = &first.event else {
            return Err(damaged(0, "it does not say what began".to_owned()));
        };
        let runbook = Runbook::from_toml(&beginning.text)?;
        let mut report = Self::begun(run, &runbook, beginning, first.at, (newest.at, last));
        for entry in entries {
            report.take(entry).map_err(|reason| damaged(entry.number, reason))?;
        }
        report.entries = entries.len();
        report.steps.iter_mut().for_each(StepReport::finish);
        measure::measure(&mut report);
        Ok(report)
    }

    fn begun(
        run: &RunId,
        runbook: &Runbook,
        beginning: &Beginning,
        at: DateTime<Utc>,
        (last_entry_at, last_entry): (DateTime<Utc>, ContentHash),
    ) -> Self {
        Self {
            run: run.clone(),
            runbook: beginning.runbook.clone(),
            title: runbook.title.clone(),
            drill: beginning.drill,
            begun_by: beginning.by.clone(),
            continued: Vec::new(),
            incident: beginning.incident,
            began: at,
            ended: None,
            ending: RunState::CutOff,
            stands_at: None,
            objectives: runbook.objectives,
            rto_seconds: None,
            rto_met: None,
            rpo_seconds: None,
            rpo_bytes: None,
            rpo_met: None,
            told: Vec::new(),
            steps: runbook.steps.iter().map(StepReport::pending).collect(),
            entries: 0,
            last_entry_at,
            last_entry,
        }
    }

    fn take(&mut self, entry: &Entry) -> Result<(), String> {
        let at = entry.at;
        match &entry.event {
            Event::Begun(_) | Event::Unknown => {}
            Event::Resumed { by, .. } => self.go_on(Continuation { at, by: by.clone(), undo: false }),
            Event::UndoBegun { by, .. } => self.go_on(Continuation { at, by: by.clone(), undo: true }),
            Event::Skipped { step, purpose, why, done } => {
                let step = self.step(step)?;
                match purpose {
                    Purpose::Undo => step.undo_skipped = Some(why.clone()),
                    Purpose::Do => step.skip(at, why, *done),
                }
            }
            Event::Asked { question } => {
                let text = question.text.clone();
                self.step(&question.step)?.ask(at, text);
            }
            Event::Answered { step, answer } => self.step(step)?.answer(at, answer),
            Event::Started { step, purpose, doing, .. } => self.step(step)?.start(at, *purpose, doing),
            Event::Ended { step, purpose, outcome, output, loss, .. } => {
                let step = self.step(step)?;
                step.end(at, *purpose, *outcome, output);
                step.loss = loss.or(step.loss);
            }
            Event::Told { level, contact, failed } => {
                let (contact, failed) = (contact.clone(), failed.clone());
                self.told.push(ToldReport { at, level: *level, contact, failed });
            }
            Event::Finished { ending, step } => {
                self.ended = Some(at);
                self.ending = state(*ending);
                self.stands_at = step.clone();
            }
        }
        Ok(())
    }

    fn go_on(&mut self, continuation: Continuation) {
        self.continued.push(continuation);
        (self.ended, self.ending, self.stands_at) = (None, RunState::CutOff, None);
    }

    fn step(&mut self, id: &StepId) -> Result<&mut StepReport, String> {
        let found = self.steps.iter_mut().find(|step| step.id == *id);
        found.ok_or_else(|| format!("it names the step {id}, which the runbook does not have"))
    }
}

impl StepReport {
    fn pending(step: &Step) -> Self {
        Self {
            id: step.id.clone(),
            title: step.title.clone(),
            action: step.action.kind().to_owned(),
            counts: step.counts,
            outcome: StepState::Pending,
            started: None,
            ended: None,
            seconds: None,
            skipped: None,
            loss: None,
            attempts: Vec::new(),
            questions: Vec::new(),
            undo_attempts: Vec::new(),
            undo_skipped: None,
        }
    }

    fn skip(&mut self, at: DateTime<Utc>, why: &str, done: bool) {
        self.started.get_or_insert(at);
        self.ended = Some(at);
        self.outcome = if done { StepState::FoundDone } else { StepState::Skipped };
        self.skipped = Some(why.to_owned());
    }

    fn ask(&mut self, at: DateTime<Utc>, text: String) {
        self.started.get_or_insert(at);
        self.questions.push(QuestionReport { asked: at, text, answered: None, choice: None, by: None, note: None });
    }

    fn answer(&mut self, at: DateTime<Utc>, answer: &Answer) {
        // What an action asks by itself stands in no entry of its own: it is what the attempt does.
        if self.questions.last().is_none_or(|question| question.answered.is_some()) {
            let attempts = self.attempts.iter().chain(&self.undo_attempts);
            let asking = attempts.max_by_key(|attempt| attempt.began);
            let (asked, text) =
                asking.map_or_else(|| (at, String::new()), |attempt| (attempt.began, attempt.doing.clone()));
            self.ask(asked, text);
        }
        if let Some(question) = self.questions.last_mut() {
            question.answered = Some(at);
            question.choice = Some(answer.choice);
            question.by = Some(answer.by.clone());
            question.note = answer.note.clone();
        }
    }

    fn start(&mut self, began: DateTime<Utc>, purpose: Purpose, doing: &str) {
        let (doing, output) = (doing.to_owned(), String::new());
        let attempt = AttemptReport { began, ended: None, outcome: StepState::CutOff, doing, output };
        match purpose {
            Purpose::Undo => self.undo_attempts.push(attempt),
            Purpose::Do => {
                self.started.get_or_insert(began);
                (self.ended, self.outcome) = (None, StepState::CutOff);
                self.attempts.push(attempt);
            }
        }
    }

    fn end(&mut self, at: DateTime<Utc>, purpose: Purpose, outcome: Outcome, output: &str) {
        let outcome = match outcome {
            Outcome::Succeeded => StepState::Succeeded,
            Outcome::Failed => StepState::Failed,
            Outcome::Skipped => StepState::Skipped,
        };
        let attempts = if purpose == Purpose::Do { &self.attempts } else { &self.undo_attempts };
        // A step whose conditions could not be asked for fails without having begun.
        if attempts.last().is_none_or(|attempt| attempt.ended.is_some()) {
            self.start(at, purpose, "find out whether it is to be done");
        }
        let attempts = if purpose == Purpose::Do { &mut self.attempts } else { &mut self.undo_attempts };
        if let Some(attempt) = attempts.last_mut() {
            (attempt.ended, attempt.outcome) = (Some(at), outcome);
            attempt.output = output.to_owned();
        }
        if purpose == Purpose::Do {
            (self.ended, self.outcome) = (Some(at), outcome);
        }
    }

    fn finish(&mut self) {
        self.seconds = self.started.zip(self.ended).map(|(started, ended)| seconds(started, ended));
    }
}

fn state(ending: Ending) -> RunState {
    match ending {
        Ending::Completed => RunState::Completed,
        Ending::Stopped => RunState::Stopped,
        Ending::Undone => RunState::Undone,
        Ending::UndoStopped => RunState::UndoStopped,
    }
}
