//! What outsiders read of an agent: a value that is sent whenever it changes.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::job::JobKind;
use crate::repository::{AlarmRecord, JobName, JobRun, RunResult};

/// What an agent is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
#[non_exhaustive]
pub enum AgentRole {
    /// It has not looked at the repository yet.
    Starting,
    /// It does what is due.
    Leader,
    /// Another agent does.
    StandingBy {
        /// Who holds the lease.
        holder: String,
    },
    /// The repository cannot be reached, so that nobody knows who acts.
    OutOfTouch {
        /// Why.
        error: String,
    },
    /// It begins nothing any more.
    Stopping,
}

/// A job as it stands. Counts are those of this process.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobState {
    /// The name.
    pub name: JobName,
    /// What kind of work.
    pub kind: JobKind,
    /// When it is run next; `None` while another agent acts.
    pub next_due: Option<DateTime<Utc>>,
    /// Since when it runs.
    pub running_since: Option<DateTime<Utc>>,
    /// Runs that have ended.
    pub attempts: u64,
    /// Runs that went well.
    pub successes: u64,
    /// Runs that failed, or found something bad.
    pub failures: u64,
    /// Runs that did not go well since the last that did, this process's or not.
    pub consecutive_failures: u32,
    /// When it last went well.
    pub last_success: Option<DateTime<Utc>>,
    /// How it last ended.
    pub last_result: Option<RunResult>,
    /// What was said of that.
    pub last_message: Option<String>,
    /// Seconds that the last run that went well took.
    pub last_duration_seconds: Option<f64>,
    /// Bytes that the last run that went well stored, read or removed.
    pub last_bytes: Option<u64>,
}

impl JobState {
    pub(super) fn new(name: JobName, kind: JobKind) -> Self {
        Self {
            name,
            kind,
            next_due: None,
            running_since: None,
            attempts: 0,
            successes: 0,
            failures: 0,
            consecutive_failures: 0,
            last_success: None,
            last_result: None,
            last_message: None,
            last_duration_seconds: None,
            last_bytes: None,
        }
    }

    /// Shows what is remembered of a job, the newest run first.
    pub(super) fn recall(&mut self, runs: &[JobRun]) {
        self.consecutive_failures = 0;
        for run in runs.iter().rev() {
            self.note(run);
        }
    }

    /// Shows a run that has ended.
    pub(super) fn note(&mut self, run: &JobRun) {
        let Some(result) = run.result() else { return };
        self.last_result = Some(result);
        self.last_message = run.ending.as_ref().map(|ending| ending.message.clone());
        match (result, &run.ending) {
            (RunResult::Succeeded, Some(ending)) => {
                self.consecutive_failures = 0;
                self.last_success = Some(ending.ended);
                self.last_duration_seconds = ending.seconds;
                self.last_bytes = ending.bytes;
            }
            (RunResult::Interrupted, _) => {}
            _ => self.consecutive_failures = self.consecutive_failures.saturating_add(1),
        }
    }
}

/// An agent as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AgentState {
    /// Its host.
    pub host: String,
    /// When it began.
    pub started: DateTime<Utc>,
    /// What it is about.
    pub role: AgentRole,
    /// Its jobs, in the order of the configuration.
    pub jobs: Vec<JobState>,
    /// Alarms that are open.
    pub alarms: Vec<AlarmRecord>,
    /// Why the configuration was not read anew, where that was asked for last and refused.
    pub reload_refused: Option<String>,
}

impl AgentState {
    /// Says in a line what goes on, for a service manager.
    pub fn summary(&self) -> String {
        let mut text = match &self.role {
            AgentRole::Starting => "starting".to_owned(),
            AgentRole::StandingBy { holder } => format!("standing by for {holder}"),
            AgentRole::OutOfTouch { error } => format!("out of touch: {error}"),
            AgentRole::Stopping => "stopping".to_owned(),
            AgentRole::Leader => match self.jobs.iter().find(|job| job.running_since.is_some()) {
                Some(job) => format!("running {}", job.name),
                None => match self.jobs.iter().filter_map(|job| Some((job.next_due?, &job.name))).min() {
                    Some((at, name)) => format!("next is {name} at {}", at.format("%Y-%m-%d %H:%M:%S UTC")),
                    None => "nothing to do".to_owned(),
                },
            },
        };
        if !self.alarms.is_empty() {
            let names = self.alarms.iter().map(|alarm| alarm.subject.as_str()).collect::<Vec<_>>().join(", ");
            text.push_str(&format!("; alarms: {names}"));
        }
        text
    }
}
