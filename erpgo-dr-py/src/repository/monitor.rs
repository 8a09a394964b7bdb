//! What is known of a repository and its server, as facts, as metrics or as a page.

use erpgo_dr_core::monitor::{MonitorOptions, observe};
use erpgo_dr_core::ops::drill::Objectives;
use pyo3::prelude::*;

use super::Repository;
use crate::arguments::{PathArgument, choice, duration};
use crate::connection;
use crate::operation::Operation;
use crate::report::Outcome;

#[pymethods]
impl Repository {
    /// Asks for all that is known, once: backups, the moments that can be had (`windows`), the archive of the log, objectives and whether
    /// they are met, drills, incidents, keys. What could not be asked is in `problems`.
    ///
    /// Returns a dict, or a text: with `form` "metrics" in the format of Prometheus, with "html" a page that fetches nothing.
    /// `connection` is the server that is backed up; `rto` and `rpo` are what recovery must reach, and `max_age` how old the newest
    /// proven backup may be, in seconds or as timedelta; of `folders` the free space is told.
    ///
    /// Raises UnavailableError for a place that cannot be reached.
    #[pyo3(signature = (
        connection = None, *, password = None, max_age = None, rto = None, rpo = None, folders = None, form = "dict",
    ))]
    fn observe(
        &self,
        py: Python<'_>,
        connection: Option<Bound<'_, PyAny>>,
        password: Option<String>,
        max_age: Option<Bound<'_, PyAny>>,
        rto: Option<Bound<'_, PyAny>>,
        rpo: Option<Bound<'_, PyAny>>,
        folders: Option<Vec<PathArgument>>,
        form: &str,
    ) -> PyResult<Operation> {
        let span = |given: Option<Bound<'_, PyAny>>| given.map(|given| duration(&given)).transpose();
        let server = connection.map(|connection| connection::settings(&connection, password)).transpose()?;
        let options = MonitorOptions::default()
            .with_server(server)
            .with_places(self.share().replicated.clone())
            .with_max_age(span(max_age)?)
            .with_objectives(Objectives::new(span(rto)?, span(rpo)?))
            .with_folders(folders.unwrap_or_default());
        let form = choice(py, "form", form, &[("dict", 0), ("metrics", 1), ("html", 2)])?;
        Ok(self.operation(None, move |shared, _| async move {
            let facts = observe(&*shared.read().await, &options).await?;
            Ok(match form {
                1 => Outcome::Text(facts.to_openmetrics()),
                2 => Outcome::Text(facts.to_html()),
                _ => Outcome::Plain(serde_json::to_value(facts).expect("facts are plain JSON")),
            })
        }))
    }
}
