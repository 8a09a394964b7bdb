//! How long recovery took, and what it lost, beside what was to be reached.

use super::super::actions::Loss;
use super::super::model::Counts;
use super::{IncidentReport, StepReport, StepState, seconds};

/// Fills the figures of a report from its steps.
pub(super) fn measure(report: &mut IncidentReport) {
    report.rto_seconds = recovered_at(report).map(|ended| seconds(report.incident, ended).max(0.0));
    report.rto_met = report.objectives.rto.and_then(|rto| {
        let (objective, so_far) = (rto.duration().as_secs_f64(), seconds(report.incident, report.last_entry_at));
        match report.rto_seconds {
            Some(taken) => Some(taken <= objective),
            None => (so_far > objective).then_some(false),
        }
    });
    let losses: Vec<Loss> = counting(report, Counts::Rpo).filter_map(|step| step.loss).collect();
    let lost: Vec<Option<f64>> = losses.iter().map(|loss| lost_seconds(report, *loss)).collect();
    report.rpo_seconds = lost.iter().flatten().copied().reduce(f64::max);
    report.rpo_bytes = losses.iter().filter_map(|loss| loss.bytes).max();
    report.rpo_met = report.objectives.rpo.and_then(|rpo| {
        let objective = rpo.duration().as_secs_f64();
        match report.rpo_seconds {
            Some(most) if most > objective => Some(false),
            Some(_) if lost.iter().all(Option::is_some) => Some(true),
            _ => None,
        }
    });
}

/// Returns when the last step that counts toward the recovery time, and that was to be done, was done.
///
/// An earlier one may have failed: a later one did what it could not.
fn recovered_at(report: &IncidentReport) -> Option<chrono::DateTime<chrono::Utc>> {
    let mut due = counting(report, Counts::Rto).filter(|step| step.outcome != StepState::Skipped);
    due.next_back().filter(|step| step.outcome.is_done()).and_then(|step| step.ended)
}

fn counting(report: &IncidentReport, counts: Counts) -> impl DoubleEndedIterator<Item = &StepReport> {
    report.steps.iter().filter(move |step| step.counts == Some(counts))
}

/// Returns the seconds that are lost. Where no byte is missing, nothing is, however old the newest commit.
fn lost_seconds(report: &IncidentReport, loss: Loss) -> Option<f64> {
    match loss {
        Loss { bytes: Some(0), .. } => Some(0.0),
        Loss { recovered_to, .. } => recovered_to.map(|newest| seconds(newest, report.incident).max(0.0)),
    }
}
