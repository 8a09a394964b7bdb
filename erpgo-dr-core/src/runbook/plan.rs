//! What a run would do, said without doing any of it.

use serde::Serialize;

use super::actions::View;
use super::model::{Counts, Objectives, OnFailure, Runbook, RunbookName, Step, StepId};
use super::span::Span;
use super::values::Values;

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunbookPlan {
    /// The runbook.
    pub runbook: RunbookName,
    /// What it is called among people.
    pub title: String,
    /// What recovery is to reach.
    pub objectives: Objectives,
    /// Variables that need a value, and have none yet.
    pub missing: Vec<String>,
    /// The steps, in their order.
    pub steps: Vec<PlannedStep>,
}

/// What a step would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PlannedStep {
    /// The step.
    pub id: StepId,
    /// What it is called among people.
    pub title: String,
    /// The kind of its action.
    pub action: String,
    /// What it would do, with the values that are known, and without secrets.
    pub doing: String,
    /// When it would be done: all of these hold.
    pub when: Vec<String>,
    /// What would take it back.
    pub undo: Option<String>,
    /// Whether it can be taken back or changes nothing that would have to be.
    pub reversible: bool,
    /// Whether the operator would be asked first.
    pub asks: bool,
    /// How long an attempt may take; `None` while people are waited for.
    pub timeout: Option<Span>,
    /// How often it would be tried again.
    pub retries: u32,
    /// What would happen if it failed.
    pub on_failure: OnFailure,
    /// The objective that it counts toward.
    pub counts: Option<Counts>,
}

/// Says what a run with these values would do.
pub fn plan(runbook: &Runbook, values: &Values) -> RunbookPlan {
    RunbookPlan {
        runbook: runbook.name.clone(),
        title: runbook.title.clone(),
        objectives: runbook.objectives,
        missing: runbook.unset(values).map(str::to_owned).collect(),
        steps: runbook.steps.iter().map(|step| planned(runbook, values, step)).collect(),
    }
}

fn planned(runbook: &Runbook, values: &Values, step: &Step) -> PlannedStep {
    let view = View { runbook, values, timeout: step.limit() };
    let undo = step.way_back();
    PlannedStep {
        id: step.id.clone(),
        title: step.title.clone(),
        action: step.action.kind().to_owned(),
        doing: step.action.act().describe(&view),
        when: step.when.iter().map(ToString::to_string).collect(),
        reversible: undo.is_some() || !step.action.leaves_traces(),
        undo: undo.map(|undo| undo.act().describe(&view)),
        asks: step.asks(),
        timeout: step.has_limit().then(|| step.limit()),
        retries: step.retries,
        on_failure: step.on_failure,
        counts: step.counts,
    }
}
