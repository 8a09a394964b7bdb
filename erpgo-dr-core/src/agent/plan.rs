//! What would be run when.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::due::{next, remember};
use super::error::AgentError;
use super::job::{JobKind, ScheduledJob};
use super::runner::{first_seen, runs_of};
use crate::repository::{JobName, Repository, RunCause};

/// Moments of the schedule that are told beyond the next run.
const AHEAD: usize = 3;

/// A job, and when it would be run next.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PlannedJob {
    /// The name.
    pub name: JobName,
    /// What kind of work.
    pub kind: JobKind,
    /// The cron pattern.
    pub schedule: String,
    /// The time zone that it is read in.
    pub time_zone: String,
    /// The most by which a run is put off.
    pub jitter_seconds: u64,
    /// Further attempts where one fails.
    pub retries: u32,
    /// How long after the first attempt a further one may begin, in seconds.
    pub window_seconds: u64,
    /// How long a run may take, in seconds.
    pub limit_seconds: u64,
    /// When it would be run next, the delay of this host included.
    pub next: Option<DateTime<Utc>>,
    /// Why.
    pub cause: Option<RunCause>,
    /// The moments of the schedule behind that.
    pub then: Vec<DateTime<Utc>>,
}

/// Says when each job would be run by an agent of this host. Takes no lease and runs nothing.
///
/// # Errors
/// [`AgentError::Repository`] when the history cannot be read.
pub async fn agent_plan(
    repository: &Repository,
    jobs: &[ScheduledJob],
    host: &str,
) -> Result<Vec<PlannedJob>, AgentError> {
    let now = repository.environment().clock.now();
    let mut planned = Vec::with_capacity(jobs.len());
    for ScheduledJob { name, job, timing } in jobs {
        let history = runs_of(repository, name, now).await?;
        let since = first_seen(repository, name, now).await?.unwrap_or(now);
        let memory = remember(timing, &history.runs, since, now);
        let delay = timing.schedule.delay(name.as_str(), host);
        let due = next(timing, delay, &memory, now);
        let mut then = Vec::new();
        let mut last = due.map(|due| due.scheduled.max(now));
        while let Some(moment) = last.filter(|_| then.len() < AHEAD) {
            last = timing.schedule.next_after(moment);
            then.extend(last);
        }
        planned.push(PlannedJob {
            name: name.clone(),
            kind: job.kind(),
            schedule: timing.schedule.pattern().to_owned(),
            time_zone: timing.schedule.time_zone().to_owned(),
            jitter_seconds: timing.schedule.jitter().as_secs(),
            retries: timing.retries,
            window_seconds: timing.window.as_secs(),
            limit_seconds: timing.limit.as_secs(),
            next: due.map(|due| due.at),
            cause: due.map(|due| due.cause),
            then,
        });
    }
    Ok(planned)
}
