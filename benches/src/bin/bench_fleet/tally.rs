//! What the histories of all clusters say of their backups.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::Outcome;
use crate::stage::{EVERY, JITTER, Stage};

/// How long behind its moment a backup may begin beside the jitter.
const PATIENCE: u64 = 60;

/// Backups of all clusters.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) backups: u64,
    pub(crate) failed: u64,
    /// Seconds from the moment of a schedule, jitter not counted, to the beginning.
    pub(crate) longest_delay: f64,
    /// What was late or left out.
    pub(crate) findings: Vec<String>,
}

impl Tally {
    pub(crate) fn of(stage: &Stage) -> Outcome<Self> {
        let mut tally = Self::default();
        for name in stage.names() {
            tally.add(&name, stage.history(&name)?.as_array().ok_or("the history is no list")?)?;
        }
        Ok(tally)
    }

    fn add(&mut self, name: &str, runs: &[Value]) -> Outcome<()> {
        let mut before: Option<DateTime<Utc>> = None;
        // The newest come first; one that was given up at the end is none.
        for run in runs.iter().rev().filter(|run| run["state"] != "interrupted") {
            self.backups += 1;
            self.failed += u64::from(run["state"] != "succeeded");
            let (scheduled, began) = (moment(&run["scheduled"])?, moment(&run["began"])?);
            if run["cause"] == "schedule" || run["cause"] == "catch-up" {
                let delay = (began - scheduled).as_seconds_f64();
                self.longest_delay = self.longest_delay.max(delay);
                if delay > (JITTER + PATIENCE) as f64 {
                    self.findings.push(format!("{name}: that of {scheduled} began {delay:.0} s behind it"));
                }
            }
            let every = TimeDelta::seconds((EVERY * 60) as i64);
            if let Some(before) = before.filter(|before| scheduled - *before > every * 2) {
                self.findings.push(format!("{name}: none between {before} and {scheduled}"));
            }
            before = Some(scheduled);
        }
        Ok(())
    }
}

fn moment(value: &Value) -> Outcome<DateTime<Utc>> {
    Ok(value.as_str().ok_or("a run without its moments")?.parse()?)
}
