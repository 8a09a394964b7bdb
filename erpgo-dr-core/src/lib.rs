//! Disaster recovery for PostgreSQL as a library.
//!
//! A backup goes one way, database → codec → crypto → storage, and a restore is the mirror of it.
//! Modules are layers, and a layer uses only those below it:
//!
//! ```text
//! monitor      what is known, for those who watch: metrics, a page, JSON
//! agent        jobs by schedule, one agent at a time
//! drill        disasters rehearsed on servers of their own, by their runbooks
//! runbook      procedures for disasters: steps, journal, report
//! ops          backup, restore, verify, prune, repair: the only layer that joins the ones below
//! topology     who replicates from whom, beside it
//! repository   catalogue, manifests, leases, key epochs
//! container    framed stream: codec + crypto, seekable, bounded memory
//! codec  crypto  storage  postgres  retention      siblings, blind to each other
//! types  clock  progress  compute  cleanup  causes  presentation
//! ```
//!
//! The library never prints, never reads the environment, never installs a logger and never exits.
//! It reports through [`tracing`] and through [`progress::Progress`].

#![forbid(unsafe_code)]

#[cfg(feature = "agent")]
pub mod agent;
mod causes;
pub mod cleanup;
pub mod clock;
pub mod codec;
pub mod compute;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod container;
pub mod crypto;
#[cfg(feature = "runbooks")]
pub mod drill;
#[cfg(feature = "monitor")]
pub mod monitor;
pub mod ops;
pub mod postgres;
#[cfg(feature = "runbooks")]
mod presentation;
pub mod progress;
pub mod repository;
pub mod retention;
#[cfg(feature = "runbooks")]
pub mod runbook;
pub mod storage;
pub mod topology;
pub mod types;

pub use codec::Codec;
pub use crypto::Encryptor;
pub use ops::{Error, ErrorKind, Result};
pub use postgres::DatabaseDriver;
pub use repository::Repository;
pub use retention::RetentionPolicy;
pub use storage::Storage;

// The example in the README is one that compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
