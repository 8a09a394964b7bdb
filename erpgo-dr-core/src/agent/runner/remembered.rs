//! What was done before this agent acts, by whichever agent.

use chrono::{DateTime, Utc};

use super::{Agent, Tracked, own_name};
use crate::agent::alarms::{CONFIGURATION, REPOSITORY};
use crate::agent::due::{is_ahead, next, remember};
use crate::agent::job::ScheduledJob;
use crate::repository::{History, JobName, JobRun, Repository, RepositoryError, RunEnding, RunResult};

/// How many runs of a job are read.
pub(in crate::agent) const REMEMBERED: usize = 64;

impl Agent {
    /// Reads what was done before, and closes what broke off.
    pub(super) async fn begin_to_act(&mut self) -> Result<(), RepositoryError> {
        let now = self.now();
        // First: what this agent knows of its own runs is not for it to guess.
        self.save_endings().await?;
        self.close_broken_runs(now).await?;
        self.alarms.load(&self.plan.repository).await?;
        self.clear_stale_alarms(now);
        let mut tracked = Vec::with_capacity(self.plan.jobs.len());
        for job in self.plan.jobs.clone() {
            tracked.push(self.track(job, now).await?);
        }
        self.tracked = tracked;
        self.show_due();
        Ok(())
    }

    /// Clears the alarms that nobody else would: the repository answers, the configuration is read, and some jobs may be none any more.
    fn clear_stale_alarms(&mut self, now: DateTime<Utc>) {
        self.alarms.clear(&own_name(REPOSITORY), now);
        if self.state.borrow().reload_refused.is_none() {
            self.alarms.clear(&own_name(CONFIGURATION), now);
        }
        let jobs = self.plan.jobs.iter().map(|job| job.name.clone()).collect();
        self.alarms.clear_strangers(&jobs, now);
    }

    /// Reads the history anew when the clock was put back behind what is remembered.
    pub(super) async fn heed_clock(&mut self) -> Result<(), RepositoryError> {
        let now = self.now();
        if !self.tracked.iter().any(|tracked| tracked.memory.is_ahead(now)) {
            return Ok(());
        }
        tracing::error!("the clock was put back: what was done in what is now the future counts no more");
        self.begin_to_act().await
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
    pub(super) async fn track(&mut self, job: ScheduledJob, now: DateTime<Utc>) -> Result<Tracked, RepositoryError> {
        let repository = &self.plan.repository;
        let history = runs_of(repository, &job.name, now).await?;
        for problem in &history.problems {
            tracing::warn!(
                subject = problem.subject,
                problem = problem.problem,
                "a run of the history cannot be trusted"
            );
        }
        let mut since = now;
        if history.runs.is_empty() && !job.timing.at_once {
            since = match first_seen(repository, &job.name, now).await? {
                Some(seen) => seen,
                None => {
                    repository.note_job_seen(&job.name, now).await?;
                    now
                }
            };
        }
        let memory = remember(&job.timing, &history.runs, since, now);
        let delay = job.timing.schedule.delay(job.name.as_str(), &self.options.host);
        let (ahead, sound): (Vec<JobRun>, Vec<JobRun>) = history.runs.into_iter().partition(|run| is_ahead(run, now));
        self.change(&job.name, |state| state.recall(&sound));
        let is_due = next(&job.timing, delay, &memory, now).is_some_and(|due| due.at <= now);
        if let Some(run) = ahead.first().filter(|_| is_due) {
            // Told with the run that makes up for it, which clears it.
            let reason = format!(
                "a run of {} lies in the future: a clock was, or is, wrong; that run does not count, and it is run at once",
                run.beginning.began.max(run.beginning.scheduled).format("%Y-%m-%d %H:%M:%S UTC")
            );
            self.alarms.raise(&job.name, &reason, now);
        } else if let Some(newest) = sound.first().filter(|_| memory.pending.is_none()) {
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

/// Reads what is remembered of the runs of a job: the newest, and all where the newest lie in the future.
pub(in crate::agent) async fn runs_of(
    repository: &Repository,
    job: &JobName,
    now: DateTime<Utc>,
) -> Result<History, RepositoryError> {
    let history = repository.history(Some(job), REMEMBERED).await?;
    match !history.runs.is_empty() && history.runs.iter().all(|run| is_ahead(run, now)) {
        true => repository.history(Some(job), usize::MAX).await,
        false => Ok(history),
    }
}

/// Returns from when on moments of the schedule count of a job that was never run.
pub(in crate::agent) async fn first_seen(
    repository: &Repository,
    job: &JobName,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, RepositoryError> {
    Ok(repository.job_seen(job).await?.map(|seen| seen.min(now)))
}
