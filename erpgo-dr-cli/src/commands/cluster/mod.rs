//! `cluster`: physical backups of a whole cluster, and its recovery to any moment.

mod backup;
mod restore;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Back up a whole cluster as files, and restore it to any moment
///
/// Unlike a dump, a cluster's files restore as fast as they can be copied, and with the WAL that came after them, to any
/// moment. They need the same major version of PostgreSQL.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    action: ClusterAction,
}

#[derive(Debug, Subcommand)]
enum ClusterAction {
    Backup(backup::ClusterBackupArgs),
    Restore(Box<restore::ClusterRestoreArgs>),
}

impl ClusterArgs {
    pub(super) fn name(&self) -> &'static str {
        match self.action {
            ClusterAction::Backup(_) => "cluster backup",
            ClusterAction::Restore(_) => "cluster restore",
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        match self.action {
            ClusterAction::Backup(arguments) => arguments.run(context).await,
            ClusterAction::Restore(arguments) => arguments.run(context).await,
        }
    }
}
