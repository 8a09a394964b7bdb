//! What steps do, a file for each kind of action: its form in TOML, what it would do, and how it is done.

mod backup;
mod caught_up;
mod check_integrity;
mod checks;
mod collect;
mod command;
mod dns;
mod fence;
mod ha;
mod http;
mod mail;
mod nested;
mod notify;
mod people;
mod primary_down;
mod promote;
mod repoint;
mod restore;
mod rotate_secret;
mod scope;
mod server;
mod service;
mod sql;
mod wait_for;
mod wal;
mod write_file;

pub use backup::Backup;
pub use caught_up::CaughtUp;
pub use check_integrity::CheckIntegrity;
pub use checks::{PgReady, Readiness, TcpReady};
pub use collect::Collect;
pub use command::Command;
pub(crate) use command::{STEP_VARIABLE, step_value};
pub use dns::{Dns, DnsUpdate, KeyAlgorithm, RecordKind, Route53};
pub use fence::Fence;
pub use ha::Ha;
pub use http::HttpCheck;
pub use mail::{Email, MailTls};
pub use nested::Nested;
pub use notify::Notify;
pub use people::{Confirm, Manual};
pub use primary_down::PrimaryDown;
pub use promote::Promote;
pub use repoint::Repoint;
pub use restore::{FindBackup, Restore, RestoreCluster};
pub use rotate_secret::{RotateSecret, SecretForm};
pub use service::ServiceStep;
pub use sql::{Expectation, Sql, SqlCheck};
pub use wait_for::WaitFor;
pub use wal::{Wal, WalTask};
pub use write_file::WriteFile;

pub use scope::Loss;
pub(crate) use scope::{Done, Nature, Scope, TextUse, Uses, View};

use async_trait::async_trait;
use serde::Deserialize;

use super::error::ActionError;
use super::model::ServiceOrder;

/// What a step does. In TOML it is the one key of a step that is named as one of these.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// Runs statements on a server.
    Sql(Sql),
    /// Asks a server, and compares the answer.
    SqlCheck(SqlCheck),
    /// Looks for data that is damaged or contradicts its catalogue.
    CheckIntegrity(CheckIntegrity),
    /// Runs a program.
    Command(Command),
    /// Asks a web server, and compares the answer.
    HttpCheck(HttpCheck),
    /// Checks that something listens.
    TcpReady(TcpReady),
    /// Checks whether a PostgreSQL server answers, and to what.
    PgReady(PgReady),
    /// Waits until a check passes.
    WaitFor(Box<WaitFor>),
    /// Takes a backup.
    Backup(Backup),
    /// Finds a backup.
    FindBackup(FindBackup),
    /// Restores databases into a server.
    Restore(Restore),
    /// Restores a whole cluster into a folder, and starts it.
    RestoreCluster(RestoreCluster),
    /// Does something with the archive of the write-ahead log.
    Wal(Wal),
    /// Checks that a primary is really gone.
    PrimaryDown(PrimaryDown),
    /// Checks that a standby has what its primary wrote.
    CaughtUp(CaughtUp),
    /// Makes a standby the primary.
    Promote(Promote),
    /// Has standbys follow another primary.
    Repoint(Repoint),
    /// Makes sure that an old primary takes no more writes.
    Fence(Box<Fence>),
    /// Asks or tells the Patroni that runs the cluster.
    Ha(Ha),
    /// Stops or starts a service.
    Service(ServiceStep),
    /// Changes records of a zone, and waits until they are seen.
    Dns(Box<Dns>),
    /// Writes a file.
    WriteFile(WriteFile),
    /// Makes a new secret, and hands it on.
    RotateSecret(RotateSecret),
    /// Collects evidence.
    Collect(Collect),
    /// Tells people.
    Notify(Notify),
    /// Asks the operator.
    Confirm(Confirm),
    /// Has people do something.
    Manual(Manual),
}

/// What every action can do.
#[async_trait]
pub(crate) trait Act: Send + Sync {
    /// Says what kind of action it is.
    fn nature(&self) -> Nature;

    /// Says what it would do, in one line without secrets.
    fn describe(&self, view: &View<'_>) -> String;

    /// Collects what it names.
    fn uses<'s>(&'s self, uses: &mut Uses<'s>);

    /// Does it.
    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError>;
}

impl Action {
    /// The names of all actions, as TOML has them.
    pub const KINDS: [&'static str; 27] = [
        "sql",
        "sql-check",
        "check-integrity",
        "command",
        "http-check",
        "tcp-ready",
        "pg-ready",
        "wait-for",
        "backup",
        "find-backup",
        "restore",
        "restore-cluster",
        "wal",
        "primary-down",
        "caught-up",
        "promote",
        "repoint",
        "fence",
        "ha",
        "service",
        "dns",
        "write-file",
        "rotate-secret",
        "collect",
        "notify",
        "confirm",
        "manual",
    ];

    /// Returns the name of the action.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sql(_) => "sql",
            Self::SqlCheck(_) => "sql-check",
            Self::CheckIntegrity(_) => "check-integrity",
            Self::Command(_) => "command",
            Self::HttpCheck(_) => "http-check",
            Self::TcpReady(_) => "tcp-ready",
            Self::PgReady(_) => "pg-ready",
            Self::WaitFor(_) => "wait-for",
            Self::Backup(_) => "backup",
            Self::FindBackup(_) => "find-backup",
            Self::Restore(_) => "restore",
            Self::RestoreCluster(_) => "restore-cluster",
            Self::Wal(_) => "wal",
            Self::PrimaryDown(_) => "primary-down",
            Self::CaughtUp(_) => "caught-up",
            Self::Promote(_) => "promote",
            Self::Repoint(_) => "repoint",
            Self::Fence(_) => "fence",
            Self::Ha(_) => "ha",
            Self::Service(_) => "service",
            Self::Dns(_) => "dns",
            Self::WriteFile(_) => "write-file",
            Self::RotateSecret(_) => "rotate-secret",
            Self::Collect(_) => "collect",
            Self::Notify(_) => "notify",
            Self::Confirm(_) => "confirm",
            Self::Manual(_) => "manual",
        }
    }

    /// Returns whether it only looks, and changes nothing.
    pub fn is_check(&self) -> bool {
        self.act().nature().check
    }

    /// Returns whether something is changed by it that would have to be taken back.
    pub(crate) fn leaves_traces(&self) -> bool {
        let harmless = matches!(
            self,
            Self::Backup(_) | Self::Wal(_) | Self::Collect(_) | Self::Notify(_) | Self::Confirm(_) | Self::Manual(_)
        );
        !harmless && !self.is_check()
    }

    /// Returns the variable that it sets by itself.
    pub(crate) fn makes(&self) -> Option<&str> {
        match self {
            Self::RotateSecret(action) => Some(&action.variable),
            Self::Promote(action) => action.into.as_deref(),
            _ => None,
        }
    }

    /// Returns what takes it back by itself, where that needs no telling.
    pub(crate) fn own_undo(&self) -> Option<Self> {
        match self {
            Self::Service(action) if action.order != ServiceOrder::Restart => Some(Self::Service(action.inverse())),
            Self::Ha(action) => action.inverse().map(Self::Ha),
            Self::WriteFile(action) => action.previous().map(Self::WriteFile),
            _ => None,
        }
    }

    pub(crate) fn act(&self) -> &dyn Act {
        match self {
            Self::Sql(action) => action,
            Self::SqlCheck(action) => action,
            Self::CheckIntegrity(action) => action,
            Self::Command(action) => action,
            Self::HttpCheck(action) => action,
            Self::TcpReady(action) => action,
            Self::PgReady(action) => action,
            Self::WaitFor(action) => &**action,
            Self::Backup(action) => action,
            Self::FindBackup(action) => action,
            Self::Restore(action) => action,
            Self::RestoreCluster(action) => action,
            Self::Wal(action) => action,
            Self::PrimaryDown(action) => action,
            Self::CaughtUp(action) => action,
            Self::Promote(action) => action,
            Self::Repoint(action) => action,
            Self::Fence(action) => &**action,
            Self::Ha(action) => action,
            Self::Service(action) => action,
            Self::Dns(action) => &**action,
            Self::WriteFile(action) => action,
            Self::RotateSecret(action) => action,
            Self::Collect(action) => action,
            Self::Notify(action) => action,
            Self::Confirm(action) => action,
            Self::Manual(action) => action,
        }
    }
}
