//! What an agent is given, what it is told while it runs, and what it reports.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use crate::agent::alarms;
use crate::agent::error::AgentError;
use crate::agent::job::ScheduledJob;
use crate::agent::state::AgentState;
use crate::agent::turns::Turns;
use crate::progress::{NoProgress, Progress};
use crate::repository::{JobRun, Repository, RunResult};
use crate::runbook::Notifier;

/// What an agent does, and for which repository. It may be replaced while the agent runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AgentPlan {
    /// The repository, unlocked.
    pub repository: Arc<Repository>,
    /// The jobs.
    pub jobs: Vec<ScheduledJob>,
    /// Who tells people of alarms.
    pub notifier: Option<Arc<dyn Notifier>>,
    /// The file that gets a line for each run.
    pub report_log: Option<PathBuf>,
}

impl AgentPlan {
    /// Does these jobs.
    ///
    /// # Errors
    /// [`AgentError::NoJobs`], [`AgentError::SameName`], [`AgentError::ReservedName`], [`AgentError::Timing`].
    pub fn new(repository: Arc<Repository>, jobs: Vec<ScheduledJob>) -> Result<Self, AgentError> {
        let mut names = BTreeSet::new();
        if let Some(twice) = jobs.iter().find(|job| !names.insert(&job.name)) {
            return Err(AgentError::SameName { name: twice.name.clone() });
        }
        if let Some(ScheduledJob { name, .. }) = jobs.iter().find(|job| alarms::is_own(&job.name)) {
            return Err(AgentError::ReservedName { name: name.clone() });
        }
        if let Some((job, reason)) = jobs.iter().find_map(|job| Some((job.name.clone(), job.timing.fault()?))) {
            return Err(AgentError::Timing { job, reason });
        }
        match jobs.is_empty() {
            true => Err(AgentError::NoJobs),
            false => Ok(Self { repository, jobs, notifier: None, report_log: None }),
        }
    }

    /// Sets who tells people of alarms.
    pub fn with_notifier(mut self, notifier: Option<Arc<dyn Notifier>>) -> Self {
        self.notifier = notifier;
        self
    }

    /// Sets the file that gets a line for each run.
    pub fn with_report_log(mut self, path: Option<PathBuf>) -> Self {
        self.report_log = path;
        self
    }
}

/// How an agent goes about it.
#[derive(Clone)]
#[non_exhaustive]
pub struct AgentOptions {
    /// The name of this host, in the history and in alarms. Jitter goes by it.
    pub host: String,
    /// How long its lease lives after each renewal, in whole seconds: another agent takes over when this one has been dead for so long.
    pub lease: Duration,
    /// How long a job may go on after the agent was told to stop.
    pub grace: Duration,
    /// The most that is slept before the time is looked at again: a host that was asleep is noticed by it.
    pub tick: Duration,
    /// What shows the progress of jobs.
    pub progress: Arc<dyn Progress>,
    /// What its jobs wait for, beside those of other agents of the process.
    pub turns: Option<Turns>,
}

impl AgentOptions {
    /// Runs on this host.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            lease: Duration::from_secs(120),
            grace: Duration::from_secs(600),
            tick: Duration::from_secs(15),
            progress: Arc::new(NoProgress),
            turns: None,
        }
    }

    /// Runs on this host, by the name that it has.
    pub fn of_this_host() -> Self {
        Self::new(whoami::hostname().unwrap_or_else(|_| "unknown".to_owned()))
    }

    /// Sets how long its lease lives.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_secs(1));
        self
    }

    /// Sets how long a job may go on after the agent was told to stop.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets the most that is slept before the time is looked at again.
    pub fn with_tick(mut self, tick: Duration) -> Self {
        self.tick = tick;
        self
    }

    /// Sets what shows the progress of jobs.
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Sets what its jobs wait for, beside those of other agents of the process.
    pub fn with_turns(mut self, turns: Option<Turns>) -> Self {
        self.turns = turns;
        self
    }
}

impl std::fmt::Debug for AgentOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentOptions").field("host", &self.host).field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// What an agent did until it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AgentReport {
    /// Runs that have ended, the oldest first; of an agent that runs for long only the newest.
    pub runs: Vec<JobRun>,
    /// How the jobs stood at the end.
    pub state: AgentState,
}

impl AgentReport {
    /// Returns whether nothing that it ran failed, found something bad, or was given up.
    pub fn is_well(&self) -> bool {
        self.runs.iter().all(|run| run.result() == Some(RunResult::Succeeded))
    }
}

/// What a running agent is told.
pub(super) enum Message {
    Reload(Box<AgentPlan>),
    Refuse(String),
}

/// Tells a running agent of a new configuration. Cloning shares the agent.
#[derive(Debug, Clone)]
pub struct AgentControl {
    pub(super) messages: mpsc::UnboundedSender<Message>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reload(_) => "Reload",
            Self::Refuse(_) => "Refuse",
        })
    }
}

impl AgentControl {
    /// Replaces what the agent does, as soon as no job runs. What is remembered of jobs stays with their names.
    pub fn reload(&self, plan: AgentPlan) {
        // An agent that has ended needs no plan.
        let _ = self.messages.send(Message::Reload(Box::new(plan)));
    }

    /// Says that a new configuration was refused: an alarm, until one is taken.
    pub fn refuse(&self, reason: impl Into<String>) {
        let _ = self.messages.send(Message::Refuse(reason.into()));
    }
}
