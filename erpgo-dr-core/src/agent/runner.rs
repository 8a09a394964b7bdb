//! The loop of an agent: who acts, what is due, how it went.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::alarms::Alarms;
use super::due::{Due, Memory, Pending, next, remember};
use super::error::AgentError;
use super::job::{JobContext, JobOutcome, ScheduledJob};
use super::leadership::{Leadership, Standing};
use super::notify::Notifier;
use super::state::{AgentRole, AgentState, JobState};
use super::{one_line, report_log};
use crate::causes::chain;
use crate::ops::{self, ErrorKind};
use crate::progress::{NoProgress, Progress};
use crate::repository::{JobName, JobRun, Repository, RepositoryError, RunBeginning, RunEnding, RunResult};
use crate::types::JobRunId;

/// How many runs of a job are read when an agent begins to act.
pub(super) const REMEMBERED: usize = 64;
/// How often it is tried to write down how a run ended, and the wait between two tries.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// What stands for the configuration among alarms.
const CONFIGURATION: &str = "configuration";
/// What stands for the repository, when nobody can tell who acts.
const REPOSITORY: &str = "repository";

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
    /// [`AgentError::NoJobs`], [`AgentError::SameName`].
    pub fn new(repository: Arc<Repository>, jobs: Vec<ScheduledJob>) -> Result<Self, AgentError> {
        let mut names = BTreeSet::new();
        if let Some(twice) = jobs.iter().find(|job| !names.insert(&job.name)) {
            return Err(AgentError::SameName { name: twice.name.clone() });
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

enum Message {
    Reload(Box<AgentPlan>),
    Refuse(String),
}

/// Tells a running agent of a new configuration. Cloning shares the agent.
#[derive(Debug, Clone)]
pub struct AgentControl {
    messages: mpsc::UnboundedSender<Message>,
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

/// A job and what is known of it.
struct Tracked {
    job: ScheduledJob,
    delay: TimeDelta,
    memory: Memory,
}

/// An agent.
pub struct Agent {
    plan: AgentPlan,
    options: AgentOptions,
    leadership: Leadership,
    alarms: Alarms,
    tracked: Vec<Tracked>,
    runs: Vec<JobRun>,
    state: watch::Sender<AgentState>,
    messages: mpsc::UnboundedReceiver<Message>,
    control: AgentControl,
    stopping: bool,
    /// Since when the repository cannot be reached.
    away_since: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Agent {
    /// Makes an agent, which does nothing until it is run.
    pub fn new(plan: AgentPlan, options: AgentOptions) -> Self {
        let started = plan.repository.environment().clock.now();
        let jobs = plan.jobs.iter().map(|job| JobState::new(job.name.clone(), job.job.kind())).collect();
        let (host, role) = (options.host.clone(), AgentRole::Starting);
        let state = AgentState { host, started, role, jobs, alarms: Vec::new(), reload_refused: None };
        let (sender, messages) = mpsc::unbounded_channel();
        Self {
            leadership: Leadership::new(options.lease),
            alarms: Alarms::default(),
            tracked: Vec::new(),
            runs: Vec::new(),
            state: watch::Sender::new(state),
            messages,
            control: AgentControl { messages: sender },
            stopping: false,
            away_since: None,
            plan,
            options,
        }
    }

    /// Returns how long a job may go on after the agent was told to stop.
    pub fn grace(&self) -> Duration {
        self.options.grace
    }

    /// Returns what tells how the agent stands, now and whenever that changes.
    pub fn state(&self) -> watch::Receiver<AgentState> {
        self.state.subscribe()
    }

    /// Returns what tells the agent of a new configuration.
    pub fn control(&self) -> AgentControl {
        self.control.clone()
    }

    /// Does what is due until `stop` resolves. A job that runs then may go on for [`AgentOptions::grace`], and is given up behind it.
    ///
    /// While another agent acts, this one stands by. Nothing that goes wrong ends it. Dropping the future leaves a job as a crash does, and gives
    /// up the lease in the background.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) -> AgentReport {
        let mut stop = std::pin::pin!(stop.fuse());
        while !self.stopping {
            while let Ok(message) = self.messages.try_recv() {
                self.heed(message).await;
            }
            let pause = tokio::select! {
                biased;
                () = stop.as_mut() => break,
                pause = self.stand() => pause,
            };
            let pause = match pause {
                Some(pause) => pause,
                None => match self.due(self.now()) {
                    // Not within a `select`: what has begun is not dropped because of a request to stop.
                    Ok((index, due)) => {
                        self.act(index, due, stop.as_mut()).await;
                        continue;
                    }
                    Err(pause) => pause,
                },
            };
            tokio::select! {
                biased;
                () = stop.as_mut() => break,
                Some(message) = self.messages.recv() => self.heed(message).await,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.leave().await
    }

    /// Does what is due now, and ends.
    ///
    /// # Errors
    /// [`RepositoryError::Busy`] while another agent acts; of the repository.
    pub async fn once(mut self, stop: impl Future<Output = ()> + Send) -> Result<AgentReport, AgentError> {
        let mut stop = std::pin::pin!(stop.fuse());
        self.leadership.take(&self.plan.repository).await?;
        if let Err(error) = self.begin_to_act().await {
            self.leadership.resign().await;
            return Err(error.into());
        }
        let mut done = BTreeSet::new();
        while let Ok((index, due)) = self.due(self.now()) {
            // An attempt that failed is made again by a later call.
            if self.stopping || !done.insert(self.tracked[index].job.name.clone()) {
                break;
            }
            self.act(index, due, stop.as_mut()).await;
        }
        Ok(self.leave().await)
    }

    fn now(&self) -> DateTime<Utc> {
        self.plan.repository.environment().clock.now()
    }

    /// Finds out who acts. Returns how long to wait, unless it is this agent.
    async fn stand(&mut self) -> Option<Duration> {
        let standing = self.leadership.seek(&self.plan.repository).await;
        let role = match standing {
            Standing::Leader => AgentRole::Leader,
            Standing::New => match self.begin_to_act().await {
                Ok(()) => AgentRole::Leader,
                Err(error) => {
                    self.leadership.resign().await;
                    AgentRole::OutOfTouch { error: chain(&error) }
                }
            },
            Standing::StandingBy { holder } => AgentRole::StandingBy { holder },
            Standing::OutOfTouch { error } => AgentRole::OutOfTouch { error },
        };
        self.watch_repository(&role);
        let acts = role == AgentRole::Leader;
        self.enter(role);
        self.settle_alarms().await;
        if acts {
            return None;
        }
        self.state.send_modify(|state| state.jobs.iter_mut().for_each(|job| job.next_due = None));
        Some(self.leadership.pause(self.options.tick))
    }

    /// Raises an alarm when the repository has been away for as long as a lease lives: nobody acts any more then.
    fn watch_repository(&mut self, role: &AgentRole) {
        let (now, subject) = (self.now(), own_name(REPOSITORY));
        let AgentRole::OutOfTouch { error } = role else {
            self.away_since = None;
            return self.alarms.clear(&subject, now);
        };
        tracing::warn!(error, "who acts cannot be found out; trying again");
        let since = *self.away_since.get_or_insert(now);
        if now - since >= TimeDelta::from_std(self.options.lease).unwrap_or(TimeDelta::MAX) {
            self.alarms.raise(&subject, &format!("cannot be reached: {}", one_line(error)), now);
        }
    }

    fn enter(&self, role: AgentRole) {
        let same = std::mem::discriminant(&self.state.borrow().role) == std::mem::discriminant(&role);
        if !same {
            tracing::info!(?role, "the agent has another role");
        }
        self.state.send_if_modified(|state| {
            let changed = state.role != role;
            state.role = role;
            changed
        });
    }

    /// Reads what was done before, and closes what broke off.
    async fn begin_to_act(&mut self) -> Result<(), RepositoryError> {
        let now = self.now();
        self.close_broken_runs(now).await?;
        self.alarms.load(&self.plan.repository).await?;
        let since = first_seen(&self.plan.repository, now).await?;
        let mut tracked = Vec::with_capacity(self.plan.jobs.len());
        for job in self.plan.jobs.clone() {
            tracked.push(self.track(job, since, now).await?);
        }
        self.tracked = tracked;
        self.show_due();
        Ok(())
    }

    async fn close_broken_runs(&self, now: DateTime<Utc>) -> Result<(), RepositoryError> {
        let repository = &self.plan.repository;
        let own = self.leadership.holder();
        let history = repository.history(None, REMEMBERED).await?;
        let open = history.runs.iter().filter(|run| run.ending.is_none() && Some(run.beginning.agent.as_str()) != own);
        for run in open {
            tracing::warn!(job = %run.beginning.job, run = %run.beginning.id, "a run was broken off");
            let ending = RunEnding {
                ended: now,
                result: RunResult::BrokenOff,
                message: format!("the agent on {} ended in the middle of it", run.beginning.host),
                seconds: None,
                bytes: None,
                retry_at: None,
                facts: Default::default(),
            };
            repository.end_job_run(&run.beginning.job, &run.beginning.id, &ending).await?;
        }
        Ok(())
    }

    /// Reads what is remembered of a job.
    async fn track(
        &mut self,
        job: ScheduledJob,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Tracked, RepositoryError> {
        let repository = &self.plan.repository;
        let history = repository.history(Some(&job.name), REMEMBERED).await?;
        for problem in &history.problems {
            tracing::warn!(
                subject = problem.subject,
                problem = problem.problem,
                "a run of the history cannot be trusted"
            );
        }
        let memory = remember(&job.timing, &history.runs, since, now);
        let delay = job.timing.schedule.delay(job.name.as_str(), &self.options.host);
        self.change(&job.name, |state| recall(state, &history.runs));
        if let Some(newest) = history.runs.first().filter(|_| memory.pending.is_none()) {
            // An agent that died may have left this undone.
            let message = newest.ending.as_ref().map_or("", |ending| ending.message.as_str());
            match newest.result() {
                Some(RunResult::Succeeded) => self.alarms.clear(&job.name, now),
                Some(RunResult::Failed | RunResult::Found | RunResult::BrokenOff) => {
                    self.alarms.raise(&job.name, message, now);
                }
                _ => {}
            }
        }
        Ok(Tracked { job, delay, memory })
    }

    /// Returns the job that is run now, or how long to wait.
    fn due(&self, now: DateTime<Utc>) -> Result<(usize, Due), Duration> {
        let all = self.tracked.iter().enumerate().filter_map(|(index, tracked)| {
            Some((index, next(&tracked.job.timing, tracked.delay, &tracked.memory, now)?))
        });
        let all: Vec<(usize, Due)> = all.collect();
        let ready = all.iter().filter(|(_, due)| due.at <= now);
        // Kinds are in the order of their urgency.
        if let Some(found) = ready.min_by_key(|(index, due)| (self.tracked[*index].job.job.kind(), due.at)) {
            return Ok(*found);
        }
        let soonest = all.iter().map(|(_, due)| due.at).min();
        let pause = soonest.and_then(|at| (at - now).to_std().ok());
        Err(pause.map_or(self.options.tick, |pause| pause.min(self.options.tick)))
    }

    /// Runs a job, and writes down how it went.
    async fn act(&mut self, index: usize, due: Due, mut stop: std::pin::Pin<&mut (impl Future<Output = ()> + Send)>) {
        let now = self.now();
        let job = self.tracked[index].job.clone();
        let beginning = RunBeginning {
            id: JobRunId::generate(now),
            job: job.name.clone(),
            kind: job.job.kind().to_string(),
            cause: due.cause,
            scheduled: due.scheduled,
            attempt: due.attempt,
            host: self.options.host.clone(),
            agent: self.leadership.holder().unwrap_or_default().to_owned(),
            began: now,
        };
        tracing::info!(job = %job.name, run = %beginning.id, attempt = due.attempt, "job begins");
        self.change(&job.name, |state| state.running_since = Some(now));
        let started = tokio::time::Instant::now();
        let repository = Arc::clone(&self.plan.repository);
        let outcome = match repository.begin_job_run(&beginning).await {
            // What cannot be written down is not done: nobody would know of it.
            Err(error) => Some(Err(error.into())),
            Ok(()) => {
                let progress = Arc::clone(&self.options.progress);
                let context = JobContext::new(&repository, progress.as_ref());
                let mut work = job.job.run(&context);
                tokio::select! {
                    biased;
                    outcome = &mut work => Some(outcome),
                    () = stop.as_mut() => {
                        self.stopping = true;
                        self.enter(AgentRole::Stopping);
                        tokio::time::timeout(self.options.grace, work).await.ok()
                    }
                }
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        let ending = self.judge(index, due, &beginning, outcome, seconds);
        self.end(&beginning, &ending).await;
        self.settle_alarms().await;
    }

    /// Decides what follows from the outcome of a run.
    fn judge(
        &mut self,
        index: usize,
        due: Due,
        beginning: &RunBeginning,
        outcome: Option<ops::Result<JobOutcome>>,
        seconds: f64,
    ) -> RunEnding {
        let now = self.now();
        let mut ending = RunEnding {
            ended: now,
            result: RunResult::Interrupted,
            message: "the agent was told to stop".to_owned(),
            seconds: Some(seconds),
            bytes: None,
            retry_at: None,
            facts: Default::default(),
        };
        let tracked = &mut self.tracked[index];
        let (name, timing) = (&tracked.job.name, &tracked.job.timing);
        let since =
            tracked.memory.pending.filter(|pending| pending.attempts > 0).map_or(beginning.began, |was| was.since);
        let settled = Memory { settled: Some(due.scheduled), pending: None };
        match outcome {
            None => return ending,
            Some(Ok(outcome)) => {
                tracked.memory = settled;
                ending.result = if outcome.passed { RunResult::Succeeded } else { RunResult::Found };
                (ending.message, ending.bytes, ending.facts) =
                    (one_line(&outcome.message), outcome.bytes, outcome.facts);
                match outcome.passed {
                    true => self.alarms.clear(name, now),
                    false => self.alarms.raise(name, &ending.message, now),
                }
            }
            Some(Err(error)) => {
                ending.result = RunResult::Failed;
                ending.message = one_line(&chain(&error));
                ending.facts.insert("error".to_owned(), kind_name(error.kind()).into());
                ending.retry_at = timing.retry(due.attempt, since, now).filter(|_| may_pass(error.kind()));
                tracked.memory = match ending.retry_at {
                    Some(retry_at) => {
                        let pending = Pending { scheduled: due.scheduled, attempts: due.attempt, since, retry_at };
                        Memory { settled: None, pending: Some(pending) }
                    }
                    None => settled,
                };
                if ending.retry_at.is_none() {
                    let reason = format!("{} (attempt {})", ending.message, due.attempt);
                    self.alarms.raise(name, &reason, now);
                }
            }
        }
        ending
    }

    async fn end(&mut self, beginning: &RunBeginning, ending: &RunEnding) {
        match ending.result {
            RunResult::Succeeded => tracing::info!(job = %beginning.job, message = ending.message, "job done"),
            result => {
                tracing::warn!(job = %beginning.job, ?result, message = ending.message, retry_at = ?ending.retry_at, "job not done well")
            }
        }
        for try_again in (0..TRIES).rev() {
            match self.plan.repository.end_job_run(&beginning.job, &beginning.id, ending).await {
                Ok(()) => break,
                Err(error) if !try_again.eq(&0) => {
                    tracing::warn!(%error, "how a run ended could not be written down; trying again");
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                Err(error) => tracing::error!(%error, "how a run ended is not written down: it will look broken off"),
            }
        }
        if let Some(path) = &self.plan.report_log {
            report_log::append(path, beginning, ending);
        }
        let run = JobRun { beginning: beginning.clone(), running: false, ending: Some(ending.clone()) };
        self.change(&beginning.job, |state| {
            state.running_since = None;
            state.attempts += 1;
            match ending.result {
                RunResult::Succeeded => state.successes += 1,
                RunResult::Interrupted => {}
                _ => state.failures += 1,
            }
            note(state, &run);
        });
        self.runs.push(run);
        if self.runs.len() > REMEMBERED {
            self.runs.remove(0);
        }
        self.show_due();
    }

    /// Takes a new configuration, or notes that one was refused.
    async fn heed(&mut self, message: Message) {
        let subject = own_name(CONFIGURATION);
        let now = self.now();
        match message {
            Message::Refuse(reason) => {
                tracing::error!(reason, "the new configuration is refused; the old one goes on");
                self.alarms.raise(&subject, &format!("refused, the old one goes on: {reason}"), now);
                self.state.send_modify(|state| state.reload_refused = Some(reason));
            }
            Message::Reload(plan) if plan.repository.settings().id != self.plan.repository.settings().id => {
                let reason = AgentError::OtherRepository.to_string();
                tracing::error!(reason, "the new configuration is refused; the old one goes on");
                self.alarms.raise(&subject, &format!("refused, the old one goes on: {reason}"), now);
                self.state.send_modify(|state| state.reload_refused = Some(reason));
            }
            Message::Reload(plan) => {
                self.plan = *plan;
                self.alarms.clear(&subject, now);
                let jobs = &self.plan.jobs;
                self.state.send_modify(|state| {
                    state.reload_refused = None;
                    let known = std::mem::take(&mut state.jobs);
                    state.jobs = jobs
                        .iter()
                        .map(|job| {
                            let fresh = || JobState::new(job.name.clone(), job.job.kind());
                            let same = |known: &&JobState| known.name == job.name && known.kind == job.job.kind();
                            known.iter().find(same).cloned().unwrap_or_else(fresh)
                        })
                        .collect();
                });
                tracing::info!(jobs = jobs.len(), "a new configuration is in force");
                if self.leadership.holder().is_some()
                    && let Err(error) = self.begin_to_act().await
                {
                    // The history is read when the lease is had anew.
                    tracing::warn!(%error, "the history of the new configuration cannot be read; trying again");
                    self.leadership.resign().await;
                }
            }
        }
        self.settle_alarms().await;
    }

    async fn settle_alarms(&mut self) {
        let now = self.now();
        let notifier = self.plan.notifier.as_deref();
        self.alarms.settle(&self.plan.repository, notifier, &self.options.host, now).await;
        let open = self.alarms.open();
        self.state.send_if_modified(|state| {
            let changed = state.alarms != open;
            state.alarms = open;
            changed
        });
    }

    async fn leave(mut self) -> AgentReport {
        self.enter(AgentRole::Stopping);
        self.leadership.resign().await;
        AgentReport { runs: self.runs, state: self.state.borrow().clone() }
    }

    fn show_due(&self) {
        let now = self.now();
        for tracked in &self.tracked {
            let due = next(&tracked.job.timing, tracked.delay, &tracked.memory, now);
            self.change(&tracked.job.name, |state| state.next_due = due.map(|due| due.at));
        }
    }

    fn change(&self, name: &JobName, change: impl FnOnce(&mut JobState)) {
        self.state.send_modify(|state| {
            if let Some(job) = state.jobs.iter_mut().find(|job| job.name == *name) {
                change(job);
            }
        });
    }
}

/// Returns from when on moments of a schedule count: since the first run of any job, or now.
pub(super) async fn first_seen(repository: &Repository, now: DateTime<Utc>) -> Result<DateTime<Utc>, RepositoryError> {
    Ok(repository.history_since().await?.unwrap_or(now).min(now))
}

fn own_name(text: &str) -> JobName {
    text.parse().expect("a constant that is a name")
}

/// Returns whether another attempt may go better without anybody's help.
fn may_pass(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Invalid | ErrorKind::Integrity | ErrorKind::Locked | ErrorKind::Archived)
}

/// Shows what is remembered of a job, the newest run first.
fn recall(state: &mut JobState, runs: &[JobRun]) {
    state.consecutive_failures = 0;
    for run in runs.iter().rev() {
        note(state, run);
    }
}

fn note(state: &mut JobState, run: &JobRun) {
    let Some(result) = run.result() else { return };
    state.last_result = Some(result);
    state.last_message = run.ending.as_ref().map(|ending| ending.message.clone());
    match (result, &run.ending) {
        (RunResult::Succeeded, Some(ending)) => {
            state.consecutive_failures = 0;
            state.last_success = Some(ending.ended);
            state.last_duration_seconds = ending.seconds;
            state.last_bytes = ending.bytes;
        }
        (RunResult::Interrupted, _) => {}
        _ => state.consecutive_failures = state.consecutive_failures.saturating_add(1),
    }
}

fn kind_name(kind: ErrorKind) -> String {
    format!("{kind:?}").to_lowercase()
}
