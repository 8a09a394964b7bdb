//! Who runs the high availability of a cluster: an agent that decides who leads ([`PatroniBackend`]), or nobody but us ([`DirectBackend`]).
//!
//! A backend says what the cluster is and carries orders out. What is checked before an order, waited for behind it, and proven of it is
//! the same for all: [`plan_switchover`], [`plan_failover`], [`carry_out`], [`set_paused`], [`reinitialize`].
//!
//! Where Patroni decides who leads, nothing here decides beside it: a server that Patroni runs is promoted by asking Patroni.

mod backend;
mod care;
mod change;
mod cluster;
mod direct;
mod error;
#[cfg(feature = "runbooks")]
mod patroni;
mod plan;

pub use backend::HaBackend;
pub use care::{PauseReport, ReinitializeReport, reinitialize, set_paused};
pub use change::{ChangeReport, carry_out};
pub use cluster::{HaCluster, HaMember, HaRole, MemberStatus, ScheduledSwitchover};
pub use direct::{DirectBackend, HostControl};
pub use error::HaError;
#[cfg(feature = "runbooks")]
pub use patroni::{PatroniBackend, PatroniSettings};
pub use plan::{ChangeKind, ChangeOptions, ChangePlan, plan_failover, plan_switchover};
