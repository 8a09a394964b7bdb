//! A job is run, judged, and written down.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::Agent;
use super::remembered::REMEMBERED;
use crate::agent::due::{Due, Memory, Pending};
use crate::agent::job::{JobContext, JobOutcome};
use crate::agent::state::AgentRole;
use crate::agent::{one_line, report_log};
use crate::causes::chain;
use crate::ops::{self, ErrorKind};
use crate::repository::{JobRun, RunBeginning, RunEnding, RunResult};
use crate::types::JobRunId;

/// How often it is tried to write down how a run ended, and the wait between two tries.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

impl Agent {
    /// Runs a job, and writes down how it went.
    pub(super) async fn act(&mut self, index: usize, due: Due, mut stop: Pin<&mut (impl Future<Output = ()> + Send)>) {
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
    pub(super) fn judge(
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

    pub(super) async fn end(&mut self, beginning: &RunBeginning, ending: &RunEnding) {
        match ending.result {
            RunResult::Succeeded => tracing::info!(job = %beginning.job, message = ending.message, "job done"),
            result => {
                tracing::warn!(job = %beginning.job, ?result, message = ending.message, retry_at = ?ending.retry_at, "job not done well");
            }
        }
        for try_again in (0..TRIES).rev() {
            match self.plan.repository.end_job_run(&beginning.job, &beginning.id, ending).await {
                Ok(()) => break,
                Err(error) if try_again > 0 => {
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
            state.note(&run);
        });
        self.runs.push(run);
        if self.runs.len() > REMEMBERED {
            self.runs.remove(0);
        }
        self.show_due();
    }
}

/// Returns whether another attempt may go better without anybody's help.
fn may_pass(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Invalid | ErrorKind::Integrity | ErrorKind::Locked | ErrorKind::Archived)
}

/// Returns the word for a kind, as it appears in the table of exit codes.
fn kind_name(kind: ErrorKind) -> String {
    let mut name = String::new();
    for letter in format!("{kind:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
