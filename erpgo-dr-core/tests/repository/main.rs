//! What a repository promises: commits, crashes, tampering, keys, leases and prunes.
//!
//! Storage is real (memory or local disk); the database is a script, because these stories are about what
//! happens to bytes once they have left it. `tests/backup` runs the same operations on real servers.

#![allow(clippy::unwrap_used)]

mod commit;
mod crash;
mod epochs;
mod places;
mod prune;
mod repair;
mod support;
mod tampering;
