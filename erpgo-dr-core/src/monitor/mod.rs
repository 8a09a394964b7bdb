//! What can be said of a repository and its server, for those who watch: figures for Prometheus, a page for people, JSON for programs.
//!
//! [`observe`] asks for everything once, and makes [`Facts`] of it. All that is shown is made from these: [`Facts::to_openmetrics`],
//! [`Facts::to_html`], and [`serve`], which answers over HTTP from the facts that it was last given, however long asking takes.
//!
//! Of several clusters, each with a repository of its own, [`FleetFacts`] shows the same, and [`serve_fleet`] serves it.

mod facts;
mod fleet;
mod metrics;
mod observe;
mod page;
mod serve;
#[cfg(test)]
mod tests;

pub use facts::{
    BackupFacts, DiskFacts, EpochFacts, Facts, IncidentFacts, ObjectiveFacts, Problem, StandbyFacts, WalFacts,
};
pub use fleet::{ClusterFacts, FleetFacts};
pub use observe::{MonitorOptions, keep_observed, observe};
pub use serve::{ServeError, ServeOptions, TlsFiles, serve, serve_fleet};
