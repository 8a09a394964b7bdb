//! How a primary is watched, and what is told of it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::super::engine::Standing;

/// How a primary is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchOptions {
    /// The time from one probe to the next while it is well. After a failed one the next comes after a quarter of it.
    pub every: Duration,
    /// Probes that must fail one after the other before the standbys are asked.
    pub after: u32,
    /// How long an answer may take.
    pub limit: Duration,
    /// Whether the watch ends with the first run, also where that has brought the primary back.
    pub once: bool,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self { every: Duration::from_secs(1), after: 3, limit: Duration::from_secs(2), once: false }
    }
}

impl WatchOptions {
    /// Sets the time from one probe to the next.
    pub fn with_every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Sets how many probes must fail; at least one.
    pub fn with_after(mut self, after: u32) -> Self {
        self.after = after.max(1);
        self
    }

    /// Sets how long an answer may take.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets whether the watch ends with the first run.
    pub fn with_once(mut self, once: bool) -> Self {
        self.once = once;
        self
    }

    /// Returns the time between two probes once one has failed.
    pub(super) fn pause(&self) -> Duration {
        self.every / 4
    }
}

/// How the watched primary is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
#[non_exhaustive]
pub enum WatchState {
    /// It takes writes.
    Up,
    /// It is a standby: another server is the primary.
    Standby,
    /// It does not answer as it should, not yet often enough or in a way that shows that it is there.
    Failing {
        /// What was found.
        error: String,
    },
    /// It does not answer, and it is not certain that it is gone: nothing is done.
    Undecided {
        /// What was found.
        verdict: String,
    },
    /// It is gone: a run begins.
    Down {
        /// What was found.
        verdict: String,
    },
    /// It is gone, and somebody else acts on it: another process that watches, or a run of another runbook.
    Busy {
        /// Who.
        holder: String,
    },
}

impl fmt::Display for WatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("the primary takes writes"),
            Self::Standby => f.write_str("the watched server is a standby"),
            Self::Failing { error } => write!(f, "the primary does not answer as it should: {error}"),
            Self::Undecided { verdict } => write!(f, "it is not certain that the primary is gone: {verdict}"),
            Self::Down { verdict } => write!(f, "the primary is gone: {verdict}"),
            Self::Busy { holder } => write!(f, "the primary is gone, and {holder} acts on it"),
        }
    }
}

/// Is told when the state of the watched primary changes. Called from async tasks: it must return quickly.
pub trait WatchObserver: Send + Sync {
    /// Takes notice of the new state.
    fn changed(&self, state: &WatchState);
}

/// Takes no notice.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWatchObserver;

impl WatchObserver for NoWatchObserver {
    fn changed(&self, _state: &WatchState) {}
}

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WatchEnding {
    /// It was told to end.
    Told,
    /// A run reached its end, and was to be the only one.
    Ran,
    /// A run reached its end, and another server is the primary now.
    Replaced,
    /// A run did not reach its end: people must look.
    RunFailed,
}

/// What a watch saw and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WatchReport {
    /// Why it ended.
    pub ending: WatchEnding,
    /// Probes that were made, but for those of a verdict.
    pub probes: u64,
    /// Those of them that found no primary.
    pub failed_probes: u64,
    /// Runs that were begun.
    pub runs: u32,
    /// How the run stands that it ended with.
    pub run: Option<Standing>,
}
