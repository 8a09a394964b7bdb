//! Runs a runbook of a few steps, and looks at what its journal says.

use std::sync::Arc;

use erpgo_dr_core::Repository;
use erpgo_dr_core::clock::SystemClock;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::crypto::keys::{Wrapper, generate_identity};
use erpgo_dr_core::repository::{Environment, InitOptions};
use erpgo_dr_core::runbook::{
    Entry, Event, NoObserver, Outcome, RunOptions, Runbook, Standing, Surroundings, Unattended, read_journal,
    run_runbook, runbook_of_run, undo_run,
};
use erpgo_dr_core::storage::LocalStorage;

/// What runs work with.
pub(crate) struct Site {
    pub(crate) repository: Arc<Repository>,
    surroundings: Surroundings,
    _folder: tempfile::TempDir,
}

/// A run that has ended.
pub(crate) struct Run {
    pub(crate) standing: Standing,
    pub(crate) entries: Vec<Entry>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Arc::new(LocalStorage::open(folder.path().join("repository")).unwrap());
        let environment = Environment::new(ComputePool::new(2).unwrap(), Arc::new(SystemClock));
        let slots = [("owner".parse().unwrap(), Wrapper::Recipients(vec![generate_identity().recipient]))];
        let repository = Repository::init(storage, environment, &InitOptions::default(), &slots).await.unwrap();
        let repository = Arc::new(repository);
        let surroundings = Surroundings::new(repository.clone(), Arc::new(Unattended::allowing("ann")));
        Self { repository, surroundings, _folder: folder }
    }

    /// Runs the steps with the secret `key`.
    pub(crate) async fn run(&self, steps: &str, key: &str) -> Run {
        let runbook = runbook(steps);
        let values = runbook.values([("key", key)]).unwrap();
        let standing = run_runbook(&runbook, values, &self.surroundings, &RunOptions::default(), &NoObserver).await;
        self.ended(standing.unwrap(), key).await
    }

    pub(crate) async fn undo(&self, run: &Run, key: &str) -> Run {
        let (runbook, _) = runbook_of_run(&self.repository, &run.standing.run).await.unwrap();
        let given = runbook.some_values([("key", key)]).unwrap();
        let standing = undo_run(&run.standing.run, &given, &self.surroundings, &NoObserver).await.unwrap();
        self.ended(standing, key).await
    }

    async fn ended(&self, standing: Standing, key: &str) -> Run {
        let entries = read_journal(&self.repository, &standing.run).await.unwrap();
        assert!(!serde_json::to_string(&entries).unwrap().contains(key), "the journal has the secret");
        Run { standing, entries }
    }
}

impl Run {
    /// How the last attempt ended, and what it said.
    pub(crate) fn last(&self) -> (Outcome, &str) {
        let ended = self.entries.iter().rev().find_map(|entry| match &entry.event {
            Event::Ended { outcome, output, .. } => Some((*outcome, output.as_str())),
            _ => None,
        });
        ended.unwrap()
    }

    /// What it said when it failed.
    pub(crate) fn failure(&self) -> &str {
        let (outcome, output) = self.last();
        assert_eq!(outcome, Outcome::Failed, "{output}");
        output
    }
}

pub(crate) fn runbook(steps: &str) -> Runbook {
    let text = format!(
        "name = \"test\"\ntitle = \"A test\"\n[variables.key]\ntype = \"secret\"\n[variables.word]\ntype = \"text\"\ndefault = \"w\"\n{steps}"
    );
    Runbook::from_toml(&text).unwrap()
}
