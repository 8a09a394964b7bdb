//! `wal push`: archives a file, and what else is ready.

use std::path::PathBuf;

use clap::Args;
use erpgo_dr_core::ops::wal::{WalPushOptions, WalPushOutcome, WalPushReport, wal_push};
use erpgo_dr_core::types::WalFileName;
use serde::Serialize;

use super::{HostOptions, each};
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Report, bytes};

/// Archive a file of the write-ahead log: archive_command = 'erpgo-dr wal push %p'
///
/// Ends with 0 only when the file is durable at every place.
#[derive(Debug, Args)]
pub(super) struct PushArgs {
    /// The file: %p of archive_command
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    host: HostOptions,
}

#[derive(Serialize)]
struct Pushed {
    #[serde(flatten)]
    report: WalPushReport,
    /// Files that were taken along.
    ahead: Vec<WalFileName>,
}

impl PushArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let (spool, system) = (self.host.spool(context), self.host.system(context));
        let places = context.places()?;
        if let Some(spool) = &spool
            && let Some(report) = spool.take_pushed(&self.path, &places.storage.location())?
        {
            return document(&Pushed { report, ahead: Vec::new() });
        }
        let repository = context.open_at(&places, Access::Unlocked).await?;
        let options = WalPushOptions::default().with_system_identifier(system).with_places(each(&places));
        let report = wal_push(&repository, &self.path, &options).await?;
        let mut ahead = Vec::new();
        if let Some(spool) = spool.filter(|_| report.is_complete()) {
            match spool.push_ahead(&repository, &report, &self.path, &options).await {
                Ok(pushed) => ahead = pushed,
                // The file that was asked for is durable, whatever became of the others.
                Err(error) => context.output.warn(&format!("nothing was pushed ahead: {error}")),
            }
        }
        document(&Pushed { report, ahead })
    }
}

fn document(pushed: &Pushed) -> Result<Report, CliError> {
    let report = &pushed.report;
    let mut text = match report.outcome {
        WalPushOutcome::Identical => format!("{} was archived already\n", report.name),
        WalPushOutcome::PushedAhead => format!("{} was pushed ahead\n", report.name),
        _ => format!("{} archived, {} of {}\n", report.name, bytes(report.stored_bytes), bytes(report.bytes)),
    };
    if !pushed.ahead.is_empty() {
        text.push_str(&format!("{} more that were ready pushed ahead\n", pushed.ahead.len()));
    }
    for missed in &report.missed {
        text.push_str(&format!("MISSED: {} does not have {}: {}\n", missed.location, missed.key, missed.error));
    }
    let ok = report.is_complete();
    Report::new(pushed, text, ok)
}
