//! `wal stream`: receives the log as it is written.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use erpgo_dr_core::ops::wal::{
    Durability, WalStreamObserver, WalStreamOptions, WalStreamReport, WalStreamStatus, wal_stream,
};
use erpgo_dr_core::types::Lsn;
use serde::Serialize;

use super::each;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Output, Report, bytes};

/// How often progress is shown while nothing happens.
const SHOW_EVERY: Duration = Duration::from_secs(30);

/// Receive the log from a server as it is written, and archive it: a commit is off the database's host within moments
///
/// Runs until it is told to stop (Ctrl-C, SIGTERM), then archives what it has and ends with 0. Lost connections, to the server or to the
/// repository, are sought again. Run it on another host than the database's, under a service manager that starts it again.
///
/// As a synchronous standby (synchronous_standby_names = '"erpgo-dr"', or the application_name of --connection) a commit returns only
/// when it is durable as --durable says. While this does not run, commits then wait.
#[derive(Debug, Args)]
pub(super) struct StreamArgs {
    /// Where the log is kept until it is archived, in the clear; on another disk than the database's [default: `stream` in [wal]]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// The physical replication slot by which the server keeps what has not been received
    #[arg(long, value_name = "NAME")]
    slot: Option<String>,
    /// Make the slot if it is not there
    #[arg(long, requires = "slot")]
    create_slot: bool,
    /// Remove the slot, and do nothing else: the server stops keeping the log for it
    #[arg(long, requires = "slot", conflicts_with_all = ["create_slot", "until", "folder"])]
    drop_slot: bool,
    /// When the server is told that its log is durable: on the disk of the folder, or in the repository at every place
    #[arg(long, value_enum, default_value_t = Durable::Folder)]
    durable: Durable,
    /// How often the beginning of a segment that is not whole yet is archived; with --durable repository it is at once
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    upload_every: u64,
    /// End when the log is durable up to here, as in 16/B374D848
    #[arg(long, value_name = "LSN")]
    until: Option<Lsn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Durable {
    Folder,
    Repository,
}

#[derive(Serialize)]
struct Dropped<'a> {
    slot_dropped: &'a str,
}

impl StreamArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let server = context.connection()?;
        if let (Some(slot), true) = (&self.slot, self.drop_slot) {
            let mut client = server.connect_for_replication().await.map_err(erpgo_dr_core::Error::from)?;
            client.drop_slot(slot).await.map_err(erpgo_dr_core::Error::from)?;
            return Report::new(&Dropped { slot_dropped: slot }, format!("slot {slot} removed\n"), true);
        }
        let options = self.options(context)?;
        let places = context.places()?;
        let repository = context.open_at(&places, Access::Unlocked).await?;
        let options = options.with_places(each(&places));
        let teller = Arc::new(Teller { output: context.output.clone(), told: Mutex::default() });
        let stop = context.stop.requested();
        let report = wal_stream(&repository, &server, &options, teller, stop).await?;
        Report::new(&report, render(&report), report.is_complete())
    }

    fn options(&self, context: &Context) -> Result<WalStreamOptions, CliError> {
        let folder = self.folder.clone().or_else(|| context.config.wal.stream.clone());
        let folder = folder.ok_or_else(|| {
            CliError::usage(
                "no folder is named for what is not archived yet",
                "name it: --folder FOLDER, or `stream` in [wal]",
            )
        })?;
        let mut options = WalStreamOptions::new(folder)
            .with_durability(match self.durable {
                Durable::Folder => Durability::Folder,
                Durable::Repository => Durability::Repository,
            })
            .with_upload_every(Duration::from_secs(self.upload_every))
            .with_until(self.until);
        if let Some(slot) = &self.slot {
            options = options.with_slot(slot, self.create_slot);
        }
        Ok(options)
    }
}

fn render(report: &WalStreamReport) -> String {
    let position = |position: Option<Lsn>| position.map_or("?".to_owned(), |position| position.to_string());
    let mut text = format!(
        "received to {}, archived to {}, {} whole segments\n",
        position(report.durable),
        position(report.archived),
        report.segments
    );
    if let Some(problem) = &report.repository_problem {
        text.push_str(&format!("NOT ARCHIVED: {problem}\n"));
    }
    if !report.is_complete() {
        text.push_str("the rest is in the folder, and is archived at the next start\n");
    }
    text
}

/// Tells the operator what changes.
struct Teller {
    output: Output,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    status: WalStreamStatus,
    at: Option<Instant>,
}

impl WalStreamObserver for Teller {
    fn changed(&self, status: &WalStreamStatus) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = &told.status;
        if status.connections != before.connections {
            let timeline = status.timeline.map(|timeline| format!(" timeline {timeline}")).unwrap_or_default();
            self.output.note(&format!("streaming{timeline}"));
        }
        if let Some(problem) = status.server_problem.as_ref().filter(|_| status.server_problem != before.server_problem)
        {
            self.output.warn(&format!("the server is not heard: {problem}"));
        }
        let repository = &status.repository_problem;
        if let Some(problem) = repository.as_ref().filter(|_| *repository != before.repository_problem) {
            self.output.warn(&format!("the log is not archived: {problem}"));
        }
        if repository.is_none() && before.repository_problem.is_some() {
            self.output.note("the log is archived again");
        }
        if told.at.is_none_or(|at| at.elapsed() >= SHOW_EVERY) {
            told.at = Some(Instant::now());
            if let (Some(durable), Some(archived)) = (status.durable, status.archived) {
                let behind = status.server_end.map_or(0, |end| end.0.saturating_sub(archived.0));
                self.output.note(&format!("received to {durable}, archived to {archived}, {} to go", bytes(behind)));
            }
        }
        told.status = status.clone();
    }
}
