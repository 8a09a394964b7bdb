//! What can go wrong with an agent as a whole. What goes wrong with a job is in its history.

use super::schedule::ScheduleError;
use crate::ops::{self, ErrorKind};
use crate::repository::{JobName, JobNameError, RepositoryError};

/// An agent that cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// A job's schedule.
    #[error("job {job}")]
    Schedule {
        /// The job.
        job: String,
        /// What is wrong.
        #[source]
        source: ScheduleError,
    },
    /// A job's name.
    #[error(transparent)]
    Name(#[from] JobNameError),
    /// Two jobs of one name, whose histories would be one.
    #[error("two jobs are called {name}")]
    SameName {
        /// The name.
        name: JobName,
    },
    /// A name that alarms of the agent itself have.
    #[error("no job may be called {name}: alarms of the agent itself are")]
    ReservedName {
        /// The name.
        name: JobName,
    },
    /// A length of time of a job.
    #[error("job {job}: {reason}")]
    Timing {
        /// The job.
        job: JobName,
        /// What is wrong.
        reason: &'static str,
    },
    /// There is nothing to do.
    #[error("there are no jobs")]
    NoJobs,
    /// The configuration that was read anew names another repository, or another place of it.
    #[error("the configuration names another repository, or another place of it, now")]
    OtherRepository,
    /// The repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

impl AgentError {
    /// Returns what the failure means for the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Schedule { .. }
            | Self::Name(_)
            | Self::SameName { .. }
            | Self::ReservedName { .. }
            | Self::Timing { .. }
            | Self::NoJobs => ErrorKind::Invalid,
            Self::OtherRepository => ErrorKind::Refused,
            Self::Repository(error) => ops::repository_kind(error),
        }
    }
}
