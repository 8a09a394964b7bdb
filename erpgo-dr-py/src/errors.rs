//! From the library's errors to Python's exceptions: the one place that knows which becomes which.
//!
//! The classes themselves are Python's, in `erpgo_dr/_errors.py`.

use std::error::Error as StdError;

use erpgo_dr_core::ErrorKind;
use erpgo_dr_core::drill::DrillError;
use erpgo_dr_core::ops;
use erpgo_dr_core::runbook::{RunbookError, ha_kind};
use erpgo_dr_core::topology::ha::HaError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::host::Raised;

const MODULE: &str = "erpgo_dr._errors";

/// Why an operation has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library says so.
    Library(ops::Error),
    /// A runbook, or a run of one.
    Runbook(Box<RunbookError>),
    /// A drill that is refused.
    Drill(Box<DrillError>),
    /// Whoever runs a cluster.
    Ha(Box<HaError>),
    /// Python code that was called raised this, or it was made of its arguments.
    Python(PyErr),
    /// It was told to stop.
    Stopped,
}

impl Failure {
    /// Turns the failure into the exception that the caller sees.
    pub(crate) fn into_exception(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Library(error) => exception(py, &error),
            Self::Runbook(error) => runbook_exception(py, &error),
            Self::Drill(error) => raise(py, error.kind(), &error.to_string(), causes(&*error), false),
            Self::Ha(error) => ha_exception(py, &error),
            Self::Python(error) => error,
            Self::Stopped => pyo3::exceptions::PyRuntimeError::new_err("the operation was stopped"),
        }
    }
}

impl<E: IntoLibraryError> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Library(error.into_library_error())
    }
}

impl From<DrillError> for Failure {
    fn from(error: DrillError) -> Self {
        match error {
            DrillError::Operation(error) => Self::Library(error),
            DrillError::Runbook(error) => error.into(),
            error => Self::Drill(Box::new(error)),
        }
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

/// Ends an operation whose Python code raised: the exception itself is in the operation's context.
pub(crate) trait Raising<T> {
    /// Takes the value, or ends the operation.
    fn raising(self) -> Result<T, Failure>;
}

impl<T> Raising<T> for Result<T, Raised> {
    fn raising(self) -> Result<T, Failure> {
        self.map_err(|Raised| Failure::Stopped)
    }
}

/// What the library's top error takes in.
pub(crate) trait IntoLibraryError {
    /// Turns it into the top error.
    fn into_library_error(self) -> ops::Error;
}

macro_rules! library_errors {
    ($($error:ty),* $(,)?) => {
        $(impl IntoLibraryError for $error {
            fn into_library_error(self) -> ops::Error {
                self.into()
            }
        })*
    };
}

library_errors!(
    ops::Error,
    erpgo_dr_core::codec::CodecError,
    erpgo_dr_core::container::ContainerError,
    erpgo_dr_core::crypto::CryptoError,
    erpgo_dr_core::postgres::PostgresError,
    erpgo_dr_core::repository::RepositoryError,
    erpgo_dr_core::storage::StorageError,
);

/// Returns the class of a kind, and the text of its attribute `kind`.
fn class_of(kind: ErrorKind) -> (&'static str, &'static str) {
    match kind {
        ErrorKind::Invalid => ("InvalidError", "invalid"),
        ErrorKind::NotFound => ("NotFoundError", "not-found"),
        ErrorKind::AlreadyExists => ("AlreadyExistsError", "already-exists"),
        ErrorKind::Locked => ("LockedError", "locked"),
        ErrorKind::Integrity => ("IntegrityError", "integrity"),
        ErrorKind::Archived => ("ArchivedError", "archived"),
        ErrorKind::Permission => ("PermissionDeniedError", "permission"),
        ErrorKind::NoSpace => ("NoSpaceError", "no-space"),
        ErrorKind::Unavailable => ("UnavailableError", "unavailable"),
        ErrorKind::Database => ("DatabaseError", "database"),
        ErrorKind::Refused => ("RefusedError", "refused"),
        ErrorKind::Busy => ("BusyError", "busy"),
        ErrorKind::Io => ("InputOutputError", "io"),
        _ => ("ErpgoDrError", "other"),
    }
}

/// Makes the exception of an error of the library.
pub(crate) fn exception(py: Python<'_>, error: &ops::Error) -> PyErr {
    raise(py, error.kind(), &error.to_string(), causes(error), error.is_retryable())
}

/// Makes the exception of an error around runbooks.
pub(crate) fn runbook_exception(py: Python<'_>, error: &RunbookError) -> PyErr {
    let retryable = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Busy);
    raise(py, error.kind(), &error.to_string(), causes(error), retryable)
}

/// Makes the exception of an error around the high availability of a cluster.
pub(crate) fn ha_exception(py: Python<'_>, error: &HaError) -> PyErr {
    let kind = ha_kind(error);
    // What may be done already is for people to look at first.
    let retryable = kind == ErrorKind::Unavailable && !error.may_be_done();
    raise(py, kind, &error.to_string(), causes(error), retryable)
}

fn causes(error: &dyn StdError) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

/// Makes the exception for an argument that is wrong.
pub(crate) fn invalid(py: Python<'_>, problem: &dyn std::fmt::Display) -> PyErr {
    raise(py, ErrorKind::Invalid, &problem.to_string(), Vec::new(), false)
}

/// Turns an error about arguments into an exception.
pub(crate) fn checked<T, E: IntoLibraryError>(py: Python<'_>, result: Result<T, E>) -> PyResult<T> {
    result.map_err(|error| exception(py, &error.into_library_error()))
}

fn raise(py: Python<'_>, kind: ErrorKind, message: &str, causes: Vec<String>, retryable: bool) -> PyErr {
    let (class, kind) = class_of(kind);
    let make = || -> PyResult<PyErr> {
        let details = PyDict::new(py);
        details.set_item("kind", kind)?;
        details.set_item("retryable", retryable)?;
        details.set_item("causes", PyTuple::new(py, causes)?)?;
        let value = py.import(MODULE)?.getattr(class)?.call((message,), Some(&details))?;
        Ok(PyErr::from_value(value))
    };
    make().unwrap_or_else(|error| error)
}
