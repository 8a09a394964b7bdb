//! The agent: backups and all that belongs to them by schedule, one agent at a time for each repository.
//!
//! [`Agent::run`] does what is due until it is told to stop. When a job is due is a pure function of its [`Timing`], its history in the
//! repository, and the time, so that an agent that was down makes up for what was missed, once, and one that takes over goes on where the
//! other one was. [`AgentState`] tells outsiders how it stands.
//!
//! A [`Fleet`] is several agents in one process, for a repository each, whose jobs share [`Turns`].
//!
//! Refuses: signals, service managers and the environment, which are the business of the program around it; and running two jobs of
//! one repository at once.

mod alarms;
mod due;
mod error;
mod fleet;
mod job;
pub mod jobs;
mod leadership;
mod plan;
mod report_log;
mod runner;
mod schedule;
mod state;
mod summary;
mod turns;

pub use due::Timing;
pub use error::AgentError;
pub use fleet::{Fleet, FleetReport};
pub use job::{Job, JobContext, JobKind, JobOutcome, ScheduledJob};
pub use plan::{PlannedJob, agent_plan};
pub use runner::{Agent, AgentControl, AgentOptions, AgentPlan, AgentReport};
pub use schedule::{Schedule, ScheduleError};
pub use state::{AgentRole, AgentState, JobState};
pub use summary::{JobSummary, Summary, summary};
pub use turns::Turns;

/// Returns a text as one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
