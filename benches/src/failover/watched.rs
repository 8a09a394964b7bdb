//! A primary that is watched, in this process: the shipped runbook, a repository for its journal, and nobody to answer questions.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use erpgo_dr_core::Repository;
use erpgo_dr_core::clock::SystemClock;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::crypto::keys::{Wrapper, generate_identity};
use erpgo_dr_core::repository::{Environment, InitOptions};
use erpgo_dr_core::runbook::{
    Entry, Event, NoObserver, RunOptions, Runbook, Standing, Surroundings, Unattended, WatchObserver, WatchOptions,
    WatchReport, WatchState, read_journal, run_runbook, shipped, watch_primary,
};
use erpgo_dr_core::storage::LocalStorage;
use erpgo_dr_core::types::RunId;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::server::Server;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What watches need.
#[derive(Debug)]
pub struct Watched {
    runtime: Runtime,
    surroundings: Surroundings,
    runbook: Runbook,
    options: WatchOptions,
    application_file: PathBuf,
}

/// A watch that goes on.
#[derive(Debug)]
pub struct Watching {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<WatchReport, String>>,
    told: Arc<Told>,
}

#[derive(Debug, Default)]
struct Told(Mutex<Vec<WatchState>>);

impl WatchObserver for Told {
    fn changed(&self, state: &WatchState) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(state.clone());
    }
}

impl Watched {
    /// Makes a repository in `folder`, and the file in which the application finds the primary.
    ///
    /// # Errors
    /// If the repository cannot be made.
    pub fn new(folder: &Path, options: WatchOptions, primary: &Server) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let environment = Environment::new(ComputePool::new(2)?, Arc::new(SystemClock));
        let storage = Arc::new(LocalStorage::open(folder.join("repository"))?);
        let slots = [("owner".parse()?, Wrapper::Recipients(vec![generate_identity().recipient]))];
        let repository = runtime.block_on(Repository::init(storage, environment, &InitOptions::default(), &slots))?;
        let path = vec![("PATH".into(), "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into())];
        let operator = Unattended::allowing("nobody").with_words(["SWITCH".to_owned()]);
        let surroundings = Surroundings::new(Arc::new(repository), Arc::new(operator)).with_environment(path);
        let text = shipped().find(|(name, _)| *name == "database-failure").ok_or("the runbook is not there")?.1;
        let application_file = folder.join("application.env");
        std::fs::write(&application_file, format!("POSTGRES_PRIMARY_HOST={}\n", primary.host.address))?;
        Ok(Self { runtime, surroundings, runbook: Runbook::from_toml(text)?, options, application_file })
    }

    /// Returns the file in which the application finds the primary.
    pub fn application_file(&self) -> &Path {
        &self.application_file
    }

    /// Begins to watch, and returns once the primary was seen. `switch` says whether its host has a power switch.
    ///
    /// # Errors
    /// If the primary is not well.
    pub fn begin(&self, primary: &Server, standby: &Server, switch: bool) -> Outcome<Watching> {
        let mut given = vec![
            ("project", "/".to_owned()),
            ("primary", primary.url()),
            ("standby", standby.url()),
            ("standby_host", standby.host.address.to_string()),
            ("application_file", self.application_file.display().to_string()),
            ("primary_log", "true".to_owned()),
            ("primary_stop", primary.command_line("stop")?),
            ("primary_start", primary.command_line("start")?),
            ("primary_restart", primary.command_line("restart")?),
            ("application_stop", "true".to_owned()),
            ("application_start", "true".to_owned()),
            ("important_table", "commits".to_owned()),
        ];
        if switch {
            given.push(("fence_primary", primary.command_line("switch-off")?));
        }
        let values = self.runbook.values(given.iter().map(|(name, text)| (*name, text.as_str())))?;
        let (stop, stopped) = oneshot::channel();
        let told = Arc::new(Told::default());
        let (runbook, surroundings, options) = (self.runbook.clone(), self.surroundings.clone(), self.options.clone());
        let observer = Arc::clone(&told);
        let task = self.runtime.spawn(async move {
            let observers = (observer.as_ref() as &dyn WatchObserver, &NoObserver as &_);
            let stop = async {
                // A sender that is gone is a request, too.
                let _ = stopped.await;
            };
            let watched = watch_primary(&runbook, &values, &surroundings, &options, observers, stop).await;
            watched.map_err(|error| error.to_string())
        });
        let watching = Watching { stop: Some(stop), task, told };
        let begun = Instant::now();
        while !watching.states().contains(&WatchState::Up) {
            if watching.task.is_finished() || begun.elapsed() > Duration::from_secs(30) {
                return Err(format!("the watch does not see the primary: {:?}", watching.states()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(watching)
    }

    /// Has a primary and its standby change places by the shipped runbook `switchover`.
    ///
    /// # Errors
    /// If the run cannot begin.
    pub fn change_places(&self, primary: &Server, standby: &Server) -> Outcome<Standing> {
        let text = shipped().find(|(name, _)| *name == "switchover").ok_or("the runbook is not there")?.1;
        let runbook = Runbook::from_toml(text)?;
        let given = [
            ("project", "/".to_owned()),
            ("primary", primary.url()),
            ("standby", standby.url()),
            ("standby_host", standby.host.address.to_string()),
            ("application_file", self.application_file.display().to_string()),
            ("primary_stop", primary.command_line("stop-in-order")?),
            ("primary_start", primary.command_line("start")?),
            ("rejoin", primary.follow_line(standby)?),
            ("application_stop", "true".to_owned()),
            ("application_start", "true".to_owned()),
        ];
        let values = runbook.values(given.iter().map(|(name, text)| (*name, text.as_str())))?;
        let options = RunOptions::default();
        let run = run_runbook(&runbook, values, &self.surroundings, &options, &NoObserver);
        Ok(self.runtime.block_on(run)?)
    }

    /// Waits for the end of a watch.
    ///
    /// # Errors
    /// If it does not end in time, or ends with an error.
    pub fn ended(&self, watching: Watching, patience: Duration) -> Outcome<WatchReport> {
        let Watching { stop, task, told } = watching;
        let waited = self.runtime.block_on(async { tokio::time::timeout(patience, task).await });
        drop(stop);
        let states = told.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match waited {
            Ok(ended) => Ok(ended?.map_err(|error| format!("{error}, after {states:?}"))?),
            Err(_) => Err(format!("the watch goes on, after {states:?}").into()),
        }
    }

    /// Tells a watch to end, and waits for that.
    ///
    /// # Errors
    /// As [`Self::ended`].
    pub fn end(&self, mut watching: Watching, patience: Duration) -> Outcome<WatchReport> {
        if let Some(stop) = watching.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        self.ended(watching, patience)
    }

    /// Reads what a run did, as lines: when, and what.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn journal(&self, run: &RunId) -> Outcome<Vec<String>> {
        let entries = self.runtime.block_on(read_journal(&self.surroundings.repository, run))?;
        Ok(entries.iter().map(line).collect())
    }
}

impl Watching {
    /// Returns the states that it has seen.
    pub fn states(&self) -> Vec<WatchState> {
        self.told.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}

fn line(entry: &Entry) -> String {
    let what = match &entry.event {
        Event::Ended { step, outcome, output, .. } => format!("{step} {} {output}", outcome.as_str()),
        Event::Started { step, .. } => format!("{step} begins"),
        Event::Skipped { step, why, .. } => format!("{step} skipped: {why}"),
        Event::Finished { ending, .. } => ending.as_str().to_owned(),
        Event::Asked { question } => format!("{} asks {}", question.step, question.text),
        _ => "...".to_owned(),
    };
    format!("{} {what}", entry.at.format("%H:%M:%S%.3f"))
}
