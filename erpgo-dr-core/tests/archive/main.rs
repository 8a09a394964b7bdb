//! Throwaway servers, and what the archive scanner reads from the dumps of real ones.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scan;
mod subset;
mod support;
mod throwaway;
