//! `wal`: the archive of the write-ahead log.

mod check;
mod fetch;
mod list;
mod prune;
mod push;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use erpgo_dr_core::Storage;
use erpgo_dr_core::ops::wal::WalSpool;

use crate::context::{Context, Places};
use crate::error::CliError;
use crate::output::Report;

pub(crate) use fetch::FETCH;
pub(crate) use prune::render_wal;

/// Archive the write-ahead log, by archive_command or as a stream, and fetch it back by restore_command
#[derive(Debug, Args)]
pub(crate) struct WalArgs {
    #[command(subcommand)]
    action: WalAction,
}

#[derive(Debug, Subcommand)]
enum WalAction {
    Push(push::PushArgs),
    Fetch(fetch::FetchArgs),
    Stream(stream::StreamArgs),
    List(list::ListArgs),
    Check(check::CheckArgs),
    Prune(prune::WalPruneArgs),
}

/// Options of what runs beside a server.
#[derive(Debug, Clone, Args)]
struct HostOptions {
    /// A folder on a disk of the database for what is fetched or pushed ahead
    #[arg(long, value_name = "FOLDER")]
    spool: Option<PathBuf>,
    /// The system identifier of the cluster, where neither the file nor the data directory says it
    #[arg(long, value_name = "NUMBER")]
    system: Option<u64>,
}

impl HostOptions {
    fn spool(&self, context: &Context) -> Option<WalSpool> {
        self.spool.clone().or_else(|| context.config.wal.spool.clone()).map(WalSpool::new)
    }

    fn system(&self, context: &Context) -> Option<u64> {
        self.system.or(context.config.wal.system)
    }
}

impl WalArgs {
    pub(super) fn name(&self) -> &'static str {
        match self.action {
            WalAction::Push(_) => "wal push",
            WalAction::Fetch(_) => FETCH,
            WalAction::Stream(_) => "wal stream",
            WalAction::List(_) => "wal list",
            WalAction::Check(_) => "wal check",
            WalAction::Prune(_) => "wal prune",
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        match self.action {
            WalAction::Push(arguments) => arguments.run(context).await,
            WalAction::Fetch(arguments) => arguments.run(context).await,
            WalAction::Stream(arguments) => arguments.run(context).await,
            WalAction::List(arguments) => arguments.run(context).await,
            WalAction::Check(arguments) => arguments.run(context).await,
            WalAction::Prune(arguments) => arguments.run(context).await,
        }
    }
}

/// The places one by one, where there are several.
fn each(places: &Places) -> Vec<Arc<dyn Storage>> {
    places.replicated.as_ref().map(|replicated| replicated.places().to_vec()).unwrap_or_default()
}
