//! What the failover programs share: hosts that can be cut off, servers on them, an application that writes, and the watch over both.

mod application;
mod control;
mod host;
mod server;
mod watched;

pub use application::{Application, SCHEMA};
pub use control::{ON_HOST, carry_out};
pub use host::{Host, Network};
pub use server::Server;
pub use watched::{Watched, Watching};
