//! Runs of runbooks: begun, resumed, taken back, and what their journals say.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::sync::Arc;

use async_trait::async_trait;
use erpgo_dr_core::runbook::{
    Answer, Beginning, Choice, Escalation, NoObserver, Operator, Question, RunOptions, Runbook, RunbookError, Standing,
    Surroundings, Unattended, Value, Values, list_runs, plan, read_journal, report, resume_run, run_runbook,
    runbook_of_run, shipped, undo_run,
};
use erpgo_dr_core::types::RunId;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use super::escalation::{Levels, escalation};
use super::{Repository, Shared, optional_moment};
use crate::arguments::{choice, parsed};
use crate::errors::{Failure, invalid, runbook_exception};
use crate::host::Context;
use crate::operation::Operation;
use crate::report::Outcome;

/// How the questions of a run are answered.
enum Answers {
    /// All confirmations with yes, or everything with no.
    Beforehand(bool),
    /// By a callable.
    Callable(Py<PyAny>),
}

/// What the three ways of going through a runbook share.
struct Going {
    values: HashMap<String, String>,
    answers: Answers,
    name: String,
    environment: Vec<(OsString, OsString)>,
    restore_command: Option<String>,
    escalation: Option<Arc<Escalation>>,
}

#[pymethods]
impl Repository {
    /// Runs a runbook: the text of one, or the name of one that comes with the package.
    ///
    /// `values` are texts of its variables. `operator` answers its questions: a callable that takes a dict (`step`, `kind`, `text`)
    /// and returns "yes", "no" or "again", or a pair of that and a note; True answers every confirmation that asks for no word with yes, and False,
    /// the default, everything with no. `operator_name` is who that is, for the journal. `since` is when the incident began, from
    /// which the recovery time counts. Programs get `environment` and nothing else; `restore_command` is how a restored cluster
    /// fetches its log. `escalation` is who is told when it takes long: pairs of seconds after the incident and a dict of callables by
    /// the names of contacts, `[(0, {"oncall": page}), (900, {"dba": mail})]`. Each takes the message, in a thread of its own; one that
    /// raises was not told, which the journal has. That a step failed is in the result's `ending`. A run that is stopped or whose process
    /// ends is resumed by `resume_run`.
    ///
    /// Raises InvalidError for a runbook that cannot work or values that are missing; of the repository.
    #[pyo3(signature = (
        runbook, *, values = None, operator = None, operator_name = "python", since = None, drill = false,
        environment = None, restore_command = None, escalation = None, progress = None,
    ))]
    fn run_runbook(
        &self,
        py: Python<'_>,
        runbook: &str,
        values: Option<HashMap<String, String>>,
        operator: Option<Bound<'_, PyAny>>,
        operator_name: &str,
        since: Option<Bound<'_, PyAny>>,
        drill: bool,
        environment: Option<BTreeMap<String, String>>,
        restore_command: Option<String>,
        escalation: Option<Levels>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let runbook = read(runbook).map_err(|error| runbook_exception(py, &error))?;
        let options = RunOptions::default().with_incident(optional_moment(since)?).with_drill(drill);
        let going =
            Going::new(values, operator, operator_name, environment, restore_command)?.telling(py, escalation)?;
        Ok(self.operation(progress, move |shared, context| async move {
            let given = going.values.iter().map(|(name, text)| (name.as_str(), text.as_str()));
            let values = runbook.values(given)?;
            let surroundings = going.surroundings(&shared, context).await;
            let standing = run_runbook(&runbook, values, &surroundings, &options, &NoObserver).await?;
            Ok(stands(&standing))
        }))
    }

    /// Goes on with a run that stopped or was cut off. `values` are those that the journal does not have: secrets, and servers with
    /// passwords. All else is as of `run_runbook`.
    ///
    /// Raises NotFoundError for a run that is none, RefusedError for one that has ended, BusyError where another process goes
    /// on with it, IntegrityError for a journal that was altered.
    #[pyo3(signature = (
        run, *, values = None, operator = None, operator_name = "python", environment = None, restore_command = None,
        escalation = None, progress = None,
    ))]
    fn resume_run(
        &self,
        py: Python<'_>,
        run: &str,
        values: Option<HashMap<String, String>>,
        operator: Option<Bound<'_, PyAny>>,
        operator_name: &str,
        environment: Option<BTreeMap<String, String>>,
        restore_command: Option<String>,
        escalation: Option<Levels>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let run: RunId = parsed(py, run)?;
        let going =
            Going::new(values, operator, operator_name, environment, restore_command)?.telling(py, escalation)?;
        Ok(self.operation(progress, move |shared, context| async move {
            let surroundings = going.surroundings(&shared, context).await;
            let values = going.values_of_run(&surroundings, &run).await?;
            Ok(stands(&resume_run(&run, &values, &surroundings, &NoObserver).await?))
        }))
    }

    /// Takes back what a run has done, the last step first. All else is as of `resume_run`.
    ///
    /// Raises as `resume_run`.
    #[pyo3(signature = (
        run, *, values = None, operator = None, operator_name = "python", environment = None, restore_command = None,
        progress = None,
    ))]
    fn undo_run(
        &self,
        py: Python<'_>,
        run: &str,
        values: Option<HashMap<String, String>>,
        operator: Option<Bound<'_, PyAny>>,
        operator_name: &str,
        environment: Option<BTreeMap<String, String>>,
        restore_command: Option<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let run: RunId = parsed(py, run)?;
        let going = Going::new(values, operator, operator_name, environment, restore_command)?;
        Ok(self.operation(progress, move |shared, context| async move {
            let surroundings = going.surroundings(&shared, context).await;
            let values = going.values_of_run(&surroundings, &run).await?;
            Ok(stands(&undo_run(&run, &values, &surroundings, &NoObserver).await?))
        }))
    }

    /// Lists the identifiers of runs, the oldest first.
    fn runs(&self) -> Operation {
        self.operation(None, |shared, _| async move {
            let runs = list_runs(&*shared.read().await).await?;
            Ok(Outcome::Plain(runs.iter().map(ToString::to_string).collect()))
        })
    }

    /// Returns the journal of a run, a dict for each entry, after checking that nothing of it was altered.
    ///
    /// Raises NotFoundError for a run that is none, IntegrityError for a journal that was altered.
    fn run_journal(&self, py: Python<'_>, run: &str) -> PyResult<Operation> {
        let run: RunId = parsed(py, run)?;
        Ok(self.operation(None, move |shared, _| async move {
            let entries = read_journal(&*shared.read().await, &run).await?;
            Ok(Outcome::Plain(serde_json::to_value(entries).expect("entries are plain JSON")))
        }))
    }

    /// Reports an incident from the journal of its run: as a dict, or as a text, with `form` "markdown" or "html".
    ///
    /// Raises as `run_journal`.
    #[pyo3(signature = (run, *, form = "dict"))]
    fn run_report(&self, py: Python<'_>, run: &str, form: &str) -> PyResult<Operation> {
        let run: RunId = parsed(py, run)?;
        let form = choice(py, "form", form, &[("dict", 0), ("markdown", 1), ("html", 2)])?;
        Ok(self.operation(None, move |shared, _| async move {
            let incident = report(&*shared.read().await, &run).await?;
            Ok(match form {
                1 => Outcome::Text(incident.to_markdown()),
                2 => Outcome::Text(incident.to_html()),
                _ => Outcome::Plain(serde_json::to_value(incident).expect("a report is plain JSON")),
            })
        }))
    }
}

/// Returns the texts of the runbooks that come with the package, by their names.
#[pyfunction]
pub(crate) fn runbooks() -> BTreeMap<&'static str, &'static str> {
    shipped().collect()
}

/// Returns the faults of a runbook, in words; none means that it can work.
///
/// Raises InvalidError for a text that is no runbook.
#[pyfunction]
pub(crate) fn check_runbook(py: Python<'_>, runbook: &str) -> PyResult<Vec<String>> {
    let runbook = read(runbook).map_err(|error| runbook_exception(py, &error))?;
    match runbook.check() {
        Ok(()) => Ok(Vec::new()),
        Err(RunbookError::Faulty { faults, .. }) => Ok(faults),
        Err(error) => Err(runbook_exception(py, &error)),
    }
}

/// Says what a run of a runbook would do, and does nothing. Values may be missing.
///
/// Raises InvalidError for a text that is no runbook, and for values that are none.
#[pyfunction]
#[pyo3(signature = (runbook, *, values = None))]
pub(crate) fn plan_runbook(
    py: Python<'_>,
    runbook: &str,
    values: Option<HashMap<String, String>>,
) -> PyResult<Py<PyAny>> {
    let planned = || {
        let runbook = read(runbook)?;
        runbook.check()?;
        let given = values.iter().flatten().map(|(name, text)| (name.as_str(), text.as_str()));
        Ok(plan(&runbook, &runbook.some_values(given)?))
    };
    let plan = planned().map_err(|error| runbook_exception(py, &error))?;
    Outcome::report(&plan).into_python(py)
}

/// Reads a runbook: a text, or the name of one that comes with the package.
pub(super) fn read(text: &str) -> Result<Runbook, RunbookError> {
    let named = shipped().find(|(name, _)| *name == text).map(|(_, text)| text);
    Runbook::from_toml(named.unwrap_or(text))
}

fn stands(standing: &Standing) -> Outcome {
    Outcome::report(standing)
}

impl Going {
    fn new(
        values: Option<HashMap<String, String>>,
        operator: Option<Bound<'_, PyAny>>,
        name: &str,
        environment: Option<BTreeMap<String, String>>,
        restore_command: Option<String>,
    ) -> PyResult<Self> {
        let answers = match operator {
            None => Answers::Beforehand(false),
            Some(operator) if operator.is_instance_of::<PyBool>() => Answers::Beforehand(operator.extract()?),
            Some(operator) if operator.is_callable() => Answers::Callable(operator.unbind()),
            Some(operator) => return Err(invalid(operator.py(), &"operator is neither a callable nor a bool")),
        };
        let environment = environment.into_iter().flatten().map(|(name, value)| (name.into(), value.into())).collect();
        let (values, name, escalation) = (values.unwrap_or_default(), name.to_owned(), None);
        Ok(Self { values, answers, name, environment, restore_command, escalation })
    }

    /// Sets who is told when the run takes long.
    fn telling(mut self, py: Python<'_>, levels: Option<Levels>) -> PyResult<Self> {
        self.escalation = escalation(py, levels)?;
        Ok(self)
    }

    async fn surroundings(&self, shared: &Arc<Shared>, context: Context) -> Surroundings {
        let operator: Arc<dyn Operator> = match &self.answers {
            Answers::Beforehand(true) => Arc::new(Unattended::allowing(&self.name)),
            Answers::Beforehand(false) => Arc::new(Unattended::refusing(&self.name)),
            Answers::Callable(callable) => {
                let ask = Python::attach(|py| callable.clone_ref(py));
                Arc::new(Asked { name: self.name.clone(), ask: Arc::new(ask), context: context.clone() })
            }
        };
        let progress = Arc::clone(&context.progress);
        Surroundings::new(Arc::new(shared.read().await.clone()), operator)
            .with_programs(shared.programs.clone())
            .with_environment(self.environment.clone())
            .with_restore_command(self.restore_command.clone())
            .with_progress(progress)
            .with_escalation(self.escalation.clone())
    }

    /// Reads the values that a run needs to go on.
    async fn values_of_run(&self, surroundings: &Surroundings, run: &RunId) -> Result<Values, RunbookError> {
        let (runbook, _): (Runbook, Beginning) = runbook_of_run(&surroundings.repository, run).await?;
        let mut values = Values::default();
        for (name, text) in &self.values {
            let unknown = || RunbookError::UnknownVariable { name: name.clone() };
            let value: Value = runbook.variables.get(name).ok_or_else(unknown)?.kind.parse(name, text)?;
            values.set(name, value);
        }
        Ok(values)
    }
}

/// An operator that is a callable of Python.
struct Asked {
    name: String,
    ask: Arc<Py<PyAny>>,
    context: Context,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Operator for Asked {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn ask(&self, question: &Question) -> Answer {
        let (ask, question) = (Arc::clone(&self.ask), serde_json::to_value(question).unwrap_or_default());
        let answered = self.context.call(move |py| {
            let question = Outcome::Plain(question).into_python(py)?;
            let answer = ask.call1(py, (question,))?.into_bound(py);
            let (word, note) = match answer.extract::<(String, String)>() {
                Ok((word, note)) => (word, Some(note)),
                Err(_) => (answer.extract::<String>()?, None),
            };
            let choice = match word.as_str() {
                "yes" => Choice::Yes,
                "no" => Choice::No,
                "again" => Choice::Again,
                other => return Err(invalid(py, &format!("the answer {other:?} is none of yes, no, again"))),
            };
            Ok((choice, note))
        });
        match answered.await {
            Ok((choice, note)) => Answer::new(choice, &self.name, note),
            // The exception ends the operation; until then nothing is allowed.
            Err(_) => Answer::new(Choice::No, &self.name, Some("the operator raised an exception".to_owned())),
        }
    }
}

impl From<RunbookError> for Failure {
    fn from(error: RunbookError) -> Self {
        Self::Runbook(Box::new(error))
    }
}
