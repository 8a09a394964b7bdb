//! The archive of the write-ahead log, with segments of real servers.

#![allow(clippy::unwrap_used)]

mod archive;
mod check;
mod headers;
mod places;
mod records;
mod spool;
mod support;
