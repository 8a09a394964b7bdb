//! A repository in memory, a job that does as told, and somebody who hears of alarms.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use erpgo_dr_core::Repository;
use erpgo_dr_core::agent::{
    Agent, AgentControl, AgentOptions, AgentPlan, AgentReport, AgentState, Job, JobContext, JobKind, JobOutcome,
    Schedule, ScheduledJob, Timing,
};
use erpgo_dr_core::clock::{Clock as _, ManualClock};
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::crypto::keys::{Identities, Unlocker, Wrapper, generate_identity};
use erpgo_dr_core::ops;
use erpgo_dr_core::repository::{Environment, InitOptions, JobRun, RunResult};
use erpgo_dr_core::runbook::{Notifier, NotifyError};
use erpgo_dr_core::storage::{ObjectStorage, Storage};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// A repository, its clock, and what agents of a test share.
pub(crate) struct Site {
    pub(crate) repository: Arc<Repository>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) work: Arc<Work>,
    pub(crate) ears: Arc<Ears>,
    /// How long leases live.
    pub(crate) lease: Duration,
    unlocker: Arc<Unlocker>,
}

/// A job that counts, and fails or waits while it is told to.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) begun: AtomicUsize,
    pub(crate) fails: AtomicBool,
    pub(crate) finds: AtomicBool,
    pub(crate) waits: AtomicBool,
}

#[async_trait]
impl Job for Work {
    fn kind(&self) -> JobKind {
        JobKind::Check
    }

    async fn run(&self, _context: &JobContext<'_>) -> ops::Result<JobOutcome> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        while self.waits.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if self.fails.load(Ordering::SeqCst) {
            let source = std::io::Error::other("the disk is on fire");
            return Err(ops::Error::Io { action: "work".to_owned(), source });
        }
        let found = self.finds.load(Ordering::SeqCst);
        let outcome = JobOutcome::new(!found, if found { "something is rotten" } else { "done" });
        Ok(outcome.with_bytes(7).with_fact("answer", 42))
    }
}

/// Hears of alarms, unless it is deaf.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    pub(crate) heard: Mutex<Vec<String>>,
    pub(crate) deaf: AtomicBool,
}

#[async_trait]
impl Notifier for Ears {
    async fn tell(&self, message: &str) -> Result<(), NotifyError> {
        if self.deaf.load(Ordering::SeqCst) {
            return Err(NotifyError { reason: "deaf".to_owned() });
        }
        self.heard.lock().unwrap().push(message.to_owned());
        Ok(())
    }
}

impl Ears {
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// An agent that runs.
pub(crate) struct Running {
    pub(crate) state: watch::Receiver<AgentState>,
    pub(crate) control: AgentControl,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<AgentReport>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::over(Arc::new(ObjectStorage::memory())).await
    }

    pub(crate) async fn over(storage: Arc<dyn Storage>) -> Self {
        let clock = Arc::new(ManualClock::new("2026-11-20T01:00:00Z".parse().unwrap()));
        let environment = Environment::new(ComputePool::new(1).unwrap(), clock.clone());
        let identity = generate_identity();
        let recipient = identity.recipient.clone();
        let unlocker = Arc::new(Unlocker::Identities(Identities::parse(identity.secret.into(), None).await.unwrap()));
        let slots = [("owner".parse().unwrap(), Wrapper::Recipients(vec![recipient]))];
        let repository = Repository::init(storage, environment, &InitOptions::default(), &slots).await.unwrap();
        let lease = Duration::from_secs(60);
        Self { repository: Arc::new(repository), clock, work: Arc::default(), ears: Arc::default(), lease, unlocker }
    }

    /// The same, with the repository as it is at another storage place, or over another way to it.
    pub(crate) async fn seen_over(&self, storage: Arc<dyn Storage>) -> Self {
        let environment = Environment::new(ComputePool::new(1).unwrap(), self.clock.clone());
        let mut repository = Repository::open(storage, environment).await.unwrap();
        repository.unlock(&self.unlocker).await.unwrap();
        let (clock, work, ears) = (self.clock.clone(), self.work.clone(), self.ears.clone());
        let (lease, unlocker) = (self.lease, Arc::clone(&self.unlocker));
        Self { repository: Arc::new(repository), clock, work, ears, lease, unlocker }
    }

    /// Waits until so many runs of the job have begun.
    pub(crate) async fn until_begun(&self, count: usize) {
        until(&format!("the beginning of {count} runs"), || self.work.begun.load(Ordering::SeqCst) >= count).await;
    }

    pub(crate) fn job(&self, name: &str, pattern: &str) -> ScheduledJob {
        let timing = Timing::new(Schedule::new(pattern, "UTC").unwrap()).with_at_once(true);
        let timing = timing.with_retries(2, Duration::from_secs(3600)).with_backoff(Duration::from_secs(60));
        ScheduledJob::new(name.parse().unwrap(), self.work.clone(), timing)
    }

    pub(crate) fn plan(&self, jobs: Vec<ScheduledJob>) -> AgentPlan {
        AgentPlan::new(Arc::clone(&self.repository), jobs).unwrap().with_notifier(Some(self.ears.clone()))
    }

    /// Starts an agent that does the job every six hours.
    pub(crate) fn start(&self, host: &str) -> Running {
        self.start_with(host, self.plan(vec![self.job("work", "0 */6 * * *")]), Duration::from_secs(60))
    }

    pub(crate) fn start_with(&self, host: &str, plan: AgentPlan, grace: Duration) -> Running {
        let options = AgentOptions::new(host).with_tick(Duration::from_millis(5)).with_grace(grace);
        let agent = Agent::new(plan, options.with_lease(self.lease));
        let (state, control) = (agent.state(), agent.control());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(agent.run(async move { drop(stopped.await) }));
        Running { state, control, stop: Some(stop), task }
    }

    /// Moves the clock, and gives agents time to do what they should not.
    pub(crate) async fn pass(&self, time: TimeDelta) {
        self.clock.advance(time);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }

    pub(crate) async fn history(&self) -> Vec<JobRun> {
        let history = self.repository.history(None, 1000).await.unwrap();
        assert_eq!(history.problems, []);
        history.runs
    }

    /// The results of all runs, the oldest first.
    pub(crate) async fn results(&self) -> Vec<Option<RunResult>> {
        self.history().await.iter().rev().map(JobRun::result).collect()
    }

    /// Waits until so many runs have ended.
    pub(crate) async fn until_ended(&self, count: usize) -> Vec<JobRun> {
        for _ in 0..6000 {
            let runs = self.history().await;
            if runs.iter().filter(|run| run.ending.is_some()).count() >= count {
                return runs;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain for {count} runs: {:?}", self.history().await);
    }

    pub(crate) fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.clock.now()
    }
}

/// Waits for what is not a matter of speed.
pub(crate) async fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}

impl Running {
    pub(crate) async fn until(&mut self, what: &str, is: impl Fn(&AgentState) -> bool) -> AgentState {
        let reached = tokio::time::timeout(Duration::from_secs(60), self.state.wait_for(|state| is(state))).await;
        reached.unwrap_or_else(|_| panic!("waited in vain for {what}")).unwrap().clone()
    }

    pub(crate) async fn stop(mut self) -> AgentReport {
        drop(self.stop.take());
        self.task.await.unwrap()
    }

    /// Says that it is to stop, and does not wait.
    pub(crate) fn tell_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Ends it as a crash does, but for the lease, which is given up.
    pub(crate) async fn abort(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}
