//! Back from step to step, the last one first.

use super::super::RunbookError;
use super::super::journal::{Ending, Event, Purpose};
use super::super::model::{Outcome, Step};
use super::super::operator::{Choice, QuestionKind};
use super::state::Progress;
use super::{Engine, Standing};

impl Engine<'_> {
    /// Takes back every step that was done, or may have been.
    pub(super) async fn back(&mut self) -> Result<Standing, RunbookError> {
        let runbook = self.runbook;
        for step in runbook.steps.iter().rev() {
            if !self.retreat(step).await? {
                return self.finish(Ending::UndoStopped, Some(&step.id)).await;
            }
        }
        self.finish(Ending::Undone, None).await
    }

    /// Takes a step back; returns whether the run goes on before it.
    async fn retreat(&mut self, step: &Step) -> Result<bool, RunbookError> {
        match self.state.progress(Purpose::Undo, &step.id) {
            Progress::Ended(Outcome::Succeeded | Outcome::Skipped) | Progress::FoundDone => return Ok(true),
            Progress::Pending | Progress::CutOff | Progress::Ended(Outcome::Failed) => {}
        }
        // One that failed or was cut off may have done a part.
        let touched = match self.state.progress(Purpose::Do, &step.id) {
            Progress::Ended(Outcome::Succeeded | Outcome::Failed) | Progress::CutOff => true,
            Progress::Ended(Outcome::Skipped) | Progress::FoundDone | Progress::Pending => false,
        };
        if !touched || !step.action.leaves_traces() {
            return Ok(true);
        }
        match step.way_back() {
            Some(action) => Ok(self.attempt(step, &action, Purpose::Undo).await? == Outcome::Succeeded),
            None => self.taken_back_by_hand(step).await,
        }
    }

    /// Has people take back what has no way back of its own.
    async fn taken_back_by_hand(&mut self, step: &Step) -> Result<bool, RunbookError> {
        let doing = step.action.act().describe(&self.view(step.limit()));
        let text = format!(
            "This was done, and has no way back of its own: {doing}. Take it back by hand, or leave it as it is."
        );
        let answer = self.ask(step, QuestionKind::Manual, text).await?;
        if answer.choice != Choice::Yes {
            return Ok(false);
        }
        let why = format!("{} took it back by hand, or leaves it", answer.by);
        self.record(Event::Skipped { step: step.id.clone(), why, done: false }).await?;
        Ok(true)
    }
}
