//! A repository in memory, an operator who answers as told, and a folder for what steps leave.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use erpgo_dr_core::Repository;
use erpgo_dr_core::clock::SystemClock;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::crypto::keys::{Wrapper, generate_identity};
use erpgo_dr_core::postgres::ClientPrograms;
use erpgo_dr_core::repository::{Environment, InitOptions};
use erpgo_dr_core::runbook::{
    Answer, Choice, Ending, Entry, Event, NoObserver, Operator, Outcome, Question, RunOptions, Runbook, Standing,
    Surroundings, Values, read_journal, resume_run, run_runbook, undo_run,
};
use erpgo_dr_core::storage::{StorageAddress, StorageOptions, open};
use erpgo_dr_core::types::RunId;
use erpgo_dr_testkit::postgres::postgres_bin;

/// Answers from a row of choices, and with yes behind its end; remembers what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    answers: Mutex<VecDeque<Choice>>,
    asked: Mutex<Vec<Question>>,
}

#[async_trait]
impl Operator for Desk {
    fn name(&self) -> String {
        "operator".to_owned()
    }

    async fn ask(&self, question: &Question) -> Answer {
        self.asked.lock().unwrap().push(question.clone());
        let choice = self.answers.lock().unwrap().pop_front().unwrap_or(Choice::Yes);
        Answer::new(choice, "operator", None)
    }
}

/// Where runs happen.
pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) surroundings: Surroundings,
    pub(crate) desk: Arc<Desk>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let address: StorageAddress = "memory:".parse().unwrap();
        let storage = open(&address, &StorageOptions::default()).unwrap();
        let environment = Environment::new(ComputePool::new(2).unwrap(), Arc::new(SystemClock));
        let slots = [("owner".parse().unwrap(), Wrapper::Recipients(vec![generate_identity().recipient]))];
        let repository = Repository::init(storage, environment, &InitOptions::default(), &slots).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let desk = Arc::new(Desk::default());
        let programs =
            [15, 17, 18].into_iter().fold(ClientPrograms::new(), |all, major| all.folder(postgres_bin(major)));
        let environment = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())];
        let surroundings = Surroundings::new(Arc::new(repository), Arc::clone(&desk) as Arc<dyn Operator>)
            .with_programs(programs)
            .with_environment(environment);
        Self { folder, surroundings, desk }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Sets what the operator answers next.
    pub(crate) fn answers(&self, choices: impl IntoIterator<Item = Choice>) {
        *self.desk.answers.lock().unwrap() = choices.into_iter().collect();
    }

    pub(crate) fn asked(&self) -> Vec<Question> {
        std::mem::take(&mut self.desk.asked.lock().unwrap())
    }

    pub(crate) async fn run(&self, runbook: &Runbook, values: &[(&str, &str)]) -> Standing {
        let values = runbook.values(values.iter().copied()).unwrap();
        run_runbook(runbook, values, &self.surroundings, &RunOptions::default(), &NoObserver).await.unwrap()
    }

    pub(crate) async fn resume(&self, run: &RunId) -> Standing {
        resume_run(run, &Values::default(), &self.surroundings, &NoObserver).await.unwrap()
    }

    pub(crate) async fn undo(&self, run: &RunId) -> Standing {
        undo_run(run, &Values::default(), &self.surroundings, &NoObserver).await.unwrap()
    }

    pub(crate) async fn journal(&self, run: &RunId) -> Vec<Entry> {
        read_journal(&self.surroundings.repository, run).await.unwrap()
    }

    /// Runs a runbook that must reach its end, and returns how its steps ended.
    pub(crate) async fn completes(&self, runbook: &Runbook, values: &[(&str, &str)]) -> Vec<String> {
        let standing = self.run(runbook, values).await;
        let journal = self.journal(&standing.run).await;
        assert_eq!(standing.ending, Ending::Completed, "{journal:#?}");
        ends(&journal)
    }

    /// Runs a runbook whose last step must fail, and returns why.
    pub(crate) async fn fails(&self, runbook: &Runbook, values: &[(&str, &str)]) -> String {
        let standing = self.run(runbook, values).await;
        assert_eq!(standing.ending, Ending::Stopped);
        let journal = self.journal(&standing.run).await;
        journal.iter().rev().find_map(failure).unwrap()
    }
}

fn failure(entry: &Entry) -> Option<String> {
    match &entry.event {
        Event::Ended { outcome: Outcome::Failed, output, .. } => Some(output.clone()),
        _ => None,
    }
}

/// How steps ended, as `step outcome`.
pub(crate) fn ends(journal: &[Entry]) -> Vec<String> {
    let ended = journal.iter().filter_map(|entry| match &entry.event {
        Event::Ended { step, outcome, .. } => Some(format!("{step} {}", outcome.as_str())),
        Event::Skipped { step, done: true, .. } => Some(format!("{step} found done")),
        Event::Skipped { step, .. } => Some(format!("{step} skipped")),
        _ => None,
    });
    ended.collect()
}

/// What steps said, by the step.
pub(crate) fn output_of(journal: &[Entry], id: &str) -> String {
    let said = journal.iter().rev().find_map(|entry| match &entry.event {
        Event::Ended { step, output, .. } if step.as_str() == id => Some(output.clone()),
        _ => None,
    });
    said.unwrap_or_default()
}

/// Reads a runbook whose head is always the same.
pub(crate) fn runbook(rest: &str) -> Runbook {
    let runbook = Runbook::from_toml(&format!("name = \"test\"\ntitle = \"Test\"\n{rest}")).unwrap();
    runbook.check().unwrap();
    runbook
}
