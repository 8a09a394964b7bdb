//! How far a run is: what its journal says, folded step by step.

use std::collections::{BTreeMap, BTreeSet};

use super::super::journal::{Beginning, Ending, Entry, Event, ProcessMark, Purpose, Stored};
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
    /// The process that wrote last.
    pub(super) process: ProcessMark,
    /// Levels of escalation, their contacts, and whether these were reached.
    pub(super) told: BTreeSet<(u32, String, bool)>,
    done: BTreeMap<StepId, Progress>,
    undone: BTreeMap<StepId, Progress>,
    /// Steps of which an attempt was ever begun: they may have left something, however they ended.
    begun: BTreeSet<StepId>,
    /// Steps of which an attempt was cut off, or failed in a way that does not tell.
    unsure: BTreeSet<StepId>,
    /// Steps that found all as it was to be, and changed nothing.
    unchanged: BTreeSet<StepId>,
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
            Event::Begun(beginning) => {
                self.process = beginning.process.clone();
                self.beginning = Some((**beginning).clone());
            }
            Event::Resumed { process, .. } => (self.process, self.ending) = (process.clone(), None),
            Event::UndoBegun { process, .. } => {
                (self.process, self.undoing, self.ending) = (process.clone(), true, None);
            }
            Event::Skipped { step, purpose, done, .. } => {
                let progress = if *done { Progress::FoundDone } else { Progress::Ended(Outcome::Skipped) };
                self.side(*purpose).insert(step.clone(), progress);
            }
            Event::Started { step, purpose, .. } => {
                if *purpose == Purpose::Do {
                    if self.may_be_done(step) {
                        self.unsure.insert(step.clone());
                    }
                    self.begun.insert(step.clone());
                }
                self.side(*purpose).insert(step.clone(), Progress::CutOff);
            }
            Event::Ended { step, purpose, outcome, unsure, unchanged, stored, .. } => {
                if *unchanged && *purpose == Purpose::Do {
                    self.unchanged.insert(step.clone());
                }
                if *unsure && *purpose == Purpose::Do {
                    self.unsure.insert(step.clone());
                }
                self.side(*purpose).insert(step.clone(), Progress::Ended(*outcome));
                self.stored.extend(stored.clone());
            }
            Event::Told { level: Some(level), contact, failed } => {
                self.told.insert((*level, contact.clone(), failed.is_none()));
            }
            Event::Finished { ending, .. } => self.ending = Some(*ending),
            Event::Asked { .. } | Event::Answered { .. } | Event::Told { .. } | Event::Unknown => {}
        }
    }

    /// Returns how far doing a step is, or taking it back.
    pub(super) fn progress(&self, purpose: Purpose, step: &StepId) -> Progress {
        let side = if purpose == Purpose::Do { &self.done } else { &self.undone };
        side.get(step).copied().unwrap_or_default()
    }

    /// Returns whether a step may have left something.
    pub(super) fn was_begun(&self, step: &StepId) -> bool {
        self.begun.contains(step)
    }

    /// Returns whether a step has found all as it was to be: what others did is not taken back.
    pub(super) fn changed_nothing(&self, step: &StepId) -> bool {
        self.unchanged.contains(step) && !self.unsure.contains(step)
    }

    /// Returns whether an attempt at a step may have done it without anybody knowing. One that was refused has not.
    pub(super) fn may_be_done(&self, step: &StepId) -> bool {
        self.unsure.contains(step) || self.progress(Purpose::Do, step) == Progress::CutOff
    }

    fn side(&mut self, purpose: Purpose) -> &mut BTreeMap<StepId, Progress> {
        if purpose == Purpose::Do { &mut self.done } else { &mut self.undone }
    }
}
