//! Drills: done, written down, listed; which is due, and what they predict.

use std::collections::BTreeMap;

use erpgo_dr_core::drill::{Rehearsal, run_drill};
use erpgo_dr_core::ops::drill::{
    DrillOptions, HandDrill, Objectives, Scenario, drills_due, forecast, quarterly_calendar, record_drill,
};
use erpgo_dr_core::repository::{DrillRecord, Drills, RepositoryError};
use erpgo_dr_core::runbook::NoObserver;
use pyo3::prelude::*;
use serde_json::{Value, json};

use super::restores::restore_tests;
use super::runbooks::read;
use super::{Repository, optional_moment};
use crate::arguments::{PathArgument, SqlCheckArgument, duration, parsed};
use crate::errors::{invalid, runbook_exception};
use crate::operation::Operation;
use crate::report::Outcome;

#[pymethods]
impl Repository {
    /// Rehearses a recovery on throwaway servers and writes down what it showed, which is returned as a dict: "restore", "full-recovery",
    /// "data-corruption", and with a runbook "database-failure", "region-failover", "application-failure" and "security-breach".
    ///
    /// `runbook` is the text of one of your own, which replaces the one that comes with the package, `values` are texts of its
    /// variables that the drill does not know, and `with_programs` has its programs run, without a network.
    /// `rto` and `rpo` are what recovery must reach, in seconds or as timedelta; without them, what is usual. `restore_command` is
    /// PostgreSQL's, which fetches the archived log, and `environment` what it finds in its own. All else is as of `restore_test`.
    /// `passed`, `rto_met` and `rpo_met` say how it is scored.
    ///
    /// Raises NotFoundError where there is nothing to restore, RefusedError for a runbook that would leave the drill.
    #[pyo3(signature = (
        scenario, *, scratch, run_as = None, jobs = 1, checks = None, roles = None, restore_command = None,
        environment = None, rto = None, rpo = None, runbook = None, values = None, with_programs = false,
        operator_name = "python", progress = None,
    ))]
    fn run_drill(
        &self,
        py: Python<'_>,
        scenario: &str,
        scratch: PathArgument,
        run_as: Option<Bound<'_, PyAny>>,
        jobs: usize,
        checks: Option<Vec<SqlCheckArgument>>,
        roles: Option<Vec<String>>,
        restore_command: Option<String>,
        environment: Option<BTreeMap<String, String>>,
        rto: Option<Bound<'_, PyAny>>,
        rpo: Option<Bound<'_, PyAny>>,
        runbook: Option<&str>,
        values: Option<BTreeMap<String, String>>,
        with_programs: bool,
        operator_name: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Operation> {
        let scenario: Scenario = parsed(py, scenario)?;
        if runbook.is_some() && scenario.runbook().is_none() {
            return Err(invalid(py, &format!("a drill of {scenario} has no runbook")));
        }
        let runbook = runbook.map(read).transpose().map_err(|error| runbook_exception(py, &error))?;
        let rehearsal = Rehearsal::default()
            .with_runbook(runbook)
            .with_values(values.into_iter().flatten().collect())
            .with_programs(with_programs);
        let test = restore_tests(self.share().programs.clone(), scratch, run_as, jobs, checks, roles)?;
        let mut options =
            DrillOptions::new(scenario, operator_name, test).with_objectives(objectives(scenario, rto, rpo)?);
        if let Some(restore_command) = restore_command {
            let variables = environment.into_iter().flatten().map(|(name, value)| (name.into(), value.into()));
            options = options.with_archive(restore_command, variables.collect());
        }
        Ok(self.operation(progress, move |shared, context| async move {
            let repository = shared.read().await;
            let drill = run_drill(&repository, scenario, &options, &rehearsal, &NoObserver, &*context.progress);
            let record = drill.await?;
            Ok(Outcome::Plain(scored(&record)))
        }))
    }

    /// Writes down a drill that people did. `findings` are what went wrong: then it has failed.
    #[pyo3(signature = (
        scenario, *, rto_took = None, rpo_lost = None, findings = None, note = None, at = None, rto = None, rpo = None,
        operator_name = "python",
    ))]
    fn record_drill(
        &self,
        py: Python<'_>,
        scenario: &str,
        rto_took: Option<Bound<'_, PyAny>>,
        rpo_lost: Option<Bound<'_, PyAny>>,
        findings: Option<Vec<String>>,
        note: Option<String>,
        at: Option<Bound<'_, PyAny>>,
        rto: Option<Bound<'_, PyAny>>,
        rpo: Option<Bound<'_, PyAny>>,
        operator_name: &str,
    ) -> PyResult<Operation> {
        let scenario: Scenario = parsed(py, scenario)?;
        let objectives = objectives(scenario, rto, rpo)?;
        let drill = HandDrill::new(operator_name)
            .with_moment(optional_moment(at)?)
            .with_measured(
                rto_took.map(|took| duration(&took)).transpose()?,
                rpo_lost.map(|lost| duration(&lost)).transpose()?,
            )
            .with_findings(findings.unwrap_or_default())
            .with_note(note);
        Ok(self.operation(None, move |shared, _| async move {
            let record = record_drill(&*shared.read().await, scenario, objectives, &drill).await?;
            Ok(Outcome::Plain(scored(&record)))
        }))
    }

    /// Lists what drills showed, the oldest first, as dicts.
    ///
    /// Raises IntegrityError for records that were altered.
    fn drills(&self) -> Operation {
        self.operation(None, |shared, _| async move {
            Ok(Outcome::Plain(trusted(shared.read().await.drills().await?)?.iter().map(scored).collect()))
        })
    }

    /// Says which drill of the usual plan is due when, as dicts; `state` is "done", "due" or "overdue".
    fn drills_due(&self) -> Operation {
        self.operation(None, |shared, _| async move {
            let repository = shared.read().await;
            let (now, since) = (repository.environment().clock.now(), repository.settings().created);
            let due = drills_due(now, since, &quarterly_calendar(), &trusted(repository.drills().await?)?);
            Ok(Outcome::Plain(serde_json::to_value(due).expect("reports are plain JSON")))
        })
    }

    /// Predicts how long recovery would take now, by what restores took, as a dict; None where none was measured.
    fn forecast(&self) -> Operation {
        self.operation(None, |shared, _| async move {
            let repository = shared.read().await;
            let catalogue = repository.catalogue().await?;
            let predicted = forecast(&repository, &catalogue, &trusted(repository.drills().await?)?).await?;
            Ok(Outcome::Plain(serde_json::to_value(predicted).expect("reports are plain JSON")))
        })
    }
}

/// Takes records only where none was altered.
fn trusted(drills: Drills) -> Result<Vec<DrillRecord>, RepositoryError> {
    match drills.problems.into_iter().next() {
        None => Ok(drills.records),
        Some(problem) => Err(RepositoryError::Damaged { record: problem.subject, reason: problem.problem }),
    }
}

fn objectives(
    scenario: Scenario,
    rto: Option<Bound<'_, PyAny>>,
    rpo: Option<Bound<'_, PyAny>>,
) -> PyResult<Objectives> {
    let usual = scenario.objectives();
    let given = |value: Option<Bound<'_, PyAny>>| value.map(|value| duration(&value)).transpose();
    Ok(Objectives::new(given(rto)?.or(usual.rto), given(rpo)?.or(usual.rpo)))
}

/// A record, and how it is scored.
fn scored(record: &DrillRecord) -> Value {
    let mut value = serde_json::to_value(record).expect("records are plain JSON");
    value["passed"] = json!(record.passed());
    value["rto_met"] = json!(record.rto_met());
    value["rpo_met"] = json!(record.rpo_met());
    value
}
