//! How far a run is: what its journal says, folded step by step.

use std::collections::BTreeMap;

use super::super::journal::{Beginning, Ending, Entry, Event, Purpose, Stored};
use super::super::model::{Outcome, StepId};

/// How far a step is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing was begun.
    #[default]
    Pending,
    /// An attempt began, and nobody knows how it ended.
    CutOff,
    /// It ended.
    Ended(Outcome),
    /// It was not begun, because it was done already.
    FoundDone,
}

/// How far a run is.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) beginning: Option<Beginning>,
    /// Values that steps put into variables, the last one of each.
    pub(super) stored: Vec<Stored>,
    /// Whether the run is being taken back.
    pub(super) undoing: bool,
    /// How it stood when a process last left it in order.
    pub(super) ending: Option<Ending>,
    done: BTreeMap<StepId, Progress>,
    undone: BTreeMap<StepId, Progress>,
}

impl State {
    /// Folds a journal.
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut state = Self::default();
        entries.iter().for_each(|entry| state.take(&entry.event));
        state
    }

    /// Takes what happened next into account.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Begun(beginning) => self.beginning = Some((**beginning).clone()),
            Event::Resumed { .. } => self.ending = None,
            Event::UndoBegun { .. } => (self.undoing, self.ending) = (true, None),
            Event::Skipped { step, done, .. } => {
                let progress = if *done { Progress::FoundDone } else { Progress::Ended(Outcome::Skipped) };
                self.side(if self.undoing { Purpose::Undo } else { Purpose::Do }).insert(step.clone(), progress);
            }
            Event::Started { step, purpose, .. } => {
                self.side(*purpose).insert(step.clone(), Progress::CutOff);
            }
            Event::Ended { step, purpose, outcome, stored, .. } => {
                self.side(*purpose).insert(step.clone(), Progress::Ended(*outcome));
                self.stored.extend(stored.clone());
            }
            Event::Finished { ending, .. } => self.ending = Some(*ending),
            Event::Asked { .. } | Event::Answered { .. } => {}
        }
    }

    /// Returns how far doing a step is, or taking it back.
    pub(super) fn progress(&self, purpose: Purpose, step: &StepId) -> Progress {
        let side = if purpose == Purpose::Do { &self.done } else { &self.undone };
        side.get(step).copied().unwrap_or_default()
    }

    fn side(&mut self, purpose: Purpose) -> &mut BTreeMap<StepId, Progress> {
        if purpose == Purpose::Do { &mut self.done } else { &mut self.undone }
    }
}
