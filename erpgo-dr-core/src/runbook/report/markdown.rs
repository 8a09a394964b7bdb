//! The report as Markdown.

use super::{AttemptReport, IncidentReport, StepReport, words};
use crate::presentation::escape::{fenced, inline};
use crate::presentation::units::clock;

impl IncidentReport {
    /// Writes the report as Markdown with GitHub's tables. Texts of the journal are escaped.
    pub fn to_markdown(&self) -> String {
        let mut out = format!("# {}\n\n", inline(&self.title));
        if self.drill {
            out.push_str("**A drill.** ");
        }
        out.push_str(&format!("{}\n\n", inline(&words::standing(self))));
        table(
            &mut out,
            ["", "Measured", "Objective"],
            words::figures(self)
                .iter()
                .map(|figure| [figure.name.to_owned(), inline(&figure.value), inline(&figure.beside)]),
        );
        for (name, value) in words::facts(self) {
            out.push_str(&format!("- {name}: {}\n", inline(&value)));
        }
        out.push_str("\n## Steps\n\n");
        let head = ["Step", "Action", "Outcome", "Began", "Took", "Attempts"];
        table(&mut out, head, self.steps.iter().map(row));
        self.steps.iter().filter(|step| step.started.is_some()).for_each(|step| describe(&mut out, step));
        out.push_str(&format!("---\n\n{}\n", inline(&words::source(self))));
        out
    }
}

fn table<const N: usize>(out: &mut String, head: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    let line = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
    out.push_str(&line(&head));
    out.push_str(&line(&[":---"; N]));
    for row in rows {
        out.push_str(&line(&row.each_ref().map(String::as_str)));
    }
    out.push('\n');
}

fn row(step: &StepReport) -> [String; 6] {
    [
        inline(step.id.as_str()),
        step.action.clone(),
        words::word(step.outcome).to_owned(),
        step.started.map_or_else(|| "-".to_owned(), clock),
        words::taken(step),
        step.attempts.len().to_string(),
    ]
}

fn describe(out: &mut String, step: &StepReport) {
    out.push_str(&format!("### {}: {}\n\n", inline(step.id.as_str()), inline(&step.title)));
    let counts = words::counts(step).map(|counts| format!("; it {counts}")).unwrap_or_default();
    out.push_str(&format!("{} in {}{counts}.\n\n", words::word(step.outcome), words::taken(step)));
    if let Some(why) = &step.skipped {
        out.push_str(&format!("- because {}\n", inline(why)));
    }
    for question in &step.questions {
        let (asked, answer) = (clock(question.asked), inline(&words::answer(question)));
        out.push_str(&format!("- asked at {asked}: {} {answer}\n", inline(&question.text)));
    }
    if step.skipped.is_some() || !step.questions.is_empty() {
        out.push('\n');
    }
    attempts(out, "Attempt", &step.attempts);
    attempts(out, "Undo, attempt", &step.undo_attempts);
    if let Some(why) = &step.undo_skipped {
        out.push_str(&format!("Not undone by the run: {}\n\n", inline(why)));
    }
}

fn attempts(out: &mut String, name: &str, attempts: &[AttemptReport]) {
    for (number, attempt) in (1..).zip(attempts) {
        let ended = attempt.ended.map(|ended| format!(" to {}", clock(ended))).unwrap_or_default();
        let (began, outcome) = (clock(attempt.began), words::word(attempt.outcome));
        out.push_str(&format!("{name} {number}, {began}{ended}, {outcome}:\n\n{}\n", fenced(&attempt.doing)));
        if !attempt.output.is_empty() {
            out.push_str(&format!("It said:\n\n{}\n", fenced(&attempt.output)));
        }
    }
}
