//! What a drill is worth: the report of its run, and what is there afterwards, beside what was to be reached.

use super::blow::Blow;
use super::stage::{APPLICATION, OTHER_REGION, Stage};
use crate::causes::chain;
use crate::ops::drill::Scenario;
use crate::postgres::ConnectionSettings;
use crate::repository::{DrillRecord, DrillStep};
use crate::runbook::{Counts, IncidentReport, RunState, StepReport, StepState};
use crate::topology::{Liveness, liveness};

/// How long a server may take to answer.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(3);
/// What is kept of what a step said, in characters.
const KEPT: usize = 300;

/// Writes down what a run took, and what is wrong after it.
pub(super) async fn score(
    record: &mut DrillRecord,
    scenario: Scenario,
    stage: &Stage,
    blow: &Blow,
    report: &IncidentReport,
) {
    record.rto_seconds = report.rto_seconds;
    record.steps = report.steps.iter().map(step).collect();
    if report.ending != RunState::Completed {
        let at = report.stands_at.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
        let stood = report.steps.iter().find(|step| Some(&step.id) == report.stands_at.as_ref());
        let why = stood.and_then(reason).map(|why| format!(": {why}")).unwrap_or_default();
        record.findings.push(format!("the runbook stopped{at}{why}"));
    } else if report.rto_seconds.is_none() && report.steps.iter().any(|step| step.counts == Some(Counts::Rto)) {
        record.findings.push("no step was done that counts toward the recovery time".to_owned());
    }
    let primaries = primaries(stage).await;
    match primaries.as_slice() {
        [primary] => match blow.testimony.ask(primary).await {
            Ok(remains) => {
                record.rpo_seconds = Some(remains.lost_seconds);
                if remains.altered > 0 {
                    record.findings.push(format!("{} rows are missing that were there before", remains.altered));
                }
            }
            Err(error) => record.findings.push(format!("what is there cannot be asked: {}", chain(&error))),
        },
        [] => record.findings.push("no server takes writes afterwards".to_owned()),
        _ => record.findings.push("more than one server takes writes afterwards".to_owned()),
    }
    let application = if scenario == Scenario::RegionFailover { OTHER_REGION } else { APPLICATION };
    if !stage.applications.is_well(application).await {
        record.findings.push("the application is not well afterwards".to_owned());
    }
}

async fn primaries(stage: &Stage) -> Vec<ConnectionSettings> {
    let mut found = Vec::new();
    for settings in stage.servers() {
        if liveness(&settings, ANSWER).await == Liveness::Primary {
            found.push(settings);
        }
    }
    found
}

fn step(step: &StepReport) -> DrillStep {
    let reason = if step.outcome == StepState::Succeeded { None } else { reason(step) };
    DrillStep::new(step.id.to_string(), step.title.clone(), step.outcome.as_str().to_owned(), step.seconds, reason)
}

/// Returns the end of what a step said, or why it was not done.
fn reason(step: &StepReport) -> Option<String> {
    let said = step.attempts.last().map(|attempt| attempt.output.trim().to_owned());
    let text = step.skipped.clone().or(said).filter(|text| !text.is_empty())?;
    let from = text.char_indices().rev().nth(KEPT - 1).map_or(0, |(at, _)| at);
    Some(text[from..].to_owned())
}
