//! What the agent did: two records for each run of a job, one when it begins and one when it has ended. Neither is replaced, but for the end of
//! one that was taken for broken off, and was not.
//!
//! A run without the second goes on, or was broken off: its agent's lease tells which. Names and times are in the keys, so that the newest
//! are found, and the old removed, without reading any.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::catalogue::CatalogueProblem;
use super::{Repository, RepositoryError, layout, lease, record};
use crate::container::KeySource as _;
use crate::storage::StorageError;
use crate::types::{JobRunId, ObjectKey};

pub(super) const HISTORY_DOMAIN: &str = "history";
/// What the leases of agents are for.
pub(super) const AGENT: &str = "agent";

/// How long runs are remembered.
const KEPT_FOR: TimeDelta = TimeDelta::days(400);
/// How many of a job are, however young they are.
const KEPT_AT_MOST: usize = 2000;
/// How many of a job are, however old they are.
const KEPT_AT_LEAST: usize = 10;
/// Records that are read at once.
const CONCURRENCY: usize = 8;

/// The name of a job: lower-case letters, digits and `-`, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(String);

/// A text that names no job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot name a job: lower-case letters, digits and `-`, a letter first, at most 64")]
pub struct JobNameError {
    text: String,
}

impl JobName {
    /// Returns the text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobName {
    type Err = JobNameError;

    fn from_str(text: &str) -> Result<Self, JobNameError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = text.len() <= 64 && text.bytes().all(fits) && text.starts_with(|c: char| c.is_ascii_lowercase());
        if is_name { Ok(Self(text.to_owned())) } else { Err(JobNameError { text: text.to_owned() }) }
    }
}

impl TryFrom<String> for JobName {
    type Error = JobNameError;

    fn try_from(text: String) -> Result<Self, JobNameError> {
        text.parse()
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> Self {
        name.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a job was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RunCause {
    /// Its time had come.
    Schedule,
    /// Its time had come while no agent ran, or while another job did for long.
    CatchUp,
    /// The attempt before had failed, or was broken off.
    Retry,
    /// It had never been done.
    First,
}

/// How a run of a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RunResult {
    /// It did what it was to do, and all is well.
    Succeeded,
    /// It did what it was to do, and found something bad.
    Found,
    /// It could not do what it was to do.
    Failed,
    /// Its agent was told to stop, and gave it up.
    Interrupted,
    /// Its agent died, or lost touch with the repository.
    BrokenOff,
}

impl RunResult {
    /// Returns the word for it, as it appears in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Found => "found",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::BrokenOff => "broken-off",
        }
    }
}

/// What is written down before a job is begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunBeginning {
    /// The run.
    pub id: JobRunId,
    /// The job.
    pub job: JobName,
    /// What kind of job: `backup`, `verify`.
    pub kind: String,
    /// Why it was run.
    pub cause: RunCause,
    /// The moment that the schedule names, without jitter.
    pub scheduled: DateTime<Utc>,
    /// Which attempt it is for that moment, counted from 1.
    pub attempt: u32,
    /// The host.
    pub host: String,
    /// Who holds the lease of the agent that runs it.
    pub agent: String,
    /// When it began.
    pub began: DateTime<Utc>,
}

/// What is written down when a job has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunEnding {
    /// When it ended, or when it was found to have.
    pub ended: DateTime<Utc>,
    /// How.
    pub result: RunResult,
    /// What it did, or what went wrong, in words.
    pub message: String,
    /// Seconds that it took; `None` where that is not known.
    pub seconds: Option<f64>,
    /// Bytes that it stored, read or removed, where it counts any.
    pub bytes: Option<u64>,
    /// When it is tried again, if it is.
    pub retry_at: Option<DateTime<Utc>>,
    /// What else is known, by names.
    #[serde(default)]
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// A run of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobRun {
    /// How it began.
    #[serde(flatten)]
    pub beginning: RunBeginning,
    /// Whether it goes on: it has no end, and its agent's lease is alive.
    pub running: bool,
    /// How it ended. A run without an end whose agent is gone is broken off.
    pub ending: Option<RunEnding>,
}

impl JobRun {
    /// Returns how it ended; `None` while it goes on.
    pub fn result(&self) -> Option<RunResult> {
        match &self.ending {
            Some(ending) => Some(ending.result),
            None if self.running => None,
            None => Some(RunResult::BrokenOff),
        }
    }
}

/// Runs of jobs.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// The runs that can be trusted, the newest first.
    pub runs: Vec<JobRun>,
    /// What is wrong with others.
    pub problems: Vec<CatalogueProblem>,
}

impl Repository {
    /// Reads the newest `limit` runs, of one job or of all. Those of epochs that are locked are left out.
    ///
    /// # Errors
    /// Of the storage place. That a record was altered is in the result.
    pub async fn history(&self, job: Option<&JobName>, limit: usize) -> Result<History, RepositoryError> {
        let mut keys = self.history_keys(job).await?;
        keys.sort_unstable_by(|a, b| (&b.id, &b.job).cmp(&(&a.id, &a.job)));
        keys.truncate(limit);
        self.read_runs(keys).await
    }

    /// Reads the runs that began at a moment, or behind it.
    ///
    /// # Errors
    /// As [`history`](Self::history).
    pub async fn history_since(&self, moment: DateTime<Utc>) -> Result<History, RepositoryError> {
        let mut keys = self.history_keys(None).await?;
        // Identifiers know whole seconds.
        keys.retain(|key| key.id.time() > moment - TimeDelta::seconds(1));
        let mut history = self.read_runs(keys).await?;
        history.runs.retain(|run| run.beginning.began >= moment);
        Ok(history)
    }

    async fn read_runs(&self, keys: Vec<RunKey>) -> Result<History, RepositoryError> {
        let live = match keys.iter().any(|key| !key.has_ended) {
            true => self.live_agents().await?,
            false => BTreeSet::new(),
        };
        let mut history = History::default();
        let mut reads = futures::stream::iter(keys)
            .map(|key| async move { (self.read_run(&key).await, key) })
            .buffered(CONCURRENCY)
            .boxed();
        while let Some((found, key)) = reads.next().await {
            match found {
                Ok(Some((beginning, ending))) => {
                    let running = ending.is_none() && live.contains(&beginning.agent);
                    history.runs.push(JobRun { beginning, running, ending });
                }
                Ok(None) => {}
                Err(RepositoryError::Storage(error)) => return Err(error.into()),
                Err(error) => history.problems.push(CatalogueProblem::new(&key.id, &error)),
            }
        }
        // Identifiers know whole seconds.
        let order = |run: &JobRun| std::cmp::Reverse((run.beginning.began, run.beginning.attempt));
        history.runs.sort_by_key(order);
        Ok(history)
    }

    /// Returns when a job was first seen that was not run yet; `None` where nobody has noted it.
    ///
    /// # Errors
    /// Of the storage place.
    #[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "only the agent runs jobs"))]
    pub(crate) async fn job_seen(&self, job: &JobName) -> Result<Option<DateTime<Utc>>, RepositoryError> {
        match self.read_history::<JobSeen>(&layout::job_seen(job)).await {
            Ok(found) => Ok(found.map(|found| found.seen)),
            Err(RepositoryError::Storage(error)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(%job, %error, "when the job was first seen cannot be trusted");
                Ok(None)
            }
        }
    }

    /// Notes when a job was first seen. What is noted already stays.
    ///
    /// # Errors
    /// As [`begin_job_run`](Self::begin_job_run).
    #[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "only the agent runs jobs"))]
    pub(crate) async fn note_job_seen(&self, job: &JobName, seen: DateTime<Utc>) -> Result<(), RepositoryError> {
        self.create_history(&layout::job_seen(job), &JobSeen { seen }).await.map(drop)
    }

    /// Writes down that a run begins.
    ///
    /// # Errors
    /// [`RepositoryError::Locked`]; of the storage place.
    #[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "only the agent runs jobs"))]
    pub(crate) async fn begin_job_run(&self, beginning: &RunBeginning) -> Result<(), RepositoryError> {
        self.create_history(&layout::run_begun(&beginning.job, &beginning.id), beginning).await.map(drop)
    }

    /// Writes down how a run ended. What is written already stays, unless that is that it broke off: whoever did not hear of its agent said so,
    /// and the agent itself knows better.
    ///
    /// # Errors
    /// As [`begin_job_run`](Self::begin_job_run).
    #[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "only the agent runs jobs"))]
    pub(crate) async fn end_job_run(
        &self,
        job: &JobName,
        id: &JobRunId,
        ending: &RunEnding,
    ) -> Result<(), RepositoryError> {
        let object = layout::run_ended(job, id);
        if self.create_history(&object, ending).await? || ending.result == RunResult::BrokenOff {
            return Ok(());
        }
        match self.read_history::<RunEnding>(&object).await {
            Ok(Some(found)) if found.result == RunResult::BrokenOff => {
                self.write_record(&object, HISTORY_DOMAIN, ending).await
            }
            Err(RepositoryError::Storage(error)) => Err(error.into()),
            // One that was altered stays, and is named by whoever reads the history.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Removes the runs that need not be remembered any more.
    pub(super) async fn forget_history(&self) -> Result<(), RepositoryError> {
        let now = self.environment.clock.now();
        let mut by_job: BTreeMap<JobName, Vec<JobRunId>> = BTreeMap::new();
        for key in self.history_keys(None).await? {
            by_job.entry(key.job).or_default().push(key.id);
        }
        for (job, mut runs) in by_job {
            runs.sort_unstable_by(|a, b| b.cmp(a));
            let is_old = |(rank, id): &(usize, JobRunId)| *rank >= KEPT_AT_MOST || now - id.time() > KEPT_FOR;
            for (_, id) in runs.into_iter().enumerate().skip(KEPT_AT_LEAST).filter(is_old) {
                // In this order: an end without its beginning is never read as a run.
                self.storage.delete(&layout::run_begun(&job, &id)).await?;
                self.storage.delete(&layout::run_ended(&job, &id)).await?;
            }
        }
        Ok(())
    }

    /// Returns whether it was not there before.
    async fn create_history<T: Serialize>(&self, object: &ObjectKey, value: &T) -> Result<bool, RepositoryError> {
        let key = self.sealing_key()?;
        let stored = record::encode(object, HISTORY_DOMAIN, &key.epoch, &key.key, value);
        match self.storage.create(object, stored).await {
            Ok(_) => Ok(true),
            Err(StorageError::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn history_keys(&self, job: Option<&JobName>) -> Result<Vec<RunKey>, RepositoryError> {
        let folder = match job {
            Some(job) => format!("{}/{job}", layout::HISTORY),
            None => layout::HISTORY.to_owned(),
        };
        let mut found: BTreeMap<(JobName, JobRunId), (bool, bool)> = BTreeMap::new();
        let mut objects = self.storage.list(&folder);
        while let Some(meta) = objects.try_next().await? {
            let Some((job, id, is_end)) = layout::parse_job_run(&meta.key) else { continue };
            let parts = found.entry((job, id)).or_default();
            if is_end { parts.1 = true } else { parts.0 = true }
        }
        let begun = found.into_iter().filter(|(_, (has_begun, _))| *has_begun);
        Ok(begun.map(|((job, id), (_, has_ended))| RunKey { job, id, has_ended }).collect())
    }

    async fn read_run(&self, key: &RunKey) -> Result<Option<(RunBeginning, Option<RunEnding>)>, RepositoryError> {
        let begun = layout::run_begun(&key.job, &key.id);
        let Some(beginning) = self.read_history::<RunBeginning>(&begun).await? else { return Ok(None) };
        if (&beginning.job, &beginning.id) != (&key.job, &key.id) {
            let reason = "it is the record of another run".to_owned();
            return Err(RepositoryError::Damaged { record: begun.to_string(), reason });
        }
        let ending = match key.has_ended {
            true => self.read_history(&layout::run_ended(&key.job, &key.id)).await?,
            false => None,
        };
        Ok(Some((beginning, ending)))
    }

    async fn read_history<T: DeserializeOwned>(&self, object: &ObjectKey) -> Result<Option<T>, RepositoryError> {
        let Some(found) = record::load::<T>(self.storage.as_ref(), object).await? else { return Ok(None) };
        let Some(key) = self.keyring.epoch_key(&found.epoch) else { return Ok(None) };
        found.authenticate(HISTORY_DOMAIN, &key)?;
        Ok(Some(found.value))
    }

    /// Returns who holds a live lease of an agent.
    async fn live_agents(&self) -> Result<BTreeSet<String>, RepositoryError> {
        let live = lease::live_leases(self.storage.as_ref(), AGENT).await?;
        Ok(live.iter().filter_map(|meta| meta.key.file_name().strip_prefix("agent-").map(str::to_owned)).collect())
    }
}

/// Since when a job has been there that was not run yet.
#[derive(Serialize, Deserialize)]
struct JobSeen {
    seen: DateTime<Utc>,
}

struct RunKey {
    job: JobName,
    id: JobRunId,
    has_ended: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_as_a_key_can_be() {
        for good in ["backup", "verify-newest", "b2"] {
            assert_eq!(good.parse::<JobName>().unwrap().as_str(), good);
        }
        for bad in ["", "Backup", "2b", "a/b", "a b", "-a", &"a".repeat(65)] {
            assert!(bad.parse::<JobName>().is_err(), "{bad}");
        }
    }
}
