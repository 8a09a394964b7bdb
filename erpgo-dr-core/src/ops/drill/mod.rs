//! Drills: recovery rehearsed where it can harm nobody, measured against its objectives, and written down; when which one is due; and
//! how long recovery would take today, by what was measured.

mod calendar;
mod forecast;
mod run;
mod scenario;

pub use calendar::{DrillDue, DrillRhythm, DrillState, PlannedDrill, drills_due, quarterly_calendar};
pub use forecast::{Forecast, forecast};
pub use run::{DrillOptions, HandDrill, record_drill, run_drill};
pub use scenario::{Objectives, Scenario, ScenarioError};
