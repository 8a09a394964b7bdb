//! Containers: what is written comes back, and what was touched does not.

#![allow(clippy::unwrap_used)]

mod cancellation;
mod interoperability;
mod ranges;
mod round_trips;
mod splicing;
mod store;
mod support;
mod tampering;
