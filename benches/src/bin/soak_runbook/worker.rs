//! One run in a process of its own, which kills itself where it is told to.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use erpgo_dr_core::Repository;
use erpgo_dr_core::clock::SystemClock;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::crypto::keys::{Identities, Unlocker};
use erpgo_dr_core::postgres::ClientPrograms;
use erpgo_dr_core::repository::Environment;
use erpgo_dr_core::runbook::{
    Answer, Choice, Entry, Operator, Question, QuestionKind, RunObserver, RunOptions, Runbook, Surroundings, Values,
    resume_run, run_runbook, shipped,
};
use erpgo_dr_core::storage::LocalStorage;
use erpgo_dr_core::types::RunId;
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

use crate::Outcome;

/// The argument that makes this program a worker.
pub(crate) const WORKER: &str = "worker";

/// All that a worker is told, on its standard input: it holds a secret, which is why it is no argument.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) repository: PathBuf,
    pub(crate) identity: String,
    pub(crate) programs: PathBuf,
    pub(crate) runbook: String,
    pub(crate) values: Vec<(String, String)>,
    /// The run that is resumed; none begins one.
    pub(crate) resume: Option<String>,
    /// After which entry it kills itself, and how many milliseconds later.
    pub(crate) kill: Option<(u32, u64)>,
}

/// Reads a job from standard input and does it. Says `run ID` when it has begun, and how it ended.
pub(crate) async fn work() -> Outcome<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let job: Job = serde_json::from_str(&text)?;
    let surroundings = job.surroundings().await?;
    let killer = Killer { at: job.kill };
    let standing = match &job.resume {
        Some(run) => resume_run(&run.parse::<RunId>()?, &Values::default(), &surroundings, &killer).await?,
        None => {
            let text = shipped().find(|(name, _)| *name == job.runbook).ok_or("no such runbook")?.1;
            let runbook = Runbook::from_toml(text)?;
            let values = runbook.values(job.values.iter().map(|(name, text)| (name.as_str(), text.as_str())))?;
            run_runbook(&runbook, values, &surroundings, &RunOptions::default(), &killer).await?
        }
    };
    let step = standing.step.map(|step| step.to_string()).unwrap_or_default();
    writeln!(io::stdout(), "ended {} {step}", standing.ending.as_str())?;
    Ok(())
}

impl Job {
    /// Opens and unlocks the repository.
    pub(crate) async fn open(&self) -> Outcome<Repository> {
        let environment = Environment::new(ComputePool::new(2)?, Arc::new(SystemClock));
        let mut repository = Repository::open(Arc::new(LocalStorage::open(&self.repository)?), environment).await?;
        let identities = Identities::parse(self.identity.clone().into_bytes().into(), None).await?;
        repository.unlock(&Unlocker::Identities(identities)).await?;
        Ok(repository)
    }

    async fn surroundings(&self) -> Outcome<Surroundings> {
        Ok(Surroundings::new(Arc::new(self.open().await?), Arc::new(Willing))
            .with_programs(ClientPrograms::new().folder(&self.programs))
            .with_environment(vec![("PATH".into(), "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into())]))
    }
}

/// Says yes to everything, and has done again what was cut off.
#[derive(Debug)]
struct Willing;

#[async_trait]
impl Operator for Willing {
    fn name(&self) -> String {
        "soak".to_owned()
    }

    async fn ask(&self, question: &Question) -> Answer {
        let choice = if question.kind == QuestionKind::Interrupted { Choice::Again } else { Choice::Yes };
        Answer::new(choice, "soak", None)
    }
}

/// Kills this process once an entry is durable.
struct Killer {
    at: Option<(u32, u64)>,
}

impl RunObserver for Killer {
    fn recorded(&self, run: &RunId, entry: &Entry) {
        if entry.number == 0 {
            // Nobody reads on if this cannot be written.
            let _ = writeln!(io::stdout(), "run {run}").and_then(|()| io::stdout().flush());
        }
        let Some((number, later)) = self.at.filter(|(number, _)| *number == entry.number) else { return };
        debug_assert_eq!(number, entry.number);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(later));
            let _ = kill_process(getpid(), Signal::KILL);
        });
        if later == 0 {
            std::thread::sleep(Duration::from_secs(60));
        }
    }
}
