//! A look at a server in use: needs no repository.

use std::time::Duration;

use erpgo_dr_core::ops;
use erpgo_dr_core::repository::Cleanups;
use pyo3::prelude::*;

use crate::arguments::{SqlCheckArgument, duration};
use crate::connection;
use crate::operation::Operation;
use crate::report::Outcome;

/// Looks for data of a server that is damaged or contradicts its catalogue, and changes nothing there.
///
/// Pages and btree indexes (where a database has the extension amcheck), failures of checksums, invalid indexes,
/// constraints that were not validated, orphans of every foreign key, missing values, broken check constraints, sequences
/// behind their columns, and `checks`, which are SqlChecks. `databases` are all when none is named. With `quick`, amcheck
/// reads no tables. `statement_timeout` limits each statement, which is one table, index or constraint: a number of
/// seconds or a timedelta, an hour by default, 0 for none. Look at the report's `passed`, and at what was `not_checked`.
///
/// Raises UnavailableError, PermissionDeniedError or DatabaseError of the server, NotFoundError for a database.
#[pyfunction]
#[pyo3(signature = (
    connection, *, password = None, databases = None, quick = false, statement_timeout = None, checks = None,
    progress = None,
))]
pub fn check_integrity(
    connection: &Bound<'_, PyAny>,
    password: Option<String>,
    databases: Option<Vec<String>>,
    quick: bool,
    statement_timeout: Option<Bound<'_, PyAny>>,
    checks: Option<Vec<SqlCheckArgument>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Operation> {
    let settings = connection::settings(connection, password)?;
    let limit = statement_timeout.map_or(Ok(Duration::from_secs(3600)), |limit| duration(&limit))?;
    let options = ops::IntegrityOptions::default()
        .with_databases(databases.unwrap_or_default())
        .with_quick(quick)
        .with_statement_timeout(limit)
        .with_checks(checks.unwrap_or_default().into_iter().map(Into::into).collect());
    Ok(Operation::new(progress, Cleanups::default(), move |context| async move {
        let report = ops::check_integrity(&settings, &options, &*context.progress).await?;
        Ok(Outcome::report(&report))
    }))
}
