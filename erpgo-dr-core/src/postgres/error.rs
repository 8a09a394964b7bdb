//! What can go wrong with a PostgreSQL server or its client programs.

use std::path::PathBuf;

use super::physical::PhysicalError;
use super::refusal::is_lost_connection;
use super::{BoxError, Refusal};

/// A failure of a server, of a client program, or of what they were given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The server cannot be reached, or refuses us.
    #[error("cannot connect to {server}")]
    Connect {
        /// Host, port and database, without password.
        server: String,
        /// What the client library said.
        #[source]
        source: BoxError,
    },
    /// A query failed.
    #[error("query failed on {server}: {action}")]
    Query {
        /// The server.
        server: String,
        /// What it was for.
        action: String,
        /// What the server said.
        #[source]
        source: BoxError,
    },
    /// Settings of a connection that make no sense.
    #[error("invalid connection settings: {0}")]
    InvalidSettings(String),
    /// No client programs of the server's major version, nor of a newer one.
    #[error("no {program} of version {wanted} or newer (found: {found}); looked in {searched}")]
    NoClientProgram {
        /// The program.
        program: &'static str,
        /// The major version of the server.
        wanted: u32,
        /// Versions that were found.
        found: String,
        /// Folders that were searched.
        searched: String,
    },
    /// A client program could not be started.
    #[error("cannot start {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A client program failed.
    #[error("{program} failed ({status}): {stderr}")]
    Program {
        /// Its name.
        program: String,
        /// Its exit status or signal.
        status: String,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// Talking to a client program failed.
    #[error("lost contact with {program}")]
    Pipe {
        /// Its name.
        program: String,
        /// How.
        #[source]
        source: std::io::Error,
    },
    /// A dump is not one, or it is damaged or cut short.
    #[error("not a complete pg_dump archive: {0}")]
    MalformedArchive(String),
    /// The target holds data that the restore would mix with.
    #[error(
        "database {database} on {server} is not empty: it holds {objects} objects (tables, sequences, types, functions, large objects...)"
    )]
    TargetNotEmpty {
        /// The server.
        server: String,
        /// The database.
        database: String,
        /// What it holds.
        objects: u64,
    },
    /// A folder that is to take a cluster holds something already.
    #[error("{} is not empty, and a cluster is restored into an empty folder only: name another, or empty it", path.display())]
    FolderNotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The target database does not exist.
    #[error("database {database} does not exist on {server}")]
    NoSuchDatabase {
        /// The server.
        server: String,
        /// The database.
        database: String,
    },
    /// A table or schema that was asked for is not in the backup.
    #[error("not in the backup: {0}")]
    NotInBackup(String),
    /// A restore failed, and the database that it had made and could not fill is still there.
    #[error(
        "database {database} was restored in part, and could not be dropped again (connected to {server}): {reason}"
    )]
    LeftBehind {
        /// The server, and the database that was connected to.
        server: String,
        /// The database.
        database: String,
        /// Why it could not be dropped.
        reason: String,
        /// Why the restore failed.
        #[source]
        source: Box<PostgresError>,
    },
    /// Options that exclude each other.
    #[error("{0}")]
    InvalidOptions(String),
    /// A backup's contents are not what its manifest says.
    #[error("contents differ: {0}")]
    ContentsDiffer(String),
    /// A cluster's files are not what they should be.
    #[error("the cluster's files are damaged or unexpected: {0}")]
    MalformedCluster(String),
    /// WAL that a backup needs is not on the server any more.
    #[error(
        "WAL segment {name} was removed from the server before the backup could take it: raise wal_keep_size, or spare a replication slot"
    )]
    MissingWal {
        /// The segment.
        name: crate::types::WalSegmentName,
    },
    /// A data directory cannot be backed up, or a backup of one came to nothing.
    #[error(transparent)]
    Physical(#[from] PhysicalError),
    /// A throwaway server could not be made.
    #[error("cannot run a throwaway server: {0}")]
    Throwaway(String),
    /// The disk that a throwaway server works on is full.
    #[error("there is no space left under the scratch folder {}", scratch.display())]
    ScratchFull {
        /// The scratch folder.
        scratch: PathBuf,
        /// What failed for it.
        #[source]
        source: BoxError,
    },
    /// A file could not be read or written.
    #[error("{}: cannot {action}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The receiver of a backup failed.
    #[error("the backup could not be stored")]
    Sink(#[source] BoxError),
    /// The source of a restore failed.
    #[error("the backup could not be read")]
    Source(#[source] BoxError),
}

impl PostgresError {
    /// Returns whether the same call may succeed later without anything being changed by hand.
    pub fn is_retryable(&self) -> bool {
        match (self.refusal(), self) {
            (Some(refusal), _) => refusal == Refusal::NotNow && !matches!(self, Self::LeftBehind { .. }),
            (None, other) => other.is_outage(),
        }
    }

    /// Returns whether a server or the connection to it was lost, and not what was asked of it was wrong.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Pipe { .. } => true,
            Self::Query { source, .. } => is_lost_connection(source.as_ref()),
            Self::Physical(error) => error.is_retryable(),
            _ => false,
        }
    }
}
