//! One operation in a process of its own, to be killed in the midst of it.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use erpgo_dr_core::clock::SystemClock;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::crypto::keys::{Identities, Unlocker};
use erpgo_dr_core::ops::{self, BackupOptions, PruneOptions};
use erpgo_dr_core::postgres::{ClientPrograms, ConnectionSettings, DumpOptions, LogicalDriver};
use erpgo_dr_core::progress::NoProgress;
use erpgo_dr_core::repository::Environment;
use erpgo_dr_core::retention::KeepLast;
use erpgo_dr_core::storage::{LocalStorage, RepairOptions, ReplicatedStorage, WritePolicy};
use erpgo_dr_core::{Repository, Storage};
use serde::{Deserialize, Serialize};

use crate::Outcome;

/// The argument that makes this program a worker.
pub(crate) const WORKER: &str = "worker";

/// What a worker says of a backup, before its identifier, once the library has returned it.
pub(crate) const COMMITTED: &str = "committed ";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operation {
    Backup,
    Prune,
    Repair,
}

/// All that a worker is told, on its standard input: it holds a secret, which is why it is no argument.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) operation: Operation,
    pub(crate) places: Vec<PathBuf>,
    pub(crate) identity: String,
    pub(crate) url: String,
    pub(crate) programs: PathBuf,
    /// How many backups a prune keeps.
    pub(crate) keep: u32,
}

/// Reads a job from standard input and does it.
pub(crate) async fn work() -> Outcome<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let job: Job = serde_json::from_str(&text)?;
    let repository = job.open().await?;
    match job.operation {
        Operation::Backup => {
            let report = ops::backup(&repository, &job.driver()?, &BackupOptions::default(), &NoProgress).await?;
            writeln!(io::stdout(), "{COMMITTED}{}", report.id)?;
            io::stdout().flush()?;
        }
        Operation::Prune => drop(job.prune(&repository, job.keep).await?),
        Operation::Repair => drop(job.repair(&repository).await?),
    }
    Ok(())
}

impl Job {
    /// Opens and unlocks the repository anew.
    pub(crate) async fn open(&self) -> Outcome<Repository> {
        self.open_at(self.storage()?).await
    }

    pub(crate) async fn open_at(&self, storage: Arc<dyn Storage>) -> Outcome<Repository> {
        let mut repository = Repository::open(storage, environment()?).await?;
        let identities = Identities::parse(self.identity.clone().into_bytes().into(), None).await?;
        repository.unlock(&Unlocker::Identities(identities)).await?;
        Ok(repository)
    }

    pub(crate) fn storage(&self) -> Outcome<Arc<dyn Storage>> {
        let mut places = self.local_places()?;
        match places.len() {
            1 => Ok(places.remove(0)),
            _ => Ok(Arc::new(self.replicated()?)),
        }
    }

    pub(crate) fn replicated(&self) -> Outcome<ReplicatedStorage> {
        let mut places = self.local_places()?;
        let primary = places.remove(0);
        Ok(ReplicatedStorage::new(primary, places, WritePolicy::Primary))
    }

    pub(crate) fn local_places(&self) -> Outcome<Vec<Arc<dyn Storage>>> {
        let open = |path: &PathBuf| Ok(Arc::new(LocalStorage::open(path)?) as Arc<dyn Storage>);
        self.places.iter().map(open).collect()
    }

    pub(crate) fn driver(&self) -> Outcome<LogicalDriver> {
        let settings: ConnectionSettings = self.url.parse()?;
        let programs = ClientPrograms::new().folder(&self.programs);
        Ok(LogicalDriver::new(settings, programs).dump_options(DumpOptions::new().database("erp")))
    }

    pub(crate) async fn prune(&self, repository: &Repository, keep: u32) -> Outcome<ops::PruneReport> {
        let options = PruneOptions::default().with_grace(chrono::TimeDelta::zero());
        Ok(ops::prune(repository, &KeepLast(keep), &options, &NoProgress).await?)
    }

    pub(crate) async fn repair(&self, repository: &Repository) -> Outcome<ops::RepairOutcome> {
        let storage = self.replicated()?;
        Ok(ops::repair(repository, &storage, &RepairOptions::default(), false, &NoProgress).await?)
    }
}

pub(crate) fn environment() -> Outcome<Environment> {
    Ok(Environment::new(ComputePool::new(2)?, Arc::new(SystemClock)))
}
