//! A drill in words.

use erpgo_dr_core::repository::DrillRecord;
use serde::Serialize;

use crate::output::{moment, seconds};

/// A drill, and how it is scored.
#[derive(Serialize)]
pub(super) struct Scored {
    #[serde(flatten)]
    record: DrillRecord,
    passed: bool,
    rto_met: Option<bool>,
    rpo_met: Option<bool>,
}

impl Scored {
    pub(super) fn new(record: DrillRecord) -> Self {
        Self { passed: record.passed(), rto_met: record.rto_met(), rpo_met: record.rpo_met(), record }
    }

    /// Returns whether it passed, and missed no objective.
    pub(super) fn is_well(&self) -> bool {
        self.passed && self.rto_met != Some(false) && self.rpo_met != Some(false)
    }
}

/// Says what a drill showed.
pub(super) fn described(scored: &Scored) -> String {
    let record = &scored.record;
    let word = if scored.passed { "passed" } else { "FAILED" };
    let hand = if record.by_hand { ", by hand" } else { "" };
    let mut text =
        format!("drill {} of {} {word}{hand}: {} by {}\n", record.id, record.scenario, moment(record.ended), record.by);
    for backup in &record.backups {
        text.push_str(&format!("  restored {backup}\n"));
    }
    for (name, measured, objective, met) in [
        ("RTO", record.rto_seconds, record.rto_objective_seconds, scored.rto_met),
        ("RPO", record.rpo_seconds, record.rpo_objective_seconds, scored.rpo_met),
    ] {
        let Some(measured) = measured else { continue };
        let objective = objective.map(|objective| format!(", may be {}", seconds(objective))).unwrap_or_default();
        let missed = if met == Some(false) { ": MISSED" } else { "" };
        text.push_str(&format!("  {name} {}{objective}{missed}\n", seconds(measured)));
    }
    if let Some(runbook) = &record.runbook {
        let own = if record.own_runbook { ", a text of your own" } else { "" };
        text.push_str(&format!("  runbook {runbook}{own}\n"));
        for step in record.steps.iter().filter(|step| step.outcome != "skipped" && step.outcome != "pending") {
            let took = step.seconds.map(seconds).unwrap_or_default();
            text.push_str(&format!("    {took:>8}  {}: {}\n", step.title, step.outcome));
        }
    }
    for finding in &record.findings {
        text.push_str(&format!("  {finding}\n"));
    }
    if let Some(note) = &record.note {
        text.push_str(&format!("  {note}\n"));
    }
    text
}
