//! `runbook plan`: what a run would do.

use clap::Args;
use erpgo_dr_core::runbook::{OnFailure, PlannedStep, RunbookPlan, plan};

use super::find::find;
use super::values::ValueOptions;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Say what a run would do, step by step, and do nothing
#[derive(Debug, Args)]
pub(super) struct RunbookPlanArgs {
    /// The runbook: its name, or a file
    #[arg(value_name = "RUNBOOK")]
    runbook: String,
    #[command(flatten)]
    values: ValueOptions,
}

impl RunbookPlanArgs {
    pub(super) fn run(self, context: &Context) -> Result<Report, CliError> {
        planned(context, &self.runbook, &self.values)
    }
}

/// Says what a run of a runbook with these values would do.
pub(super) fn planned(context: &Context, name: &str, options: &ValueOptions) -> Result<Report, CliError> {
    let runbook = find(context, name)?.runbook;
    runbook.check()?;
    let values = options.values(context, &runbook)?;
    let plan = plan(&runbook, &values);
    let text = text(&plan);
    Report::new(&plan, text, true)
}

fn text(plan: &RunbookPlan) -> String {
    let objective = |name, span: Option<erpgo_dr_core::runbook::Span>| span.map(|span| format!("{name} {span}"));
    let objectives = [objective("RTO", plan.objectives.rto), objective("RPO", plan.objectives.rpo)];
    let objectives = objectives.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let mut text = format!("{}: {}{}\n", plan.runbook, plan.title, braced(&objectives));
    if !plan.missing.is_empty() {
        text.push_str(&format!("values are missing: {}\n", plan.missing.join(", ")));
    }
    for (number, step) in (1..).zip(&plan.steps) {
        text.push_str(&format!("\n{number:>3}. {} [{}]\n", step.title, step.id));
        let lines = [Some(step.doing.clone()), conditions(step), limits(step), way_back(step)];
        for line in lines.into_iter().flatten() {
            text.push_str(&format!("     {line}\n"));
        }
    }
    text
}

fn braced(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

fn conditions(step: &PlannedStep) -> Option<String> {
    (!step.when.is_empty()).then(|| format!("only if {}", step.when.join(", and ")))
}

fn limits(step: &PlannedStep) -> Option<String> {
    let mut parts = Vec::new();
    if step.asks {
        parts.push("asks first".to_owned());
    }
    if let Some(timeout) = step.timeout {
        parts.push(format!("{timeout} at most"));
    }
    if step.retries > 0 {
        parts.push(format!("tried again {} times", step.retries));
    }
    if step.on_failure == OnFailure::Continue {
        parts.push("the run goes on if it fails".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn way_back(step: &PlannedStep) -> Option<String> {
    match (&step.undo, step.reversible) {
        (Some(undo), _) => Some(format!("taken back by: {undo}")),
        (None, false) => Some("has no way back of its own".to_owned()),
        (None, true) => None,
    }
}
