//! The journal of a run: what happened, in order, durable in the repository before anything is done that it tells of.
//!
//! An entry is a sealed object that is created once; each names the hash of the one before it, so that one that was altered, left
//! out or exchanged shows. What the chain cannot show is that the newest entries are missing.

mod entry;
mod process;

pub(crate) use entry::JOURNAL_FORMAT;
pub use entry::{Beginning, Ending, Entry, Event, Purpose, RecordedValue, Stored};
pub use process::ProcessMark;
pub(crate) use process::processes_with;

use std::fmt;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::RunbookError;
use super::model::StepId;
use crate::container::ContainerError;
use crate::repository::{Repository, RepositoryError};
use crate::types::{ContentHash, RunId};

/// Is told of every entry once it is durable. Called from async tasks: it must return quickly.
pub trait RunObserver: Send + Sync {
    /// Takes notice of an entry.
    fn recorded(&self, run: &RunId, entry: &Entry);
}

/// Takes no notice.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl RunObserver for NoObserver {
    fn recorded(&self, _run: &RunId, _entry: &Entry) {}
}

/// A journal that this process writes.
pub(crate) struct Journal<'r> {
    repository: Arc<Repository>,
    observer: &'r dyn RunObserver,
    pub(crate) run: RunId,
    end: Mutex<End>,
}

/// How far a journal is written. Whoever writes next holds it meanwhile: the run itself, or the clock of its escalation.
#[derive(Debug, Default)]
struct End {
    entries: u32,
    last: Option<ContentHash>,
    /// The step that the newest entries are about.
    step: Option<StepId>,
}

impl fmt::Debug for Journal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("run", &self.run).finish_non_exhaustive()
    }
}

impl<'r> Journal<'r> {
    /// Begins the journal of a new run.
    pub(crate) fn new(repository: Arc<Repository>, observer: &'r dyn RunObserver) -> Self {
        let run = RunId::generate(repository.environment().clock.now());
        Self { repository, observer, run, end: Mutex::default() }
    }

    /// Goes on with the journal of a run, and returns what it has.
    pub(crate) async fn open(
        repository: Arc<Repository>,
        observer: &'r dyn RunObserver,
        run: &RunId,
    ) -> Result<(Self, Vec<Entry>), RunbookError> {
        let (entries, last) = read(&repository, run).await?;
        let written = u32::try_from(entries.len()).expect("a run has fewer entries than that");
        let end = Mutex::new(End { entries: written, last, step: None });
        Ok((Self { repository, observer, run: run.clone(), end }, entries))
    }

    /// Writes an entry. When this returns, it is durable.
    pub(crate) async fn record(&self, event: Event) -> Result<(), RunbookError> {
        let mut end = self.end.lock().await;
        let number = end.entries;
        let at = self.repository.environment().clock.now();
        let entry = Entry { number, at, previous: end.last, event };
        let bytes = serde_json::to_vec(&entry).expect("entries are plain JSON");
        match self.repository.append_to_run(&self.run, number, &bytes).await {
            Ok(()) => {}
            Err(RepositoryError::EntryExists { run, .. }) => return Err(RunbookError::Busy(run)),
            Err(error) => return Err(error.into()),
        }
        end.entries += 1;
        end.last = Some(ContentHash::of(&bytes));
        end.step = entry.event.step().cloned().or(end.step.take());
        self.observer.recorded(&self.run, &entry);
        Ok(())
    }

    /// Returns the step that the newest entries of this process are about.
    pub(crate) async fn step(&self) -> Option<StepId> {
        self.end.lock().await.step.clone()
    }
}

/// Reads the journal of a run, and checks its chain.
///
/// # Errors
/// [`RunbookError::NoSuchRun`]; [`RunbookError::Journal`] where it was altered; of the repository.
pub async fn read_journal(repository: &Repository, run: &RunId) -> Result<Vec<Entry>, RunbookError> {
    Ok(read(repository, run).await?.0)
}

/// Lists the runs that the repository has journals of, the oldest first.
///
/// # Errors
/// Of the repository.
pub async fn list_runs(repository: &Repository) -> Result<Vec<RunId>, RunbookError> {
    Ok(repository.runs().await?)
}

/// As [`read_journal`], with the hash of the last entry.
pub(super) async fn read(
    repository: &Repository,
    run: &RunId,
) -> Result<(Vec<Entry>, Option<ContentHash>), RunbookError> {
    let stored = repository.run_entries(run).await.map_err(|error| match error {
        RepositoryError::Damaged { .. }
        | RepositoryError::Container(
            ContainerError::NotAuthentic { .. } | ContainerError::Truncated { .. } | ContainerError::Malformed { .. },
        ) => RunbookError::Journal { run: run.clone(), number: 0, reason: crate::causes::chain(&error) },
        error => error.into(),
    })?;
    if stored.is_empty() {
        return Err(RunbookError::NoSuchRun(run.clone()));
    }
    chained(run, &stored)
}

fn chained(run: &RunId, stored: &[Vec<u8>]) -> Result<(Vec<Entry>, Option<ContentHash>), RunbookError> {
    let mut entries = Vec::with_capacity(stored.len());
    let mut last = None;
    for (number, bytes) in (0..).zip(stored) {
        let damaged =
            |reason: &dyn fmt::Display| RunbookError::Journal { run: run.clone(), number, reason: reason.to_string() };
        let entry: Entry = serde_json::from_slice(bytes).map_err(|error| damaged(&error))?;
        if entry.number != number {
            return Err(damaged(&format!("it says that it is entry {}", entry.number)));
        }
        if entry.previous != last {
            return Err(damaged(&"it does not follow from the one before it"));
        }
        if matches!(entry.event, Event::Begun(_)) != (number == 0) {
            return Err(damaged(&"a run begins once, with its first entry"));
        }
        last = Some(ContentHash::of(bytes));
        entries.push(entry);
    }
    Ok((entries, last))
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    fn entry(number: u32, previous: Option<ContentHash>, event: Event) -> Vec<u8> {
        serde_json::to_vec(&Entry { number, at: Utc::now(), previous, event }).unwrap()
    }

    fn beginning() -> Event {
        Event::Begun(Box::new(Beginning {
            format: JOURNAL_FORMAT,
            process: ProcessMark::own(),
            runbook: "x".parse().unwrap(),
            text: String::new(),
            by: "me".to_owned(),
            incident: Utc::now(),
            drill: false,
            values: std::collections::BTreeMap::new(),
        }))
    }

    #[test]
    fn an_entry_that_is_altered_left_out_or_moved_shows() {
        let run = RunId::generate(Utc::now());
        let resumed = |by: &str| Event::Resumed { by: by.to_owned(), process: ProcessMark::default() };
        let first = entry(0, None, beginning());
        let second = entry(1, Some(ContentHash::of(&first)), resumed("a"));
        let third = entry(2, Some(ContentHash::of(&second)), resumed("b"));
        assert_eq!(chained(&run, &[first.clone(), second.clone(), third.clone()]).unwrap().0.len(), 3);
        let altered = entry(1, Some(ContentHash::of(&first)), resumed("c"));
        for wrong in [
            vec![first.clone(), altered, third.clone()],
            vec![first.clone(), third.clone()],
            vec![second.clone(), first.clone()],
            vec![first.clone(), first],
            vec![second, third],
            vec![b"{}".to_vec()],
        ] {
            assert!(matches!(chained(&run, &wrong), Err(RunbookError::Journal { .. })));
        }
    }
}
