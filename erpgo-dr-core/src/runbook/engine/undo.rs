//! Back from step to step, the last one first.

use super::super::RunbookError;
use super::super::journal::{Ending, Purpose};
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
        // Whatever was begun may have left something, however it ended.
        let touched = self.state.was_begun(&step.id);
        if !touched || self.state.changed_nothing(&step.id) || !step.action.leaves_traces() {
            return Ok(true);
        }
        let why = match step.way_back() {
            None => "has no way back of its own",
            Some(action) => match self.attempt(step, &action, Purpose::Undo).await? {
                Outcome::Succeeded => return Ok(true),
                _ => "could not be taken back",
            },
        };
        self.taken_back_by_hand(step, why).await
    }

    /// Has people take back what does not go back by itself, or leave it.
    async fn taken_back_by_hand(&mut self, step: &Step, why: &str) -> Result<bool, RunbookError> {
        let doing = step.action.act().describe(&self.view(step.limit()));
        let text = format!(
            "This was done, and {why}: {doing}. Take it back by hand, or leave it as it is; a note may say which."
        );
        let answer = self.ask(step, QuestionKind::Manual, text).await?;
        if answer.choice != Choice::Yes {
            return Ok(false);
        }
        let note = answer.note.map(|note| format!(": {note}")).unwrap_or_default();
        let why = format!("{} took it back by hand, or leaves it{note}", answer.by);
        self.skip(step, Purpose::Undo, why, false).await?;
        Ok(true)
    }
}
