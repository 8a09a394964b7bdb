//! What goes wrong with runbooks: with their text, with a run of one, and with a single action.

use std::path::PathBuf;

use super::model::RunbookName;
use super::template::TemplateError;
use super::values::ValueError;
use crate::causes::chain;
use crate::ops::{self, ErrorKind};
use crate::postgres::PostgresError;
use crate::repository::RepositoryError;
use crate::topology::ha::HaError;
use crate::types::RunId;

/// A runbook that cannot be used, or a run that cannot begin or go on. That a step failed is no error: it is in the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunbookError {
    /// The text is no runbook.
    #[error("not a runbook: {message}")]
    Syntax {
        /// What is wrong, and where.
        message: String,
    },
    /// A name has characters that names do not have.
    #[error("{text:?} cannot name {what}: lower-case letters, digits and `-`, a letter first")]
    Name {
        /// What it was to name.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// What the runbook says cannot be done.
    #[error("the runbook {name} has faults: {}", faults.join("; "))]
    Faulty {
        /// The runbook.
        name: RunbookName,
        /// Each fault, with its step.
        faults: Vec<String>,
    },
    /// The runbook has no such variable.
    #[error("the runbook has no variable {name}")]
    UnknownVariable {
        /// The name.
        name: String,
    },
    /// A value is not of its variable's type.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// Variables have no values.
    #[error("no value is given for {}", names.join(", "))]
    MissingValues {
        /// The variables.
        names: Vec<String>,
    },
    /// The runbook does not ask whether a primary is down.
    #[error("the runbook {name} has no step primary-down: there is nothing to watch")]
    NotWatchable {
        /// The runbook.
        name: RunbookName,
    },
    /// Patroni runs the cluster: it replaces its primary, and nobody else may.
    #[error("Patroni runs {server}, and replaces a primary that is lost by itself")]
    RunByPatroni {
        /// A server of the cluster.
        server: String,
    },
    /// Levels of escalation that cannot be followed.
    #[error("the escalation cannot be followed: {0}")]
    Escalation(String),
    /// The repository has no such run.
    #[error("there is no run {0}")]
    NoSuchRun(RunId),
    /// The run has ended well: there is nothing to resume.
    #[error("the run {0} has ended")]
    Ended(RunId),
    /// Another process writes into the journal of the run.
    #[error("another process goes on with the run {0}")]
    Busy(RunId),
    /// A journal is not what was written: an entry is missing, altered or out of order.
    #[error("the journal of {run} is damaged at entry {number}: {reason}")]
    Journal {
        /// The run.
        run: RunId,
        /// The entry, counted from 0.
        number: u32,
        /// What is wrong.
        reason: String,
    },
    /// The journal could not be read or written. Nothing was begun that it does not tell of.
    #[error("the journal cannot be read or written")]
    Repository(#[from] RepositoryError),
}

impl RunbookError {
    /// Returns what the failure means for the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Syntax { .. }
            | Self::Name { .. }
            | Self::Faulty { .. }
            | Self::UnknownVariable { .. }
            | Self::Value(_)
            | Self::MissingValues { .. }
            | Self::NotWatchable { .. }
            | Self::Escalation(_) => ErrorKind::Invalid,
            Self::NoSuchRun(_) => ErrorKind::NotFound,
            Self::Ended(_) | Self::RunByPatroni { .. } => ErrorKind::Refused,
            Self::Busy(_) => ErrorKind::Busy,
            Self::Journal { .. } => ErrorKind::Integrity,
            Self::Repository(error) => ops::repository_kind(error),
        }
    }
}

/// Why an attempt at an action failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActionError {
    /// Its text could not be completed.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// It needs something that the runbook or its surroundings do not have.
    #[error("{0}")]
    Unusable(String),
    /// A check found something else than what was to be.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What was to be.
        expected: String,
        /// What is.
        found: String,
    },
    /// A server or a client program.
    #[error("{}", chain(.0))]
    Postgres(#[from] PostgresError),
    /// A backup, a restore, the archive.
    #[error("{}", chain(.0))]
    Operation(#[from] ops::Error),
    /// The repository.
    #[error("{}", chain(.0))]
    Repository(#[from] RepositoryError),
    /// Whoever runs the cluster, or its state.
    #[error(transparent)]
    Ha(HaError),
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program ended badly.
    #[error("{program} ended with {status}{}", tail(stderr))]
    Program {
        /// The program.
        program: String,
        /// `exit status: 1`, `signal: 9 (SIGKILL)`.
        status: String,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// A request did not get through.
    #[error("{url}: {reason}")]
    Request {
        /// The address.
        url: String,
        /// Why, down to the last cause.
        reason: String,
    },
    /// A server answered, and says no.
    #[error("{by} refuses: {answer}")]
    Refused {
        /// The server.
        by: String,
        /// What it says: `REFUSED`, `NOTAUTH (BADSIG)`.
        answer: String,
    },
    /// A file.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The operator said no, or that it failed.
    #[error("{by} said no{}", note.as_deref().map(|note| format!(": {note}")).unwrap_or_default())]
    Declined {
        /// Who.
        by: String,
        /// What else was said.
        note: Option<String>,
    },
    /// It took longer than it may.
    #[error("not done within {0}")]
    TimedOut(super::span::Span),
}

impl From<HaError> for ActionError {
    /// A setting that makes no sense does not get better by trying again.
    fn from(error: HaError) -> Self {
        match error {
            error @ (HaError::Setting { .. } | HaError::Unsupported { .. }) => Self::Unusable(error.to_string()),
            error => Self::Ha(error),
        }
    }
}

/// Returns what a failure around the high availability of a cluster means for the caller.
pub fn ha_kind(error: &HaError) -> ErrorKind {
    match error {
        HaError::Setting { .. } | HaError::Unsupported { .. } => ErrorKind::Invalid,
        HaError::Unauthorized { .. } | HaError::Tls { .. } => ErrorKind::Permission,
        HaError::NoSuchMember { .. } => ErrorKind::NotFound,
        HaError::Unreachable { .. }
        | HaError::Unanswered { .. }
        | HaError::Unreadable { .. }
        | HaError::NoLeader
        | HaError::NotSettled { .. }
        | HaError::Host { .. } => ErrorKind::Unavailable,
        HaError::Postgres(_) => ErrorKind::Database,
        _ => ErrorKind::Refused,
    }
}

fn tail(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}
