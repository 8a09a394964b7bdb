//! Reads the data directories of real servers while they run.

#![allow(clippy::unwrap_used, missing_docs)]

mod control;
mod listing;
mod reader;
mod session;
mod standby;
mod support;
