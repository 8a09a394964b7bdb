//! The logical driver on real servers: what it backs up comes back, and what goes wrong is an error.

#![allow(clippy::unwrap_used, missing_docs)]

mod checks;
mod connections;
mod failures;
mod parallel;
mod progress;
mod refusals;
mod round_trip;
mod subsets;
mod support;
