//! What can go wrong at the command line: kinds, exit codes and the next step.
//!
//! The library says what failed; here it gets an exit code by its kind, and a hint that names what to do.

mod hints;

use std::path::Path;

use erpgo_dr_core::agent::AgentError;
use erpgo_dr_core::codec::CodecError;
use erpgo_dr_core::container::ContainerError;
use erpgo_dr_core::crypto::CryptoError;
use erpgo_dr_core::drill::DrillError;
use erpgo_dr_core::monitor::ServeError;
use erpgo_dr_core::ops::legacy::LegacyError;
use erpgo_dr_core::postgres::PostgresError;
use erpgo_dr_core::postgres::wal::WalError;
use erpgo_dr_core::repository::RepositoryError;
use erpgo_dr_core::runbook::{RunbookError, ha_kind};
use erpgo_dr_core::storage::StorageError;
use erpgo_dr_core::topology::ha::HaError;
use erpgo_dr_core::{Error, ErrorKind};

use crate::config::ConfigError;

/// The exit code of work that was done and found something bad.
pub(crate) const FINDING: u8 = 1;
/// The exit code of a command line or configuration that is wrong.
pub(crate) const USAGE: u8 = 2;

/// Returns what is added to the exit code of a failure: something for `wal fetch`, because PostgreSQL takes up to 125 for the end of
/// the log, and promotes. 128 and a signal's number would be taken for that signal.
pub(crate) fn code_offset(is_wal_fetch: bool) -> u8 {
    if is_wal_fetch { 200 } else { 0 }
}

/// The table of exit codes, at the end of the help and of the man page.
pub(crate) const EXIT_CODES_HELP: &str = "\
Exit codes:
   0  done, and all is well
   1  done, and something bad was found (failed verification, missed replica, unhealthy status)
   2  wrong usage or configuration
   3  invalid         an option or setting that cannot be; nothing was done
   4  not-found       no such repository, backup, database, program or file
   5  already-exists  what was to be made is there already
   6  locked          a key, passphrase or identity is missing or wrong
   7  integrity       stored data is damaged, or somebody altered it
   8  archived        stored data must be thawed first
   9  permission      credentials or permissions do not allow it
  10  no-space        a disk or storage place is full
  11  unavailable     a server or storage place cannot be reached; try again
  12  database        PostgreSQL or one of its programs said no
  13  refused         a guard stopped what would have destroyed data
  14  busy            another process is at it; try again
  15  io              the operating system failed a read or write
 130  interrupted by Ctrl-C
 143  ended by SIGTERM
`wal fetch` ends with 1 only when the file is not in the archive; its failures are 200 more (202, 203...).";

/// A signal that ended the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
}

/// A failure of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Of the library. Boxed: it is large, and every result carries its room.
    #[error(transparent)]
    Core(Box<Error>),
    /// Of a runbook or a run of one.
    #[error(transparent)]
    Runbook(Box<RunbookError>),
    /// Of a drill that is refused.
    #[error(transparent)]
    Drill(Box<DrillError>),
    /// Of the agent.
    #[error(transparent)]
    Agent(Box<AgentError>),
    /// Of whoever runs a cluster.
    #[error(transparent)]
    Ha(Box<HaError>),
    /// Of the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command line, or what it names, does not make sense.
    #[error("{message}")]
    Usage { message: String, hint: Option<String> },
    /// A guard of the command line: what would destroy something was not confirmed.
    #[error("{message}")]
    Refused { message: String, hint: String },
    /// A promise of the tool that did not hold when it was put to the test.
    #[error("{0}")]
    NotProven(String),
    /// The process was told to stop.
    #[error("interrupted{}", left_behind(left))]
    Interrupted {
        signal: Signal,
        /// What the work had made and could not remove.
        left: Vec<String>,
    },
}

impl CliError {
    /// Refuses a command line.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    /// Returns the word for the kind of failure, as it appears in JSON.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self {
            Self::Core(error) => kind_name(error.kind()),
            Self::Runbook(error) => kind_name(error.kind()),
            Self::Drill(error) => kind_name(error.kind()),
            Self::Agent(error) => kind_name(error.kind()),
            Self::Ha(error) => kind_name(ha_kind(error)),
            Self::Config(_) => "config",
            Self::Usage { .. } => "usage",
            Self::Refused { .. } => kind_name(ErrorKind::Refused),
            Self::NotProven(_) => kind_name(ErrorKind::Integrity),
            Self::Interrupted { .. } => "interrupted",
        }
    }

    /// Returns the exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Core(error) => exit_code(error.kind()),
            Self::Runbook(error) => exit_code(error.kind()),
            Self::Drill(error) => exit_code(error.kind()),
            Self::Agent(error) => exit_code(error.kind()),
            Self::Ha(error) => exit_code(ha_kind(error)),
            Self::Config(_) | Self::Usage { .. } => USAGE,
            Self::Refused { .. } => exit_code(ErrorKind::Refused),
            Self::NotProven(_) => exit_code(ErrorKind::Integrity),
            Self::Interrupted { signal: Signal::Interrupt, .. } => 130,
            Self::Interrupted { signal: Signal::Terminate, .. } => 143,
        }
    }

    /// Names the next step.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Core(error) => hints::of(error),
            Self::Runbook(error) => hints::of_runbook(error),
            Self::Drill(error) => hints::of_drill(error),
            Self::Agent(error) => hints::of_agent(error),
            Self::Ha(error) => hints::of_ha(error),
            Self::Config(error) => error.hint(),
            Self::Usage { hint, .. } => hint.clone(),
            Self::Refused { hint, .. } => Some(hint.clone()),
            Self::NotProven(_) => Some("this is a fault of erpgo-dr or of this machine: please report it".to_owned()),
            Self::Interrupted { left, .. } if left.is_empty() => None,
            Self::Interrupted { .. } => Some("DROP DATABASE it, before it is taken for a whole one".to_owned()),
        }
    }

    /// Says in a line what went wrong, and why.
    pub(crate) fn in_a_line(&self) -> String {
        let causes: String = self.causes().iter().map(|cause| format!(": {cause}")).collect();
        format!("{self}{causes}").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Lists the causes, from the nearest to the innermost, without repetitions.
    pub(crate) fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut last = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            let text = error.to_string();
            if text != last {
                causes.push(text.clone());
                last = text;
            }
            next = error.source();
        }
        causes
    }
}

fn left_behind(left: &[String]) -> String {
    if left.is_empty() { String::new() } else { format!("; left behind: {}", left.join(", ")) }
}

macro_rules! from_layers {
    ($($error:ty),*) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::Core(Box::new(error.into()))
            }
        })*
    };
}

from_layers!(
    Error,
    CodecError,
    ContainerError,
    CryptoError,
    LegacyError,
    PostgresError,
    RepositoryError,
    StorageError,
    WalError
);

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        let message = error.to_string();
        match error {
            ServeError::Io { action, source } => io(action, source),
            ServeError::Exposed { .. } => Self::Refused {
                message,
                hint: "listen at 127.0.0.1, or give --certificate, --key and --token-file".to_owned(),
            },
            _ => Self::usage(message, "check the path, and that the file is in PEM form"),
        }
    }
}

impl From<HaError> for CliError {
    fn from(error: HaError) -> Self {
        match error {
            HaError::Postgres(error) => error.into(),
            error => Self::Ha(Box::new(error)),
        }
    }
}

impl From<RunbookError> for CliError {
    fn from(error: RunbookError) -> Self {
        match error {
            RunbookError::Repository(error) => error.into(),
            error => Self::Runbook(Box::new(error)),
        }
    }
}

impl From<DrillError> for CliError {
    fn from(error: DrillError) -> Self {
        match error {
            DrillError::Operation(error) => error.into(),
            DrillError::Runbook(error) => error.into(),
            error => Self::Drill(Box::new(error)),
        }
    }
}

impl From<AgentError> for CliError {
    fn from(error: AgentError) -> Self {
        match error {
            // Hints are for what failed there.
            AgentError::Repository(error) => error.into(),
            error => Self::Agent(Box::new(error)),
        }
    }
}

/// Wraps a failure of the operating system.
pub(crate) fn io(action: impl Into<String>, source: std::io::Error) -> CliError {
    Error::Io { action: action.into(), source }.into()
}

/// Wraps a failure to read a file.
pub(crate) fn reading(path: &Path) -> impl Fn(std::io::Error) -> CliError {
    let action = format!("read {}", path.display());
    move |source| io(action.clone(), source)
}

/// Returns the word for a kind, as it appears in JSON and in the table of exit codes.
pub(crate) fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "invalid",
        ErrorKind::NotFound => "not-found",
        ErrorKind::AlreadyExists => "already-exists",
        ErrorKind::Locked => "locked",
        ErrorKind::Integrity => "integrity",
        ErrorKind::Archived => "archived",
        ErrorKind::Permission => "permission",
        ErrorKind::NoSpace => "no-space",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Database => "database",
        ErrorKind::Refused => "refused",
        ErrorKind::Busy => "busy",
        _ => "io",
    }
}

fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Invalid => 3,
        ErrorKind::NotFound => 4,
        ErrorKind::AlreadyExists => 5,
        ErrorKind::Locked => 6,
        ErrorKind::Integrity => 7,
        ErrorKind::Archived => 8,
        ErrorKind::Permission => 9,
        ErrorKind::NoSpace => 10,
        ErrorKind::Unavailable => 11,
        ErrorKind::Database => 12,
        ErrorKind::Refused => 13,
        ErrorKind::Busy => 14,
        _ => 15,
    }
}
