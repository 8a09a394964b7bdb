//! What the agent did.

use chrono::TimeDelta;
use erpgo_dr_core::agent::{AgentOptions, summary};
use erpgo_dr_core::ops::drill::quarterly_calendar;
use erpgo_dr_core::repository::{JobName, RepositoryError};
use pyo3::prelude::*;

use super::Repository;
use crate::arguments::{choice, parsed};
use crate::operation::Operation;
use crate::report::Outcome;

#[pymethods]
impl Repository {
    /// Lists what the agent did, the newest first, as dicts: of one job or of all, `limit` runs at most. `ending` is None for a run that goes on
    /// (`running`) or was broken off.
    ///
    /// Raises IntegrityError for records that were altered.
    #[pyo3(signature = (job = None, *, limit = 50))]
    fn history(&self, py: Python<'_>, job: Option<&str>, limit: usize) -> PyResult<Operation> {
        let job: Option<JobName> = job.map(|job| parsed(py, job)).transpose()?;
        Ok(self.operation(None, move |shared, _| async move {
            let history = shared.read().await.history(job.as_ref(), limit).await?;
            if let Some(problem) = history.problems.into_iter().next() {
                return Err(RepositoryError::Damaged { record: problem.subject, reason: problem.problem }.into());
            }
            Ok(Outcome::Plain(serde_json::to_value(history.runs).expect("reports are plain JSON")))
        }))
    }

    /// Sums up what the agent did in the last `days`, and how the repository stands: as a dict, or as a text, with `form` "text".
    #[pyo3(signature = (*, days = 7, form = "dict"))]
    fn summary(&self, py: Python<'_>, days: u32, form: &str) -> PyResult<Operation> {
        let is_text = choice(py, "form", form, &[("dict", false), ("text", true)])?;
        Ok(self.operation(None, move |shared, _| async move {
            let plan = quarterly_calendar();
            let summary = summary(&*shared.read().await, TimeDelta::days(days.into()), &plan).await?;
            Ok(match is_text {
                true => Outcome::Text(summary.to_text(&AgentOptions::of_this_host().host)),
                false => Outcome::Plain(serde_json::to_value(summary).expect("reports are plain JSON")),
            })
        }))
    }
}
