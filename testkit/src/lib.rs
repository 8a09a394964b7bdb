//! Starts the real servers that the tests use, and breaks them on purpose.
//!
//! Each server listens on loopback at a free port, keeps its data in a temporary folder and ends when its value is
//! dropped. Nothing here returns an error: a test that has no server panics, with the end of the server's log, or,
//! where a program is missing, with the advice to run `scripts/setup`. A test never passes because a server is absent.

#![forbid(unsafe_code)]

mod http;
mod ports;
mod process;
mod programs;

pub mod azurite;
pub mod bind;
pub mod browser;
pub mod etcd;
pub mod fault_proxy;
pub mod full_disk;
pub mod gcs;
pub mod ministack;
pub mod patroni;
pub mod postgres;
pub mod prometheus;
pub mod sample_schema;
pub mod seaweedfs;
pub mod smtp;

pub use azurite::Azurite;
pub use bind::Bind;
pub use etcd::Etcd;
pub use fault_proxy::FaultProxy;
pub use full_disk::FullDisk;
pub use gcs::GcsServer;
pub use ministack::Ministack;
pub use patroni::{PatroniCluster, PatroniNode, PatroniOptions};
pub use postgres::{PgServer, postgres_bins};
pub use programs::{is_root, program, python, unprivileged};
pub use prometheus::{Alertmanager, Prometheus};
pub use seaweedfs::SeaweedFs;
pub use smtp::SmtpServer;
