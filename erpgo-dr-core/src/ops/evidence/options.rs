//! What is to be collected.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::Custodian;
use crate::postgres::ConnectionSettings;
use crate::types::BackupId;

/// How long one item may take: ten minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a bundle of evidence is made of.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EvidenceOptions {
    /// Who collects it.
    pub by: Custodian,
    /// What it is about, for people.
    pub label: Option<String>,
    /// The server, and the database of it, that tables and queries are read from. With it come the server's settings, roles, grants,
    /// sessions and the like, and the log that it writes.
    pub server: Option<ConnectionSettings>,
    /// Tables that are kept whole as CSV: `audit_logs`, `security.events`.
    pub tables: Vec<String>,
    /// Queries whose rows are kept as CSV, by names.
    pub queries: BTreeMap<String, String>,
    /// Programs whose output is kept, by names: each a program and its arguments. There is no shell.
    pub programs: BTreeMap<String, Vec<String>>,
    /// The environment of these programs.
    pub environment: Vec<(OsString, OsString)>,
    /// Files of this host.
    pub files: Vec<PathBuf>,
    /// Backups that belong to it: they are put on hold, and the manifest says which they are.
    pub backups: Vec<BackupId>,
    /// How long one item may take before it is cut off.
    pub patience: Duration,
}

impl EvidenceOptions {
    /// Collects nothing yet.
    pub fn new(by: Custodian) -> Self {
        Self {
            by,
            label: None,
            server: None,
            tables: Vec::new(),
            queries: BTreeMap::new(),
            programs: BTreeMap::new(),
            environment: Vec::new(),
            files: Vec::new(),
            backups: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// Says what it is about.
    pub fn with_label(mut self, label: Option<String>) -> Self {
        self.label = label;
        self
    }

    /// Reads a server.
    pub fn with_server(mut self, server: Option<ConnectionSettings>) -> Self {
        self.server = server;
        self
    }

    /// Keeps tables.
    pub fn with_tables(mut self, tables: impl IntoIterator<Item = String>) -> Self {
        self.tables.extend(tables);
        self
    }

    /// Keeps the rows of queries.
    pub fn with_queries(mut self, queries: impl IntoIterator<Item = (String, String)>) -> Self {
        self.queries.extend(queries);
        self
    }

    /// Keeps the output of programs.
    pub fn with_programs(mut self, programs: impl IntoIterator<Item = (String, Vec<String>)>) -> Self {
        self.programs.extend(programs);
        self
    }

    /// Sets the environment of programs.
    pub fn with_environment(mut self, environment: Vec<(OsString, OsString)>) -> Self {
        self.environment = environment;
        self
    }

    /// Keeps files.
    pub fn with_files(mut self, files: impl IntoIterator<Item = PathBuf>) -> Self {
        self.files.extend(files);
        self
    }

    /// Names backups that belong to it.
    pub fn with_backups(mut self, backups: impl IntoIterator<Item = BackupId>) -> Self {
        self.backups.extend(backups);
        self
    }

    /// Sets how long one item may take.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}
