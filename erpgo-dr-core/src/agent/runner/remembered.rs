//! What was done before this agent acts, by whichever agent.

use chrono::{DateTime, Utc};

use super::{Agent, Tracked};
use crate::agent::due::remember;
use crate::agent::job::ScheduledJob;
use crate::repository::{Repository, RepositoryError, RunEnding, RunResult};

/// How many runs of a job are read.
pub(in crate::agent) const REMEMBERED: usize = 64;

impl Agent {
    /// Reads what was done before, and closes what broke off.
    pub(super) async fn begin_to_act(&mut self) -> Result<(), RepositoryError> {
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

    pub(super) async fn close_broken_runs(&self, now: DateTime<Utc>) -> Result<(), RepositoryError> {
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
    pub(super) async fn track(
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
        self.change(&job.name, |state| state.recall(&history.runs));
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
}

/// Returns from when on moments of a schedule count: since the first run of any job, or now.
pub(in crate::agent) async fn first_seen(
    repository: &Repository,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, RepositoryError> {
    Ok(repository.history_since().await?.unwrap_or(now).min(now))
}
