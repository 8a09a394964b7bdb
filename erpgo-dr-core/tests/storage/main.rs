//! Storage places: each through the conformance suite, and each with real servers that break.

#![allow(clippy::unwrap_used, reason = "it is the assertion of a test")]

mod backends;
mod faults;
mod places;
mod replicated;
mod spooled;
