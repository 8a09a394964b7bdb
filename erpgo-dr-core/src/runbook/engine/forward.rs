//! From step to step, to the end or to where somebody has to look.

use tokio::sync::oneshot;

use super::super::RunbookError;
use super::super::actions::{STEP_VARIABLE, step_value};
use super::super::journal::{Ending, Event, Purpose, processes_with};
use super::super::model::{OnFailure, Outcome, Step, StepId};
use super::super::operator::{Answer, Choice, Question, QuestionKind};
use super::state::Progress;
use super::{Engine, Standing};

/// What becomes of a step that was cut off.
enum Settled {
    /// It is done.
    Done,
    /// It is done again.
    Again,
    /// Nobody knows, and nobody says.
    Stop,
}

impl Engine<'_> {
    /// Does every step that is not done yet, while the clock of the incident runs.
    pub(super) async fn forward(&mut self) -> Result<Standing, RunbookError> {
        let (over, ended) = oneshot::channel();
        let clock = self.escalation_clock();
        let telling = async move {
            if let Some(clock) = clock {
                clock.run(ended).await;
            }
        };
        let going = async {
            let reached = self.go_through().await;
            // Nobody may be there to hear it.
            let _ = over.send(reached.as_ref().map(Clone::clone).map_err(ToString::to_string));
            reached
        };
        let (reached, ()) = tokio::join!(going, telling);
        let (ending, step) = reached?;
        self.finish(ending, step.as_ref()).await
    }

    /// Goes from step to step; returns how that ended, and where.
    async fn go_through(&mut self) -> Result<(Ending, Option<StepId>), RunbookError> {
        let runbook = self.runbook;
        for step in &runbook.steps {
            if !self.advance(step).await? {
                return Ok((Ending::Stopped, Some(step.id.clone())));
            }
        }
        Ok((Ending::Completed, None))
    }

    /// Does a step, unless it is done or not to be done; returns whether the run goes on behind it.
    async fn advance(&mut self, step: &Step) -> Result<bool, RunbookError> {
        match self.state.progress(Purpose::Do, &step.id) {
            Progress::Ended(Outcome::Succeeded | Outcome::Skipped) | Progress::FoundDone => return Ok(true),
            Progress::Ended(Outcome::Failed) if step.on_failure == OnFailure::Continue => return Ok(true),
            Progress::CutOff => match self.settle(step).await? {
                Settled::Done => return Ok(true),
                Settled::Again => {}
                Settled::Stop => return Ok(false),
            },
            Progress::Pending | Progress::Ended(Outcome::Failed) => {}
        }
        match self.reason_to_skip(step).await {
            Ok(None) => {}
            Ok(Some(why)) => {
                self.skip(step, Purpose::Do, why, false).await?;
                return Ok(true);
            }
            Err(error) => {
                self.record_failure(step, Purpose::Do, 1, &error).await?;
                return Ok(step.on_failure == OnFailure::Continue);
            }
        }
        if self.found_done(step, "there is nothing left to do").await? {
            return Ok(true);
        }
        if step.asks() && !self.allowed(step).await? {
            return Ok(false);
        }
        let outcome = self.attempt(step, &step.action, Purpose::Do).await?;
        Ok(outcome == Outcome::Succeeded || step.on_failure == OnFailure::Continue)
    }

    /// Asks the step's own check whether it is done.
    async fn found_done(&mut self, step: &Step, why: &str) -> Result<bool, RunbookError> {
        let Some(check) = &step.done else { return Ok(false) };
        let done = match self.finds(step, check).await {
            Ok(found) => found.is_none(),
            Err(error) => {
                tracing::warn!(step = %step.id, %error, "whether it is done cannot be asked");
                false
            }
        };
        if done {
            self.skip(step, Purpose::Do, why.to_owned(), true).await?;
        }
        Ok(done)
    }

    /// Writes down that a step is not done, or not taken back.
    pub(super) async fn skip(
        &mut self,
        step: &Step,
        purpose: Purpose,
        why: String,
        done: bool,
    ) -> Result<(), RunbookError> {
        self.record(Event::Skipped { step: step.id.clone(), purpose, why, done }).await
    }

    /// Finds out what became of a step that was cut off.
    async fn settle(&mut self, step: &Step) -> Result<Settled, RunbookError> {
        let left = processes_with(STEP_VARIABLE, &step_value(&self.journal.run, &step.id));
        if !left.is_empty() {
            let pids = left.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let text = format!(
                "The run was cut off in this step, and a program of it still runs (process {pids}). Wait for its end, or end it, and say so; \
                 if it is a service that is to run on, say so too."
            );
            if self.ask(step, QuestionKind::Manual, text).await?.choice != Choice::Yes {
                return Ok(Settled::Stop);
            }
        }
        if self.found_done(step, "it was done when the run was cut off").await? {
            return Ok(Settled::Done);
        }
        if step.done.is_some() || step.is_repeatable() {
            return Ok(Settled::Again);
        }
        let doing = step.action.act().describe(&self.view(step.limit()));
        let answer =
            self.ask(step, QuestionKind::Interrupted, format!("The run was cut off while it was to {doing}.")).await?;
        match answer.choice {
            Choice::Yes => {
                let why = format!("{} says that it was done when the run was cut off", answer.by);
                self.skip(step, Purpose::Do, why, true).await?;
                Ok(Settled::Done)
            }
            Choice::Again => Ok(Settled::Again),
            Choice::No => Ok(Settled::Stop),
        }
    }

    /// Asks whether a step that cannot be taken back may be done.
    async fn allowed(&mut self, step: &Step) -> Result<bool, RunbookError> {
        let doing = step.action.act().describe(&self.view(step.limit()));
        let answer = self.ask(step, QuestionKind::Confirm { word: None }, doing).await?;
        Ok(answer.choice == Choice::Yes)
    }

    /// Asks the operator, and writes down both the question and the answer.
    pub(super) async fn ask(&mut self, step: &Step, kind: QuestionKind, text: String) -> Result<Answer, RunbookError> {
        let question = Question { step: step.id.clone(), kind, text: self.values.redact(&text) };
        self.record(Event::Asked { question: question.clone() }).await?;
        let answer = self.surroundings.operator.ask(&question).await;
        self.record(Event::Answered { step: step.id.clone(), answer: answer.clone() }).await?;
        Ok(answer)
    }
}
