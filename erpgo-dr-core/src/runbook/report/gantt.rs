//! The picture of a run: which step was done when, beside the objective. Positions are shares of the width, and texts keep their
//! size, so that it is read on a phone as on a wall.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::{AttemptReport, IncidentReport, StepReport, StepState, seconds, words};
use crate::presentation::escape::clean;
use crate::presentation::units::{clock, length, moment};

const ROW: usize = 34;
const HEAD: usize = 42;
/// Distances of the marks of the axis, in seconds.
const MARKS: [u32; 20] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];
const MOST_MARKS: f64 = 5.0;

/// The time that the picture shows.
struct Axis {
    from: DateTime<Utc>,
    seconds: f64,
    from_incident: bool,
}

impl Axis {
    /// From the incident on, unless what happened would then be a stroke at the edge; to the objective, unless that is far away.
    fn of(report: &IncidentReport) -> Self {
        let (began, last) = (report.began, report.last_entry_at);
        let (before, run) = (seconds(report.incident, began), seconds(began, last).max(1.0));
        let from_incident = (0.0..=3.0 * run).contains(&before);
        let from = if from_incident { report.incident } else { began };
        let shown = seconds(from, last).max(1.0);
        let to_objective = objective(report).map(|objective| seconds(from, objective));
        let farthest = to_objective.filter(|to| *to <= 2.0 * shown).unwrap_or(0.0).max(shown);
        Self { from, seconds: farthest * 1.02, from_incident }
    }

    /// Where a moment stands, in percent of the width.
    fn at(&self, moment: DateTime<Utc>) -> f64 {
        (seconds(self.from, moment) / self.seconds * 100.0).clamp(0.0, 100.0)
    }

    fn marks(&self) -> impl Iterator<Item = (f64, String)> {
        let fits = MARKS.into_iter().map(f64::from).find(|distance| self.seconds / distance <= MOST_MARKS);
        let distance = fits.unwrap_or(self.seconds / MOST_MARKS);
        let all = self.seconds;
        (0..).map(move |n| f64::from(n) * distance).take_while(move |at| *at < all * 0.97).map(move |at| {
            let name = if at == 0.0 { "0".to_owned() } else { format!("+{}", length(at)) };
            (at / all * 100.0, name)
        })
    }
}

fn objective(report: &IncidentReport) -> Option<DateTime<Utc>> {
    let rto = TimeDelta::from_std(report.objectives.rto?.duration()).ok()?;
    report.incident.checked_add_signed(rto)
}

/// Draws the steps that were begun.
pub(super) fn draw(report: &IncidentReport) -> Markup {
    let axis = Axis::of(report);
    let steps: Vec<&StepReport> = report.steps.iter().filter(|step| step.started.is_some()).collect();
    let bottom = HEAD + ROW * steps.len();
    let origin = if axis.from_incident { "the incident" } else { "the run began" };
    let percent = |share: f64| format!("{share:.2}%");
    html! {
        svg class="gantt" width="100%" height=(bottom + 22) role="img" aria-labelledby="gantt-title gantt-text" {
            title id="gantt-title" { "Steps over time" }
            desc id="gantt-text" { (in_words(report, &steps)) }
            text class="note" x="0" y="13" { "Time since " (origin) }
            @for (share, name) in axis.marks() {
                line class="mark" x1=(percent(share)) x2=(percent(share)) y1=(HEAD - 6) y2=(bottom) {}
                text class="note" x=(percent(share)) y=(bottom + 16) text-anchor=(anchor(share)) { (name) }
            }
            @for (index, step) in steps.iter().enumerate() {
                @let top = HEAD + ROW * index;
                text class="name" x="0" y=(top + 9) { (clean(step.id.as_str())) tspan class="note" dx="8" { (words::taken(step)) } }
                rect class="track" x="0" y=(top + 14) width="100%" height="12" rx="2" {}
                @for (from, to, class, what) in bars(step) {
                    @let left = axis.at(from);
                    @let wide = (axis.at(to) - left).max(0.5);
                    rect class=(format!("bar {class}")) x=(percent(left.min(100.0 - wide))) y=(top + 14) width=(percent(wide)) height="12" rx="2" {
                        title { (clean(step.id.as_str())) ", " (what) ": " (clock(from)) " to " (clock(to)) }
                    }
                }
            }
            @if let Some(moment) = objective(report).filter(|moment| (0.0..=axis.seconds).contains(&seconds(axis.from, *moment))) {
                @let share = axis.at(moment);
                line class="objective" x1=(percent(share)) x2=(percent(share)) y1=(HEAD - 16) y2=(bottom) {}
                text class="objective-name" x=(percent(share)) y=(HEAD - 20) dx=(if share > 50.0 { "4" } else { "-4" }) text-anchor=(if share > 50.0 { "end" } else { "start" }) {
                    "recovery time objective"
                }
            }
        }
    }
}

fn anchor(share: f64) -> &'static str {
    if share == 0.0 { "start" } else { "middle" }
}

/// What is drawn of a step: when people were waited for, and each attempt. One that was cut off ended nobody knows when.
fn bars(step: &StepReport) -> Vec<(DateTime<Utc>, DateTime<Utc>, &'static str, &'static str)> {
    let attempt = |attempt: &AttemptReport| {
        let to = attempt.ended.unwrap_or(attempt.began);
        (attempt.began, to, attempt.outcome.as_str(), words::word(attempt.outcome))
    };
    let asked = step
        .questions
        .iter()
        .filter_map(|question| Some((question.asked, question.answered?, "asked", "waiting for people")));
    let undone = step.undo_attempts.iter().map(|undo| {
        let (from, to, class, what) = attempt(undo);
        (from, to, if class == StepState::Succeeded.as_str() { "undone" } else { class }, what)
    });
    let skipped = step.attempts.is_empty().then_some(step.ended).flatten();
    let skipped = skipped.map(|at| (at, at, step.outcome.as_str(), words::word(step.outcome)));
    asked.chain(step.attempts.iter().map(attempt)).chain(undone).chain(skipped).collect()
}

fn in_words(report: &IncidentReport, steps: &[&StepReport]) -> String {
    let told = steps.iter().map(|step| {
        let began = step.started.map(clock).unwrap_or_default();
        format!(
            "{} began at {began}, took {}, {}",
            clean(step.id.as_str()),
            words::taken(step),
            words::word(step.outcome)
        )
    });
    let objective = objective(report).map(|at| format!(" The recovery time objective ends at {}.", moment(at)));
    format!("{}.{}", told.collect::<Vec<_>>().join("; "), objective.unwrap_or_default())
}
