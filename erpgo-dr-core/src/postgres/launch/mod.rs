//! Starts a server on a data directory of its own, under its own configuration, and leaves it running.
//!
//! The work is `pg_ctl`'s, which gives the server a session of its own. Other than a throwaway server this one outlives its caller.

mod log;
mod replay;
mod server;

pub(super) use log::log_tail;
pub(crate) use replay::{ReplayState, ask};
pub(crate) use server::{Launch, Postmaster, ServerPhase};
