//! Retention policies, which decide without touching anything.

use std::sync::Arc;

use erpgo_dr_core::retention::{
    AllOf, AnyOf, Gfs, Guarded, KeepAll, KeepLast, KeepWithin, RetentionCandidate, RetentionPolicy as Policy,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::arguments::{backup_id, moment, span};
use crate::errors::invalid;
use crate::report::Outcome;

/// A rule by which backups are kept.
///
/// Made by `gfs`, `keep_last`, `keep_within` and `keep_all`; `a | b` keeps what either keeps, `a & b` what both keep.
#[pyclass(frozen, module = "erpgo_dr")]
#[derive(Debug)]
pub struct RetentionPolicy {
    policy: Arc<dyn Policy>,
}

impl RetentionPolicy {
    fn new(policy: impl Policy + 'static) -> Self {
        Self { policy: Arc::new(policy) }
    }

    /// Lends the policy.
    pub(crate) fn share(&self) -> Arc<dyn Policy> {
        Arc::clone(&self.policy)
    }

    fn both(left: &Self, right: &Self) -> Vec<Box<dyn Policy>> {
        vec![Box::new(left.share()), Box::new(right.share())]
    }
}

/// How many, from 0 on.
fn count(py: Python<'_>, name: &str, value: i64) -> PyResult<u32> {
    u32::try_from(value).map_err(|_| invalid(py, &format!("{name} is {value}, not a number from 0 to {}", u32::MAX)))
}

#[pymethods]
impl RetentionPolicy {
    /// Keeps the newest backup of each of the last days, ISO weeks, months and years that have one. 0 turns one off.
    #[staticmethod]
    #[pyo3(signature = (*, daily = 7, weekly = 4, monthly = 12, yearly = 0))]
    fn gfs(py: Python<'_>, daily: i64, weekly: i64, monthly: i64, yearly: i64) -> PyResult<Self> {
        let count = |name, value| self::count(py, name, value);
        Ok(Self::new(Gfs {
            daily: count("daily", daily)?,
            weekly: count("weekly", weekly)?,
            monthly: count("monthly", monthly)?,
            yearly: count("yearly", yearly)?,
        }))
    }

    /// Keeps the newest so many.
    #[staticmethod]
    fn keep_last(py: Python<'_>, count: i64) -> PyResult<Self> {
        Ok(Self::new(KeepLast(self::count(py, "count", count)?)))
    }

    /// Keeps what is no older than a span: a timedelta, or a number of seconds.
    #[staticmethod]
    fn keep_within(age: Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self::new(KeepWithin(span(&age)?)))
    }

    /// Keeps everything.
    #[staticmethod]
    fn keep_all() -> Self {
        Self::new(KeepAll)
    }

    /// Decides about each of `backups` as of `now`, a datetime with a time zone, and says why.
    ///
    /// `backups` are RetentionCandidates, or what has their attributes. Guards stand above the policy as they do in
    /// `prune`, unless `guarded` is false: they keep what is on hold, what another needs, what comes from the future,
    /// and the last backup that was verified.
    #[pyo3(signature = (now, backups, *, guarded = true))]
    fn plan(
        &self,
        py: Python<'_>,
        now: Bound<'_, PyAny>,
        backups: Bound<'_, PyAny>,
        guarded: bool,
    ) -> PyResult<Py<PyAny>> {
        let now = moment(&now)?;
        let candidates = backups.try_iter()?.map(|backup| candidate(&backup?)).collect::<PyResult<Vec<_>>>()?;
        let plan = match guarded {
            true => Guarded::new(self.share()).plan(now, &candidates),
            false => self.policy.plan(now, &candidates),
        };
        Outcome::report(&plan).into_python(py)
    }

    fn __or__(&self, other: Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self::new(AnyOf(Self::both(self, policy(&other)?.get()))))
    }

    fn __and__(&self, other: Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self::new(AllOf(Self::both(self, policy(&other)?.get()))))
    }

    fn __str__(&self) -> String {
        self.policy.describe()
    }

    fn __repr__(&self) -> String {
        format!("<RetentionPolicy {}>", self.policy.describe())
    }
}

/// Takes an argument as a policy.
pub(crate) fn policy<'a, 'py>(value: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, RetentionPolicy>> {
    let found = value.get_type().name()?;
    value.cast().map_err(|_| PyTypeError::new_err(format!("expected a RetentionPolicy, not {found}")))
}

fn candidate(value: &Bound<'_, PyAny>) -> PyResult<RetentionCandidate> {
    let py = value.py();
    let id: String = value.getattr("id")?.extract()?;
    let group: String = value.getattr("group")?.extract()?;
    let mut candidate = RetentionCandidate::new(backup_id(py, &id)?, moment(&value.getattr("created")?)?, group);
    let verified = value.getattr("verified")?;
    candidate.verified = if verified.is_none() { None } else { Some(moment(&verified)?) };
    candidate.held = value.getattr("held")?.extract()?;
    let needs: Vec<String> = value.getattr("needs")?.extract()?;
    candidate.needs = needs.iter().map(|id| backup_id(py, id)).collect::<PyResult<_>>()?;
    Ok(candidate)
}
