//! A client of the streaming replication protocol ("Streaming Replication Protocol" in PostgreSQL's manual), for physical replication.
//!
//! The client libraries that speak SQL do not speak it: it has messages that go both ways at once.

mod base_backup;
mod commands;
mod handshake;
mod server_error;
mod socket;
mod wal_stream;
mod wire;

pub use base_backup::{BaseBackup, BaseBackupEvent, BaseBackupOptions};
pub use commands::{ReplicationClient, ReplicationSlot, SystemIdentity, TimelineEnd};
pub use server_error::ServerError;
pub use wal_stream::{StreamedPositions, WalStream, WalStreamEvent};

#[cfg(test)]
mod tests;
