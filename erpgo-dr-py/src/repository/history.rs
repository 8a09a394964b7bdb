//! What the agent did.

use erpgo_dr_core::repository::{JobName, RepositoryError};
use pyo3::prelude::*;

use super::Repository;
use crate::arguments::parsed;
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
}
