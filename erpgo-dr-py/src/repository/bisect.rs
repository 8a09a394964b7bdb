//! Since when data is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use erpgo_dr_core::ops::bisect::{self, BisectOptions, BisectVerdict};
use pyo3::prelude::*;

use super::Repository;
use crate::arguments::{PathArgument, account, choice, duration};
use crate::operation::Operation;
use crate::report::Outcome;

#[pymethods]
impl Repository {
    /// Finds since when data is wrong: the newest good restore point, and the transaction behind it that broke the data.
    ///
    /// `check` is a query of `database` that returns one row whose first column is true while the data is right.
    /// `missing`, "good" or "bad", says what it means where it gives no answer, as where a table is not there yet; without it
    /// that is an error. Physical backups are restored into a folder under `scratch`, one over the other, in the clear,
    /// and removed at the end. `restore_command` is PostgreSQL's, as "erpgo-dr wal fetch %f %p", and `environment` what it
    /// finds in its own; without it only the restore points are searched. `system` is the system identifier, where there
    /// are several clusters. `check_timeout` is a number of seconds or a timedelta, an hour by default. `run_as` is as of
    /// `restore_test`. The report's `restore` is what brings the last good state back by `restore_cluster`.
    ///
    /// Raises NotFoundError where there is no physical backup, InvalidError where the check gives no answer, and
    /// DatabaseError where a copy does not start.
    #[pyo3(signature = (
        check, *, database, scratch, missing = None, restore_command = None, environment = None, system = None,
        check_timeout = None, run_as = None, progress = None,
    ))]
    fn bisect(
        &self,
        py: Python<'_>,
        check: String,
        database: String,
        scratch: PathArgument,
        missing: Option<&str>,
        restore_command: Option<String>,
        environment: Option<BTreeMap<String, String>>,
        system: Option<u64>,
        check_timeout: Option<Bound<'_, PyAny>>,
        run_as: Option<Bound<'_, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let words = [("good", BisectVerdict::Good), ("bad", BisectVerdict::Bad)];
        let missing = missing.map(|word| choice(py, "missing", word, &words)).transpose()?;
        let variables = environment.into_iter().flatten().map(|(name, value)| (name.into(), value.into()));
        let limit = check_timeout.map_or(Ok(Duration::from_secs(3600)), |limit| duration(&limit))?;
        let options = BisectOptions::new(database, check, self.share().programs.clone(), scratch)
            .with_missing(missing)
            .with_check_timeout(limit)
            .with_system_identifier(system)
            .with_run_as(run_as.map(|account| self::account(&account)).transpose()?)
            .with_restore_command(restore_command, variables.collect());
        Ok(self.operation(progress, move |shared, context| async move {
            let report = bisect::bisect(&*shared.read().await, &options, &*context.progress).await?;
            Ok(Outcome::report(&report))
        }))
    }
}
