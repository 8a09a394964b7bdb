//! The report as one file of HTML: no script, nothing fetched, light and dark, from a phone to paper.

use maud::{Markup, html};

use super::{AttemptReport, IncidentReport, RunState, StepReport, gantt, words};
use crate::presentation;
use crate::presentation::escape::clean;
use crate::presentation::units::clock;

const STYLE: &str = include_str!("style.css");

impl IncidentReport {
    /// Writes the report as one self-contained file of HTML. Texts of the journal are escaped.
    pub fn to_html(&self) -> String {
        page(self).into_string()
    }
}

fn page(report: &IncidentReport) -> Markup {
    let main = html! {
        (header(report))
        section class="figures" aria-label="Figures" { @for one in words::figures(report) { (one.to_html()) } }
        @if report.steps.iter().any(|step| step.started.is_some()) {
            section { h2 { "Time" } (gantt::draw(report)) (legend()) }
        }
        section { h2 { "Steps" } ol class="steps" { @for step in &report.steps { (one_step(step)) } } }
        section { h2 { "Run" } (facts(report)) }
        footer { (words::source(report)) }
    };
    presentation::html::page(&format!("{} - {}", report.title, report.run), STYLE, &main)
}

fn header(report: &IncidentReport) -> Markup {
    let class = match report.ending {
        RunState::Completed => "good",
        RunState::Undone => "plain",
        RunState::Stopped | RunState::UndoStopped | RunState::CutOff => "bad",
    };
    html! {
        header {
            p class="kind" { "Incident report" @if report.drill { " " span class="chip drill" { "drill" } } }
            h1 { (clean(&report.title)) }
            p class=(format!("standing {class}")) { (words::standing(report)) }
        }
    }
}

fn legend() -> Markup {
    let kinds = [
        ("succeeded", "succeeded"),
        ("failed", "failed"),
        ("asked", "waiting for people"),
        ("cut-off", "cut off"),
        ("undone", "undone"),
        ("skipped", "skipped"),
    ];
    html! {
        p class="legend" { @for (class, name) in kinds { span { i class=(format!("key {class}")) {} (name) } } }
    }
}

fn one_step(step: &StepReport) -> Markup {
    html! {
        li id=(format!("step-{}", step.id.as_str())) {
            div class="line" {
                h3 { (clean(&step.title)) }
                span class=(format!("chip {}", step.outcome.as_str())) { (words::word(step.outcome)) }
            }
            p class="about" {
                code { (clean(step.id.as_str())) } " · " (clean(&step.action))
                @if let Some(started) = step.started { " · " (clock(started)) " · " (words::taken(step)) }
                @if let Some(counts) = words::counts(step) { " · " (counts) }
            }
            @if let Some(why) = &step.skipped { p { "Because " (clean(why)) "." } }
            @for question in &step.questions {
                blockquote { p { (clean(&question.text)) } p class="answer" { (clean(&words::answer(question))) } }
            }
            (attempts("attempt", &step.attempts))
            (attempts("attempt at undoing it", &step.undo_attempts))
            @if let Some(why) = &step.undo_skipped { p { "Not undone by the run: " (clean(why)) "." } }
        }
    }
}

fn attempts(name: &str, attempts: &[AttemptReport]) -> Markup {
    let many = if attempts.len() == 1 { "" } else { "s" };
    html! {
        @if !attempts.is_empty() {
            details {
                summary { (attempts.len()) " " (name.replacen("attempt", &format!("attempt{many}"), 1)) }
                @for attempt in attempts { (one_attempt(attempt)) }
            }
        }
    }
}

fn one_attempt(attempt: &AttemptReport) -> Markup {
    html! {
        div class="attempt" {
            p {
                (clock(attempt.began))
                @if let Some(ended) = attempt.ended { " to " (clock(ended)) }
                ", " (words::word(attempt.outcome))
            }
            pre class="doing" { (clean(&attempt.doing)) }
            @if !attempt.output.is_empty() { pre { (clean(&attempt.output)) } }
        }
    }
}

fn facts(report: &IncidentReport) -> Markup {
    html! {
        dl { @for (name, value) in words::facts(report) { dt { (name) } dd { (clean(&value)) } } }
    }
}
