//! What the demo did, when, and how large it was: told as it happens, and once more at the end.

use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::output::{Align, Output, Table, bytes, seconds};

/// The steps so far.
#[derive(Debug)]
pub(crate) struct Timeline {
    output: Output,
    started: Instant,
    steps: Vec<Step>,
}

/// One step of the demo.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    name: &'static str,
    /// Since the demo began.
    at_seconds: f64,
    seconds: f64,
    bytes: Option<u64>,
    outcome: String,
}

/// A step that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    name: &'static str,
    started: Instant,
}

impl Timeline {
    /// Starts the clock.
    pub(crate) fn new(output: Output) -> Self {
        Self { output, started: Instant::now(), steps: Vec::new() }
    }

    /// Announces a step.
    pub(crate) fn begin(&self, name: &'static str) -> Begun {
        let bold = anstyle::Style::new().bold();
        self.tell(&format!("{bold}{:>2}. {name}{bold:#}", self.steps.len() + 1));
        Begun { name, started: Instant::now() }
    }

    /// Records how a step ended.
    pub(crate) fn end(&mut self, begun: &Begun, bytes: Option<u64>, outcome: String) {
        let took = begun.started.elapsed().as_secs_f64();
        let green = anstyle::AnsiColor::Green.on_default();
        self.tell(&format!("    {green}ok{green:#} {outcome}, in {}", seconds(took)));
        let at_seconds = (begun.started - self.started).as_secs_f64();
        self.steps.push(Step { name: begun.name, at_seconds, seconds: took, bytes, outcome });
    }

    /// Returns the steps.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the seconds since the demo began.
    pub(crate) fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Returns the steps as a table.
    pub(crate) fn render(&self) -> String {
        let mut table = Table::new([
            ("AT", Align::Right),
            ("TOOK", Align::Right),
            ("SIZE", Align::Right),
            ("STEP", Align::Left),
            ("OUTCOME", Align::Left),
        ]);
        for step in &self.steps {
            let size = step.bytes.map(bytes).unwrap_or_default();
            let cells = [seconds(step.at_seconds), seconds(step.seconds), size];
            table.row(cells.into_iter().chain([step.name.to_owned(), step.outcome.clone()]));
        }
        table.render()
    }

    /// Standard error belongs to log lines where the result is JSON.
    fn tell(&self, line: &str) {
        if !self.output.is_json() {
            self.output.note(line);
        }
    }
}

/// The figures that a script can read, in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Facts(Vec<(&'static str, Number)>);

impl Facts {
    /// Adds a count or a size.
    pub(crate) fn count(&mut self, name: &'static str, value: u64) {
        self.0.push((name, value.into()));
    }

    /// Adds a length of time, to the millisecond.
    pub(crate) fn seconds(&mut self, name: &'static str, value: f64) {
        let rounded = (value * 1000.0).round() / 1000.0;
        self.0.push((name, Number::from_f64(rounded).unwrap_or_else(|| 0.into())));
    }

    /// Returns lines of the form `name value`.
    pub(crate) fn lines(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name} {value}\n")).collect()
    }

    /// Returns an object of them.
    pub(crate) fn to_json(&self) -> Value {
        let pairs = self.0.iter().map(|(name, value)| ((*name).to_owned(), Value::Number(value.clone())));
        Value::Object(pairs.collect::<Map<_, _>>())
    }
}
