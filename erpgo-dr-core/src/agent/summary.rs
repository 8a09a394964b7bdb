//! What happened in the last days, for people who do not look every day.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::one_line;
use crate::ops::drill::{DrillState, PlannedDrill, drills_due};
use crate::ops::{self, Status, status};
use crate::presentation::units::{bytes, length, moment};
use crate::repository::{AlarmRecord, JobName, JobRun, Repository, RunResult};

/// What an agent did in a span of time, and how its repository stands at the end of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Where the span begins.
    pub from: DateTime<Utc>,
    /// Where it ends: now.
    pub until: DateTime<Utc>,
    /// How the repository stands.
    pub status: Status,
    /// What was done, by jobs.
    pub jobs: Vec<JobSummary>,
    /// Alarms that are open, or were raised or cleared in the span. Of each subject only the last is known.
    pub alarms: Vec<AlarmRecord>,
    /// Drills that are overdue.
    pub overdue: Vec<String>,
}

/// What became of the runs of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobSummary {
    /// The job.
    pub job: JobName,
    /// Runs that ended, attempts included.
    pub runs: u64,
    /// Runs that went well.
    pub succeeded: u64,
    /// Seconds that one took on average, of those that went well.
    pub mean_seconds: Option<f64>,
    /// Bytes that they stored, read or removed.
    pub bytes: u64,
    /// What the newest said that did not go well.
    pub last_trouble: Option<String>,
    /// Whether the newest went well.
    pub is_well: bool,
}

/// Sums the last `span` up. `plan` says which drills are due.
///
/// # Errors
/// When the repository cannot be read.
pub async fn summary(repository: &Repository, span: TimeDelta, plan: &[PlannedDrill]) -> ops::Result<Summary> {
    let until = repository.environment().clock.now();
    let from = until - span;
    let within = |at: DateTime<Utc>| from <= at && at <= until;
    let runs = repository.history_since(from).await?.runs;
    let alarms = repository.alarms().await?.into_iter();
    let alarms =
        alarms.filter(|alarm| alarm.is_open() || within(alarm.raised_at) || alarm.cleared_at.is_some_and(within));
    let alarms = alarms.collect();
    let drills = repository.drills().await?.records;
    let due = drills_due(until, repository.settings().created, plan, &drills).into_iter();
    let overdue = due.filter(|due| due.state == DrillState::Overdue).map(|due| due.scenario.to_string()).collect();
    let jobs = by_job(runs.iter().filter(|run| within(run.beginning.began)));
    Ok(Summary { from, until, status: status(repository).await?, jobs, alarms, overdue })
}

fn by_job<'r>(runs: impl Iterator<Item = &'r JobRun>) -> Vec<JobSummary> {
    let mut jobs: BTreeMap<&JobName, Vec<(&JobRun, RunResult)>> = BTreeMap::new();
    for run in runs {
        if let Some(result) = run.result() {
            jobs.entry(&run.beginning.job).or_default().push((run, result));
        }
    }
    jobs.into_iter().map(|(job, runs)| sum_up(job, &runs)).collect()
}

/// Sums up the runs of a job, the newest first.
fn sum_up(job: &JobName, runs: &[(&JobRun, RunResult)]) -> JobSummary {
    let well = |result: &RunResult| *result == RunResult::Succeeded;
    let ended = |run: &JobRun| run.ending.clone();
    let seconds: Vec<f64> = runs
        .iter()
        .filter(|(_, result)| well(result))
        .filter_map(|(run, _)| ended(run).and_then(|ending| ending.seconds))
        .collect();
    let trouble = runs.iter().find(|(_, result)| !well(result)).map(|(run, result)| {
        let said = ended(run).map(|ending| one_line(&ending.message)).unwrap_or_default();
        format!("{} {}: {said}", moment(run.beginning.began), result.as_str())
    });
    JobSummary {
        job: job.clone(),
        runs: runs.len() as u64,
        succeeded: runs.iter().filter(|(_, result)| well(result)).count() as u64,
        mean_seconds: (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64),
        bytes: runs.iter().filter_map(|(run, _)| ended(run).and_then(|ending| ending.bytes)).sum(),
        last_trouble: trouble,
        is_well: runs.first().is_some_and(|(_, result)| well(result)),
    }
}

impl Summary {
    /// Returns whether nothing needs anybody: one could restore, each job went well the last time, no alarm is open, no drill overdue.
    pub fn is_well(&self) -> bool {
        let no_alarm = !self.alarms.iter().any(AlarmRecord::is_open);
        self.status.is_healthy() && self.jobs.iter().all(|job| job.is_well) && no_alarm && self.overdue.is_empty()
    }

    /// Says it in a text for a mail or a web hook. `host` is what it says that it comes from.
    pub fn to_text(&self, host: &str) -> String {
        let verdict = if self.is_well() { "all is well" } else { "something needs you" };
        let span = length((self.until - self.from).as_seconds_f64());
        let mut text = format!("erpgo-dr on {host}: the last {span} until {}: {verdict}\n", moment(self.until));
        self.tell_status(&mut text);
        for job in &self.jobs {
            let JobSummary { job: name, runs, succeeded, .. } = job;
            let _ = write!(text, "{name}: {succeeded} of {runs} went well");
            let _ = job.mean_seconds.map(|seconds| write!(text, ", {} each", length(seconds)));
            let _ = if job.bytes > 0 { write!(text, ", {}", bytes(job.bytes)) } else { Ok(()) };
            text.push('\n');
            if let Some(trouble) = &job.last_trouble {
                let _ = writeln!(text, "  last trouble: {trouble}");
            }
        }
        if self.jobs.is_empty() {
            text.push_str("no job was run\n");
        }
        for alarm in &self.alarms {
            let state = match alarm.cleared_at {
                None => "open".to_owned(),
                Some(at) => format!("cleared {}", moment(at)),
            };
            let (subject, reason) = (&alarm.subject, one_line(&alarm.reason));
            let _ = writeln!(text, "alarm {subject}, raised {}, {state}: {reason}", moment(alarm.raised_at));
        }
        if !self.overdue.is_empty() {
            let _ = writeln!(text, "drills overdue: {}", self.overdue.join(", "));
        }
        text
    }

    fn tell_status(&self, text: &mut String) {
        let status = &self.status;
        let _ = match (&status.latest_proven, status.rpo_seconds) {
            (Some(newest), Some(age)) => writeln!(text, "newest proven backup: {}, {} old", newest.id, length(age)),
            _ => writeln!(text, "THERE IS NO PROVEN BACKUP"),
        };
        let _ = match status.rto_seconds {
            Some(seconds) => writeln!(text, "the last restore test took {}", length(seconds)),
            None => writeln!(text, "no restore was ever tested"),
        };
        let _ = writeln!(text, "{} backups, {}", status.backups, bytes(status.stored_bytes));
        let _ = status.failed.iter().try_for_each(|id| writeln!(text, "the last verification of {id} failed"));
        let problems = &status.problems;
        let _ = problems.iter().try_for_each(|found| writeln!(text, "{}: {}", found.subject, found.problem));
    }
}
