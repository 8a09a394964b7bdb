//! Runbooks on real servers, programs and files: done step by step, cut off everywhere, resumed and taken back.

#![allow(clippy::unwrap_used)]

mod breach;
mod conditions;
mod cut_off;
mod drills;
mod escalation;
mod failover;
mod patroni;
mod recovery;
mod secrets;
mod steps;
mod support;
mod switchover;
mod undo;
mod watch;
