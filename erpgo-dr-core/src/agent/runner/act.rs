//! A job is run, judged, and written down.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::Agent;
use super::remembered::REMEMBERED;
use crate::agent::due::{Due, Memory, Pending};
use crate::agent::job::{JobContext, JobOutcome};
use crate::agent::state::AgentRole;
use crate::agent::turns::Turn;
use crate::agent::{one_line, report_log};
use crate::causes::chain;
use crate::ops::{self, ErrorKind};
use crate::repository::{JobRun, RepositoryError, RunBeginning, RunEnding, RunResult};
use crate::runbook::Span;
use crate::storage::StorageError;
use crate::types::JobRunId;

/// How often it is tried to write down how a run ended before the agent ends, and the wait between two tries.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// How long a try may take: other jobs wait meanwhile.
const WRITING: Duration = Duration::from_secs(30);

/// How a run came to its end.
#[derive(Debug)]
pub(super) enum End {
    /// By itself.
    Outcome(ops::Result<JobOutcome>),
    /// The agent was told to stop, and the run took longer than it may then.
    Stopped,
    /// It took longer than it may.
    TooLong(Duration),
}

impl Agent {
    /// Runs a job, and writes down how it went. The turn is that of others as soon as the work is done.
    pub(super) async fn act(
        &mut self,
        index: usize,
        due: Due,
        turn: Turn,
        mut stop: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) {
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
        let end = match repository.begin_job_run(&beginning).await {
            // What cannot be written down is not done: nobody would know of it.
            Err(error) => End::Outcome(Err(error.into())),
            Ok(()) => {
                let progress = Arc::clone(&self.options.progress);
                let context = JobContext::new(&repository, progress.as_ref());
                let mut work = job.job.run(&context);
                loop {
                    let left = job.timing.limit.saturating_sub(started.elapsed());
                    tokio::select! {
                        biased;
                        outcome = &mut work => break End::Outcome(outcome),
                        () = stop.as_mut() => {
                            self.stopping = true;
                            self.enter(AgentRole::Stopping);
                            let ended = tokio::time::timeout(self.options.grace, work).await;
                            break ended.map_or(End::Stopped, End::Outcome);
                        }
                        () = tokio::time::sleep(left.min(self.options.tick)) => {}
                    }
                    if started.elapsed() >= job.timing.limit {
                        break End::TooLong(job.timing.limit);
                    }
                    if let Some(outcome) = beside(&mut work, self.look_around()).await {
                        break End::Outcome(outcome);
                    }
                }
            }
        };
        drop(turn);
        let seconds = started.elapsed().as_secs_f64();
        let ending = self.judge(index, due, &beginning, end, seconds);
        self.end(&beginning, &ending).await;
        self.settle_alarms().await;
    }

    /// Decides what follows from the outcome of a run.
    pub(super) fn judge(
        &mut self,
        index: usize,
        due: Due,
        beginning: &RunBeginning,
        end: End,
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
        let (message, error) = match end {
            End::Stopped => return ending,
            End::Outcome(Ok(outcome)) => {
                tracked.memory = settled;
                ending.result = if outcome.passed { RunResult::Succeeded } else { RunResult::Found };
                (ending.message, ending.bytes, ending.facts) =
                    (one_line(&outcome.message), outcome.bytes, outcome.facts);
                match outcome.passed {
                    true => self.alarms.clear(name, now),
                    false => self.alarms.raise(name, &ending.message, now),
                }
                return ending;
            }
            End::Outcome(Err(error)) => (one_line(&chain(&error)), Some(error.kind())),
            End::TooLong(limit) => (format!("it was given up: it ran for longer than {}", Span::from(limit)), None),
        };
        ending.result = RunResult::Failed;
        ending.message = message;
        let word = error.map_or_else(|| "limit".to_owned(), kind_name);
        ending.facts.insert("error".to_owned(), word.into());
        ending.retry_at = timing.retry(due.attempt, since, now).filter(|_| error.is_none_or(may_pass));
        tracked.memory = match ending.retry_at {
            Some(retry_at) => {
                let pending = Pending { scheduled: due.scheduled, attempts: due.attempt, since, retry_at };
                Memory { settled: None, pending: Some(pending) }
            }
            None => settled,
        };
        // One that hung is told of at once: no attempt is known to go better.
        if ending.retry_at.is_none() || error.is_none() {
            let reason = format!("{} (attempt {})", ending.message, due.attempt);
            self.alarms.raise(name, &reason, now);
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
        self.endings.push((beginning.job.clone(), beginning.id.clone(), ending.clone()));
        if let Err(error) = self.save_endings().await {
            tracing::warn!(error = chain(&error), "how a run ended could not be written down; trying again");
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

    /// Writes down how runs ended, where that is not done yet. What fails stays to be tried again.
    pub(super) async fn save_endings(&mut self) -> Result<(), RepositoryError> {
        while let Some((job, run, ending)) = self.endings.first() {
            let written = tokio::time::timeout(WRITING, self.plan.repository.end_job_run(job, run, ending)).await;
            let unanswered =
                || StorageError::TimedOut { location: self.plan.repository.storage().location(), timeout: WRITING };
            written.unwrap_or_else(|_| Err(unanswered().into()))?;
            self.endings.remove(0);
        }
        Ok(())
    }

    /// Writes down how runs ended before the agent ends, which nobody would afterwards.
    pub(super) async fn save_last_endings(&mut self) {
        for try_again in (0..TRIES).rev() {
            match self.save_endings().await {
                Ok(()) => return,
                Err(_) if try_again > 0 => tokio::time::sleep(BETWEEN_TRIES).await,
                Err(error) => {
                    tracing::error!(
                        error = chain(&error),
                        "how a run ended is not written down: it will look broken off"
                    );
                }
            }
        }
    }
}

/// Does something else until it is done, while a piece of work goes on. Returns what came of the work, if that has ended meanwhile.
async fn beside<T>(work: &mut (impl Future<Output = T> + Unpin), other: impl Future<Output = ()>) -> Option<T> {
    let (mut other, mut outcome) = (std::pin::pin!(other), None);
    loop {
        tokio::select! {
            biased;
            ended = &mut *work, if outcome.is_none() => outcome = Some(ended),
            () = other.as_mut() => return outcome,
        }
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
