//! Drills: recovery rehearsed where it can harm nobody, measured against its objectives, and written down; when which one is due; and
//! how long recovery would take today, by what was measured.

mod calendar;
mod forecast;
#[cfg(feature = "runbooks")]
mod newest;
mod run;
mod scenario;

pub use calendar::{DrillDue, DrillRhythm, DrillState, PlannedDrill, drills_due, quarterly_calendar};
pub use forecast::{Forecast, forecast};
#[cfg(feature = "runbooks")]
pub(crate) use newest::{RestoredCluster, newest_restore_point, restore_point};
#[cfg(feature = "runbooks")]
pub(crate) use run::empty;
pub use run::{DrillOptions, HandDrill, record_drill, run_drill};
pub use scenario::{Objectives, Scenario, ScenarioError};
