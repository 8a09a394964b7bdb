//! Progress of the library as bars on a terminal, or as lines.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use erpgo_dr_core::progress::{Phase, Progress, ProgressEvent};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{Output, ProgressMode, bytes, seconds};

/// A bar that knows its end, and one that does not.
const MEASURED: &str =
    "{spinner} {prefix:12} {msg}  {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
const ESTIMATED: &str =
    "{spinner} {prefix:12} {msg}  {wide_bar} {binary_bytes}/~{binary_total_bytes} {binary_bytes_per_sec}";
const OPEN: &str = "{spinner} {prefix:12} {msg}  {binary_bytes} {binary_bytes_per_sec} {elapsed}";

/// How often a line is printed.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows the phases that are under way.
#[derive(Debug)]
pub(crate) struct ProgressDisplay {
    output: Output,
    phases: Mutex<HashMap<Phase, Running>>,
}

#[derive(Debug)]
struct Running {
    bar: Option<ProgressBar>,
    started: Instant,
    printed: Instant,
    done: u64,
    total: Option<u64>,
}

impl ProgressDisplay {
    /// Shows progress as `output` was told to.
    pub(crate) fn new(output: Output) -> Self {
        Self { output, phases: Mutex::default() }
    }

    fn start(&self, phase: Phase, subject: &str, total: Option<u64>) {
        let now = Instant::now();
        let bar = match self.output.progress {
            ProgressMode::Bars => Some(self.bar(phase, subject, total)),
            _ => {
                self.output.line(&format!("{phase}: {subject}"));
                None
            }
        };
        let running = Running { bar, started: now, printed: now, done: 0, total };
        if let Some(before) = self.lock().insert(phase, running) {
            before.clear();
        }
    }

    fn bar(&self, phase: Phase, subject: &str, total: Option<u64>) -> ProgressBar {
        let (bar, template) = match total {
            Some(total) if is_estimate(phase) => (ProgressBar::new(total), ESTIMATED),
            Some(total) => (ProgressBar::new(total), MEASURED),
            None => (ProgressBar::no_length(), OPEN),
        };
        let bar = bar.with_style(style(template)).with_prefix(phase.name()).with_message(subject.to_owned());
        let bar = self.output.bars.add(bar);
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    fn advance(&self, phase: Phase, more: u64) {
        let mut phases = self.lock();
        let Some(running) = phases.get_mut(&phase) else { return };
        running.done += more;
        running.give_up_estimate(phase);
        match &running.bar {
            Some(bar) => bar.inc(more),
            None if running.printed.elapsed() >= LINE_EVERY => {
                running.printed = Instant::now();
                let line = running.line(phase);
                drop(phases);
                self.output.line(&line);
            }
            None => {}
        }
    }

    fn locate(&self, phase: Phase, place: &str) {
        let mut phases = self.lock();
        let Some(running) = phases.get_mut(&phase) else { return };
        match &running.bar {
            Some(bar) => bar.set_message(format!("at {place}")),
            None if running.printed.elapsed() >= LINE_EVERY => {
                running.printed = Instant::now();
                drop(phases);
                self.output.line(&format!("{phase}: at {place}"));
            }
            None => {}
        }
    }

    fn finish(&self, phase: Phase, elapsed: Duration) {
        let Some(running) = self.lock().remove(&phase) else { return };
        running.clear();
        if running.bar.is_none() {
            let rate = running.rate();
            self.output.line(&format!(
                "{phase}: {} in {} ({rate})",
                bytes(running.done),
                seconds(elapsed.as_secs_f64())
            ));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Phase, Running>> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// From where there is more than was estimated, nobody knows how much.
    fn give_up_estimate(&mut self, phase: Phase) {
        if is_estimate(phase) && self.total.is_some_and(|total| self.done > total) {
            self.total = None;
            if let Some(bar) = &self.bar {
                bar.unset_length();
                bar.set_style(style(OPEN));
            }
        }
    }

    fn rate(&self) -> String {
        let elapsed = self.started.elapsed().as_secs_f64().max(0.001);
        format!("{}/s", bytes((self.done as f64 / elapsed) as u64))
    }

    fn line(&self, phase: Phase) -> String {
        let about = if is_estimate(phase) { "about " } else { "" };
        let share = match self.total {
            Some(total) if total > 0 => {
                format!(" of {about}{} ({:.0} %)", bytes(total), 100.0 * self.done as f64 / total as f64)
            }
            _ => String::new(),
        };
        format!("{phase}: {}{share}, {}", bytes(self.done), self.rate())
    }
}

/// How much pg_dump will write nobody knows; what the library says of it is taken from the size of the tables.
fn is_estimate(phase: Phase) -> bool {
    phase == Phase::Backup
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Progress for ProgressDisplay {
    fn report(&self, event: ProgressEvent<'_>) {
        if self.output.progress == ProgressMode::Hidden {
            return;
        }
        match event {
            ProgressEvent::Started { phase, subject, total_bytes } => self.start(phase, subject, total_bytes),
            ProgressEvent::Advanced { phase, bytes } => self.advance(phase, bytes),
            ProgressEvent::Located { phase, place } => self.locate(phase, place),
            ProgressEvent::Finished { phase, elapsed } => self.finish(phase, elapsed),
            _ => {}
        }
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        for running in self.lock().values() {
            running.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(total: u64) -> Running {
        let now = Instant::now();
        Running { bar: Some(ProgressBar::hidden()), started: now, printed: now, done: 0, total: Some(total) }
    }

    #[test]
    fn an_estimate_is_called_one_and_given_up_where_it_was_too_low() {
        let mut backup = running(2048);
        backup.done = 1024;
        backup.give_up_estimate(Phase::Backup);
        assert!(backup.line(Phase::Backup).starts_with("backup: 1.0 KiB of about 2.0 KiB (50 %)"));
        backup.done = 4096;
        backup.give_up_estimate(Phase::Backup);
        let line = backup.line(Phase::Backup);
        assert!(line.starts_with("backup: 4.0 KiB, ") && !line.contains('%'), "{line}");
        assert_eq!(backup.bar.unwrap().length(), None);
    }

    #[test]
    fn what_is_known_is_no_estimate() {
        let mut restore = running(2048);
        restore.done = 2048;
        restore.give_up_estimate(Phase::Restore);
        assert!(restore.line(Phase::Restore).starts_with("restore: 2.0 KiB of 2.0 KiB (100 %)"));
    }
}
