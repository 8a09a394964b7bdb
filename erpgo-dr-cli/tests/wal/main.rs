//! `wal push` and `wal fetch` as PostgreSQL itself calls them.

#![allow(clippy::unwrap_used)]

mod ahead;
mod bisect;
mod codes;
mod crash;
mod delta;
mod drills;
mod histories;
mod incremental;
mod log;
mod lot;
mod manifest;
mod moments;
mod prune;
mod recovery;
mod rehearsals;
mod remote;
mod resume;
mod selection;
mod start;
mod stream;
mod stream_faults;
mod streaming;
mod support;
mod timelines;
