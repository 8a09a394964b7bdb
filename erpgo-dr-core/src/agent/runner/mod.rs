//! The loop of an agent: who acts, what is due, how it went.

mod act;
mod options;
mod reload;
mod remembered;

pub use options::{AgentControl, AgentOptions, AgentPlan, AgentReport};
pub(super) use remembered::{first_seen, runs_of};

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use tokio::sync::{mpsc, watch};

use super::alarms::{Alarms, REPOSITORY};
use super::due::{Due, Memory, next};
use super::error::AgentError;
use super::job::ScheduledJob;
use super::leadership::{Leadership, Standing};
use super::one_line;
use super::state::{AgentRole, AgentState, JobState};
use super::turns::{Turn, Turns};
use crate::causes::chain;
use crate::repository::{JobName, JobRun, RunEnding};
use crate::types::JobRunId;
use options::Message;

/// How long a job gives way to more urgent ones.
const PATIENCE: TimeDelta = TimeDelta::hours(1);

/// How long an agent waits for its turn before it gives up its place to tell of alarms that nobody has heard.
const BETWEEN_TELLINGS: Duration = Duration::from_secs(60);

/// How long the repository may take to answer while a job runs.
const ANSWER: Duration = Duration::from_secs(10);

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
    /// How runs ended, where that is not written down yet.
    endings: Vec<(JobName, JobRunId, RunEnding)>,
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
            endings: Vec::new(),
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
            // Of several configurations the newest is in force, whatever those before it were.
            if let Some(message) = std::iter::from_fn(|| self.messages.try_recv().ok()).last() {
                self.heed(message).await;
            }
            let pause = tokio::select! {
                biased;
                () = stop.as_mut() => break,
                pause = self.stand() => pause,
            };
            let pause = match pause {
                Some(pause) => pause,
                None => match self.due(self.now(), &BTreeSet::new()) {
                    Ok(_) => {
                        let turn = tokio::select! {
                            biased;
                            () = stop.as_mut() => break,
                            turn = self.turn() => turn,
                        };
                        // Time has passed: something else may be more urgent by now, or another agent act.
                        if let Some(turn) = turn
                            && self.leadership.leads()
                            && let Ok((index, due)) = self.due(self.now(), &BTreeSet::new())
                        {
                            // Not within a `select`: what has begun is not dropped because of a request to stop.
                            self.act(index, due, turn, stop.as_mut()).await;
                        }
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
    /// [`RepositoryError::Busy`](crate::repository::RepositoryError::Busy) while another agent acts; of the repository.
    pub async fn once(mut self, stop: impl Future<Output = ()> + Send) -> Result<AgentReport, AgentError> {
        let mut stop = std::pin::pin!(stop.fuse());
        self.take_over().await?;
        // Those of before: nothing may be due.
        self.settle_alarms().await;
        let mut done = BTreeSet::new();
        // An attempt that failed is made again by a later call.
        while !self.stopping && self.due(self.now(), &done).is_ok() {
            let turn = tokio::select! {
                biased;
                () = stop.as_mut() => break,
                turn = Turns::turn(self.options.turns.as_ref()) => turn,
            };
            if !self.leadership.leads() {
                // The wait was long, or this host slept: another agent may have done it meanwhile.
                drop(turn);
                self.leadership.resign().await;
                self.take_over().await?;
                continue;
            }
            let Ok((index, due)) = self.due(self.now(), &done) else { break };
            done.insert(index);
            self.act(index, due, turn, stop.as_mut()).await;
        }
        Ok(self.leave().await)
    }

    /// Acts from now on, if no other agent does.
    async fn take_over(&mut self) -> Result<(), AgentError> {
        self.leadership.take(&self.plan.repository).await?;
        if let Err(error) = self.begin_to_act().await {
            self.leadership.resign().await;
            return Err(error.into());
        }
        Ok(())
    }

    /// Waits for a turn; `None` when there is something else to see to first. Nothing else is done meanwhile: a turn that comes is taken.
    async fn turn(&mut self) -> Option<Turn> {
        let turns = self.options.turns.clone();
        let mut turn = std::pin::pin!(Turns::turn(turns.as_ref()));
        let since = tokio::time::Instant::now();
        loop {
            tokio::select! {
                biased;
                turn = turn.as_mut() => return Some(turn),
                () = tokio::time::sleep(self.options.tick) => {}
            }
            let is_behind = !self.endings.is_empty() || self.alarms.has_untold();
            if !self.messages.is_empty()
                || !self.leadership.leads()
                || (is_behind && since.elapsed() > BETWEEN_TELLINGS)
            {
                return None;
            }
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.plan.repository.environment().clock.now()
    }

    /// Finds out who acts. Returns how long to wait, unless it is this agent.
    async fn stand(&mut self) -> Option<Duration> {
        let standing = self.leadership.seek(&self.plan.repository).await;
        let begun = match standing {
            Standing::New => self.begin_to_act().await,
            Standing::Leader => self.heed_clock().await,
            _ => Ok(()),
        };
        let role = match standing {
            Standing::Leader | Standing::New => match begun {
                Ok(()) => AgentRole::Leader,
                Err(error) => {
                    self.leadership.resign().await;
                    AgentRole::OutOfTouch { error: chain(&error) }
                }
            },
            Standing::Other { holder } => {
                self.alarms.leave_jobs();
                AgentRole::StandingBy { holder }
            }
            Standing::OutOfTouch { error } => AgentRole::OutOfTouch { error },
        };
        self.watch_repository(&role);
        let acts = role == AgentRole::Leader;
        self.enter(role);
        if let Err(error) = self.save_endings().await {
            tracing::warn!(error = chain(&error), "how a run ended could not be written down; trying again");
        }
        self.settle_alarms().await;
        if acts {
            return None;
        }
        self.state.send_if_modified(|state| {
            let mut changed = false;
            for job in &mut state.jobs {
                changed |= job.next_due.take().is_some();
            }
            changed
        });
        Some(self.leadership.pause(self.options.tick))
    }

    /// Raises an alarm when the repository has been away for as long as a lease lives: nobody acts any more then.
    fn watch_repository(&mut self, role: &AgentRole) {
        let error = if let AgentRole::OutOfTouch { error } = role { Some(error.as_str()) } else { None };
        self.note_contact(error);
    }

    /// Notes that the repository answers, or why it does not.
    fn note_contact(&mut self, error: Option<&str>) {
        let (now, subject) = (self.now(), own_name(REPOSITORY));
        let Some(error) = error else {
            self.away_since = None;
            return self.alarms.clear(&subject, now);
        };
        tracing::warn!(error, "who acts cannot be found out; trying again");
        let since = *self.away_since.get_or_insert(now);
        if now - since >= TimeDelta::from_std(self.options.lease).unwrap_or(TimeDelta::MAX) {
            self.alarms.raise(&subject, &format!("cannot be reached: {}", one_line(error)), now);
        }
    }

    /// Sees to what does not wait for the end of a job, which may take hours: alarms of before, and a repository that went away meanwhile.
    async fn look_around(&mut self) {
        if !self.leadership.leads() {
            let error = match tokio::time::timeout(ANSWER, self.plan.repository.alarms()).await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(chain(&error)),
                Err(_) => Some("it does not answer".to_owned()),
            };
            self.note_contact(error.as_deref());
        }
        self.settle_alarms().await;
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

    /// Returns the job that is run now, of those that are not done, or how long to wait.
    fn due(&self, now: DateTime<Utc>, done: &BTreeSet<usize>) -> Result<(usize, Due), Duration> {
        let left = self.tracked.iter().enumerate().filter(|(index, _)| !done.contains(index));
        let all = left.filter_map(|(index, tracked)| {
            Some((index, next(&tracked.job.timing, tracked.delay, &tracked.memory, now)?))
        });
        let all: Vec<(usize, Due)> = all.collect();
        let ready = all.iter().filter(|(_, due)| due.at <= now);
        // Kinds are in the order of their urgency, and what has waited for long is urgent: a job that is always due keeps no other away.
        let waits = |due: &Due| now - due.at < PATIENCE;
        if let Some(found) = ready.min_by_key(|(index, due)| (waits(due), self.tracked[*index].job.job.kind(), due.at))
        {
            return Ok(*found);
        }
        let soonest = all.iter().map(|(_, due)| due.at).min();
        let pause = soonest.and_then(|at| (at - now).to_std().ok());
        Err(pause.map_or(self.options.tick, |pause| pause.min(self.options.tick)))
    }

    async fn settle_alarms(&mut self) {
        let now = self.now();
        let notifier = self.plan.notifier.as_deref();
        let acts = self.leadership.leads();
        self.alarms.settle(&self.plan.repository, notifier, &self.options.host, acts, now).await;
        let open = self.alarms.open();
        self.state.send_if_modified(|state| {
            let changed = state.alarms != open;
            state.alarms = open;
            changed
        });
    }

    async fn leave(mut self) -> AgentReport {
        self.enter(AgentRole::Stopping);
        self.save_last_endings().await;
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

fn own_name(text: &str) -> JobName {
    text.parse().expect("a constant that is a name")
}
