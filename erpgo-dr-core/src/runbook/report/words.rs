//! What a report says, in words: the same in every form of it.

use super::super::model::Counts;
use super::super::operator::Choice;
use super::{IncidentReport, QuestionReport, RunState, StepReport, StepState, ToldReport};
use crate::presentation::html::Figure;
use crate::presentation::units::{bytes, clock, length, moment};

/// Returns the figures of a report.
pub(super) fn figures(report: &IncidentReport) -> Vec<Figure> {
    let rto = report.objectives.rto.map(|span| length(span.duration().as_secs_f64()));
    let rpo = report.objectives.rpo.map(|span| length(span.duration().as_secs_f64()));
    let judged = |objective: Option<String>, met: Option<bool>| match (objective, met) {
        (None, _) => "no objective".to_owned(),
        (Some(objective), Some(true)) => format!("objective {objective}: met"),
        (Some(objective), Some(false)) => format!("objective {objective}: missed"),
        (Some(objective), None) => format!("objective {objective}: not known"),
    };
    vec![
        Figure {
            name: "Recovery time",
            value: report.rto_seconds.map_or_else(|| "not reached".to_owned(), length),
            beside: judged(rto, report.rto_met),
            met: report.rto_met,
        },
        Figure {
            name: "Data loss",
            value: loss(report.rpo_seconds, report.rpo_bytes),
            beside: judged(rpo, report.rpo_met),
            met: report.rpo_met,
        },
        Figure {
            name: "Steps done",
            value: format!(
                "{} of {}",
                report.steps.iter().filter(|step| step.outcome.is_done()).count(),
                report.steps.len()
            ),
            beside: left_over(report),
            met: None,
        },
    ]
}

fn loss(seconds: Option<f64>, count: Option<u64>) -> String {
    match (seconds, count) {
        (_, Some(0)) if seconds.is_none_or(|seconds| seconds == 0.0) => "none".to_owned(),
        (Some(seconds), Some(count)) => format!("{}, {}", length(seconds), bytes(count)),
        (Some(0.0), None) => "none".to_owned(),
        (Some(seconds), None) => length(seconds),
        (None, Some(count)) => bytes(count),
        (None, None) => "not measured".to_owned(),
    }
}

fn left_over(report: &IncidentReport) -> String {
    let states = [StepState::Skipped, StepState::Failed, StepState::CutOff, StepState::Pending];
    let counted = states.map(|state| (report.steps.iter().filter(|step| step.outcome == state).count(), state));
    let parts =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, state)| format!("{count} {}", word(*state)));
    let parts = parts.collect::<Vec<_>>().join(", ");
    if parts.is_empty() { "none left".to_owned() } else { parts }
}

/// Returns what is to be known of a run beside its figures: names and values.
pub(super) fn facts(report: &IncidentReport) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Run", report.run.to_string()),
        ("Runbook", report.runbook.to_string()),
        ("Incident", moment(report.incident)),
        ("Begun", format!("{} by {}", moment(report.began), report.begun_by)),
    ];
    for continuation in &report.continued {
        let name = if continuation.undo { "Undo begun" } else { "Resumed" };
        facts.push((name, format!("{} by {}", moment(continuation.at), continuation.by)));
    }
    facts.extend(report.told.iter().map(|told| ("Told", self::told(told))));
    facts.push(match report.ended {
        Some(ended) => ("Ended", moment(ended)),
        None => ("Last entry", moment(report.last_entry_at)),
    });
    facts
}

fn told(told: &ToldReport) -> String {
    let what = match told.level {
        Some(level) => format!("level {level}"),
        None => "how it ended".to_owned(),
    };
    let (at, contact) = (moment(told.at), &told.contact);
    match &told.failed {
        None => format!("{at} {contact} ({what})"),
        Some(reason) => format!("{at} {contact} could not be told ({what}): {reason}"),
    }
}

/// Returns how a run stands, in a sentence.
pub(super) fn standing(report: &IncidentReport) -> String {
    let at = report.stands_at.as_ref().map(|step| format!(" at the step {step}")).unwrap_or_default();
    match report.ending {
        RunState::Completed => "Completed.".to_owned(),
        RunState::Stopped => format!("Stopped{at}: it can be resumed or undone."),
        RunState::Undone => "Undone: what it did was taken back.".to_owned(),
        RunState::UndoStopped => format!("Taking it back stopped{at}."),
        RunState::CutOff => "Not ended: it was cut off, or it is still going on.".to_owned(),
    }
}

/// Returns the word for how a step came out.
pub(super) fn word(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "pending",
        StepState::CutOff => "cut off",
        StepState::Succeeded => "succeeded",
        StepState::FoundDone => "already done",
        StepState::Failed => "failed",
        StepState::Skipped => "skipped",
    }
}

/// Returns what a step counts toward.
pub(super) fn counts(step: &StepReport) -> Option<&'static str> {
    step.counts.map(|counts| match counts {
        Counts::Rto => "counts toward the recovery time",
        Counts::Rpo => "counts toward the data loss",
    })
}

/// Returns how long a step took.
pub(super) fn taken(step: &StepReport) -> String {
    step.seconds.map_or_else(|| "-".to_owned(), length)
}

/// Returns what came of a question, in a sentence.
pub(super) fn answer(question: &QuestionReport) -> String {
    let (Some(choice), Some(by)) = (question.choice, &question.by) else {
        return "It was not answered.".to_owned();
    };
    let said = match choice {
        Choice::Yes => "yes",
        Choice::No => "no",
        Choice::Again => "to do it again",
    };
    let note = question.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    let at = question.answered.map(|at| format!(" at {}", clock(at))).unwrap_or_default();
    format!("{by} said {said}{at}{note}")
}

/// Returns the line that names the state of the journal.
pub(super) fn source(report: &IncidentReport) -> String {
    format!(
        "Made from {} entries of the journal; the hash of the last one is {}.",
        report.entries,
        report.last_entry.to_hex()
    )
}
