//! Why a drill could not be done. What it showed is in its record.

use crate::ops::{self, ErrorKind};
use crate::postgres::PostgresError;
use crate::repository::RepositoryError;
use crate::runbook::{RunbookError, RunbookName};
use crate::storage::StorageError;

/// Why a drill could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrillError {
    /// The runbook would leave the drill's own servers, or do what is not to be done in one. Nothing of it was done.
    #[error("the runbook {runbook} would leave the drill: {}", faults.join("; "))]
    Leaves {
        /// The runbook.
        runbook: RunbookName,
        /// What, and in which step.
        faults: Vec<String>,
    },
    /// The kernel lets nobody make a network namespace, and the runbook is not one that comes with the tool.
    #[error("nothing here keeps the servers of the drill off the network, as a runbook of your own needs it")]
    NotSealed,
    /// The runbook cannot be used.
    #[error(transparent)]
    Runbook(#[from] RunbookError),
    /// What hinders the work.
    #[error(transparent)]
    Operation(#[from] ops::Error),
}

impl DrillError {
    /// Returns what the failure means for the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Leaves { .. } | Self::NotSealed => ErrorKind::Refused,
            Self::Runbook(error) => error.kind(),
            Self::Operation(error) => error.kind(),
        }
    }
}

impl From<PostgresError> for DrillError {
    fn from(error: PostgresError) -> Self {
        Self::Operation(error.into())
    }
}

impl From<RepositoryError> for DrillError {
    fn from(error: RepositoryError) -> Self {
        Self::Operation(error.into())
    }
}

impl From<StorageError> for DrillError {
    fn from(error: StorageError) -> Self {
        Self::Operation(error.into())
    }
}
