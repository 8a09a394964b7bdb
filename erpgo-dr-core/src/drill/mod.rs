//! Drills of disasters: servers of their own are made from the newest restore point, broken as the scenario has it, and recovered by the
//! runbook itself. What that took is scored and written down.
//!
//! Owns the stage (the servers and the stand-ins for what else a runbook speaks to), the cast (which of them a variable of a runbook
//! stands for), the blow, and the score. Refuses what would leave the stage: servers, addresses, files and programs that are not its own.

mod blow;
mod cast;
mod error;
mod plan;
mod prompter;
mod run;
mod score;
mod stage;
mod stand_in;
mod witness;

pub use error::DrillError;
pub use plan::{DrillPlan, plan_drill};
pub use run::{Rehearsal, run_drill};
