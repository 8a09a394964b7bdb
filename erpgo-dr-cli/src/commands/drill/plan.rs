//! The plan of drills: that of the configuration, or the usual one.

use erpgo_dr_core::Repository;
use erpgo_dr_core::clock::{Clock as _, SystemClock};
use erpgo_dr_core::ops::drill::{DrillDue, Objectives, PlannedDrill, Scenario, drills_due, quarterly_calendar};
use erpgo_dr_core::repository::DrillRecord;

use crate::config::Config;

/// Says how each planned drill stands. There is something to rehearse from the day on that the repository was made.
pub(in crate::commands) fn due(config: &Config, repository: &Repository, drills: &[DrillRecord]) -> Vec<DrillDue> {
    drills_due(SystemClock.now(), repository.settings().created, &planned(config), drills)
}

/// Returns the plan.
pub(in crate::commands) fn planned(config: &Config) -> Vec<PlannedDrill> {
    match config.drills.is_empty() {
        true => quarterly_calendar(),
        false => {
            config.drills.iter().map(|drill| PlannedDrill { scenario: drill.scenario, every: drill.every }).collect()
        }
    }
}

/// Returns what recovery must reach in a scenario: what the configuration says, and else what is usual.
pub(in crate::commands) fn objectives(config: &Config, scenario: Scenario) -> Objectives {
    let usual = scenario.objectives();
    let planned = config.drills.iter().find(|drill| drill.scenario == scenario);
    let [rto, rpo] = [planned.and_then(|drill| drill.rto), planned.and_then(|drill| drill.rpo)];
    Objectives::new(rto.map(|span| span.duration()).or(usual.rto), rpo.map(|span| span.duration()).or(usual.rpo))
}
