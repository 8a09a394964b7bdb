//! From the library's reports to Python's: as JSON, of which `erpgo_dr/_reports.py` makes frozen dataclasses.

use erpgo_dr_core::ops::{BackupReport, PruneReport, RepairOutcome, RestoreReport, Status, ThawReport, VerifyReport};
use erpgo_dr_core::repository::{CatalogueEntry, EpochInfo, EpochRole, Manifest, Verdict};
use erpgo_dr_core::retention::{RetentionCandidate, RetentionPlan};
use erpgo_dr_core::runbook::{Ending, RunbookPlan, Standing};
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use crate::repository::Repository;

const MODULE: &str = "erpgo_dr._reports";

/// What an operation gives back, before there is a Python object of it.
pub(crate) enum Outcome {
    /// Nothing.
    Nothing,
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A key for files.
    FileKey(crate::keys::FileKey),
    /// A repository.
    Repository(Repository),
    /// What JSON can hold, as Python's own dicts and lists.
    Plain(Value),
    /// An object of a class, or a tuple of them, as JSON.
    Report(&'static str, Value),
}

impl Outcome {
    /// Takes a report, and what its methods say.
    pub(crate) fn report<R: Report>(report: &R) -> Self {
        Self::Report(R::CLASS, report.value())
    }

    /// Takes several.
    pub(crate) fn reports<'a, R: Report + 'a>(reports: impl IntoIterator<Item = &'a R>) -> Self {
        Self::Report(R::CLASS, reports.into_iter().map(Report::value).collect())
    }

    /// Makes the Python object.
    pub(crate) fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Nothing => Ok(py.None()),
            Self::Text(text) => Ok(text.into_pyobject(py)?.into_any().unbind()),
            Self::Bytes(bytes) => Ok(pyo3::types::PyBytes::new(py, &bytes).into_any().unbind()),
            Self::FileKey(key) => Ok(Py::new(py, key)?.into_any()),
            Self::Repository(repository) => Ok(Py::new(py, repository)?.into_any()),
            Self::Plain(value) => Ok(py.import("json")?.call_method1("loads", (value.to_string(),))?.unbind()),
            Self::Report(class, value) => {
                let decode = py.import(MODULE)?.getattr("decode")?;
                Ok(decode.call1((class, value.to_string()))?.unbind())
            }
        }
    }
}

/// What becomes a dataclass.
pub(crate) trait Report {
    /// The class's name.
    const CLASS: &'static str;

    /// Its fields.
    fn value(&self) -> Value;
}

/// Joins a report's own fields with what its methods say.
fn with<R: Serialize>(report: &R, facts: Value) -> Value {
    let mut value = serde_json::to_value(report).expect("reports hold nothing that JSON cannot");
    if let (Value::Object(fields), Value::Object(facts)) = (&mut value, facts) {
        fields.extend(facts);
    }
    value
}

macro_rules! reports {
    ($($report:ty as $class:literal, |$self:ident| $facts:expr;)*) => {
        $(impl Report for $report {
            const CLASS: &'static str = $class;

            fn value(&self) -> Value {
                let $self = self;
                with($self, $facts)
            }
        })*
    };
}

// Behind the macro, which it uses.
mod clusters;

pub(crate) use clusters::pushed;

reports! {
    BackupReport as "BackupReport", |report| json!({ "is_complete": report.is_complete() });
    VerifyReport as "VerifyReport", |report| json!({ "passed": report.passed() });
    Verdict as "Verdict", |_report| json!({});
    RestoreReport as "RestoreReport", |_report| json!({});
    PruneReport as "PruneReport", |_report| json!({});
    RepairOutcome as "RepairReport", |report| json!({ "is_healthy": report.is_healthy() });
    Status as "Status", |report| json!({ "is_healthy": report.is_healthy() });
    ThawReport as "ThawReport", |report| json!({ "is_readable": report.is_readable() });
    Manifest as "Manifest", |_report| json!({});
    RunbookPlan as "RunbookPlan", |_report| json!({});
    Standing as "RunStanding", |report| json!({ "is_complete": matches!(report.ending, Ending::Completed | Ending::Undone) });
    RetentionPlan as "RetentionPlan", |plan| json!({
        "kept": plan.kept().collect::<Vec<_>>(),
        "expired": plan.expired().collect::<Vec<_>>(),
    });
}

impl Report for CatalogueEntry {
    const CLASS: &'static str = "Backup";

    fn value(&self) -> Value {
        let summary = &self.summary;
        let details = self.details.as_ref();
        let proven = self.proven();
        json!({
            "id": summary.id,
            "kind": summary.kind,
            "created": summary.created,
            "finished": summary.finished,
            "plaintext_bytes": summary.plaintext_bytes,
            "stored_bytes": summary.stored_bytes,
            "objects": summary.objects.len(),
            "is_locked": details.is_none(),
            "scope": details.map(|details| details.scope),
            "databases": details.map(|details| &details.databases),
            "server_version": details.map(|details| &details.server_version),
            "server_major": details.map(|details| details.server_major),
            "system_identifier": details.and_then(|details| details.system_identifier),
            "label": details.and_then(|details| details.label.as_ref()),
            "verdicts": self.verdicts,
            "hold": self.hold,
            "proven": proven.map(|(level, _)| level),
            "proven_at": proven.map(|(_, at)| at),
            "candidate": self.candidate().value(),
        })
    }
}

impl Report for RetentionCandidate {
    const CLASS: &'static str = "RetentionCandidate";

    fn value(&self) -> Value {
        json!({
            "id": self.id,
            "created": self.created,
            "verified": self.verified,
            "held": self.held,
            "needs": self.needs,
            "group": self.group,
        })
    }
}

impl Report for EpochInfo {
    const CLASS: &'static str = "Epoch";

    fn value(&self) -> Value {
        let (role, previous) = match &self.role {
            Some(EpochRole::Root) => (Some("root"), None),
            Some(EpochRole::Successor { previous, .. }) => (Some("successor"), Some(previous)),
            Some(EpochRole::Run) => (Some("run"), None),
            _ => (None, None),
        };
        json!({
            "id": self.id,
            "role": role,
            "previous": previous,
            "active": self.active,
            "unlocked": self.unlocked,
            "slots": self.slots,
        })
    }
}

/// What went through `encrypt`, `decrypt` and their like.
#[derive(Debug, Default, Serialize)]
pub(crate) struct FileReport {
    /// Bytes in the clear.
    pub(crate) plaintext_bytes: u64,
    /// Bytes of the encrypted form.
    pub(crate) stored_bytes: u64,
}

impl Report for FileReport {
    const CLASS: &'static str = "FileReport";

    fn value(&self) -> Value {
        with(self, json!({}))
    }
}
