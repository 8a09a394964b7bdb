//! The agent on a clock that the test moves: what is due, what was missed, who acts, and who is told.

#![allow(clippy::unwrap_used)] // in the helpers too, where clippy does not see a test

mod alarms;
mod catch_up;
mod fleet;
mod reload;
mod several;
mod summary;
mod support;
