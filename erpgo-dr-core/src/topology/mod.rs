//! Who replicates from whom: the servers of a cluster as they see themselves and each other, whether the primary is really gone, and
//! which standby has the most.
//!
//! Looks only. What follows from it is for others to do: the steps of a runbook, and [`ha`], which changes who leads where it is told to.

mod agent;
mod candidate;
mod discover;
pub mod ha;
mod promotion;
mod server;
mod shutdown;
mod verdict;

pub use agent::patroni_runs;
pub use candidate::{Candidate, candidate};
pub use discover::{ClusterServer, Topology, discover};
pub use promotion::{point_standby, promote_standby, receives_from};
pub use server::{Followed, Follower, Role, ServerState, SlotState, ask_server};
pub use shutdown::{ReplayedCheckpoint, replayed_checkpoint};
pub use verdict::{Liveness, PrimaryVerdict, ProbeOptions, Witness, liveness, probe_primary};
