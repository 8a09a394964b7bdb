//! `wal fetch`: restores a file from the archive, and fetches the next ones ahead.

use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;
use erpgo_dr_core::ops::wal::{
    WalFetchOptions, WalFetchReport, WalPrefetchOptions, WalSpool, wal_cluster_around, wal_fetch, wal_prefetch,
};
use erpgo_dr_core::types::{WalFileName, WalSegmentName, WalSegmentSize};

use super::{HostOptions, each};
use crate::context::{Access, Context};
use crate::error::{self, CliError};
use crate::output::{Report, bytes};

/// The name of this command, whose exit codes PostgreSQL reads.
pub(crate) const FETCH: &str = "wal fetch";

/// Segments that are fetched ahead where nothing is said.
const PREFETCH: usize = 8;

/// Restore a file of the write-ahead log: restore_command = 'erpgo-dr wal fetch %f %p'
///
/// Ends with 0 when the file is there, with 1 only when it is not in the archive, and above 200 for any fault: PostgreSQL takes an
/// exit code up to 125 for the end of the log, and ends recovery.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 restored, 1 not in the archive, 130 and 143 signals, and for every fault 200 more than elsewhere:
202 usage or configuration, 203 invalid, 204 no such repository, 206 locked, 207 integrity, 209 permission,
210 no space, 211 unavailable, 215 io and anything unexpected.")]
pub(super) struct FetchArgs {
    /// The file: %f of restore_command
    #[arg(value_name = "NAME")]
    name: WalFileName,
    /// Where to write it: %p of restore_command
    #[arg(value_name = "DESTINATION")]
    destination: PathBuf,
    #[command(flatten)]
    host: HostOptions,
    /// Segments to fetch ahead into the spool, in the background; 0 is none [default: 8]
    #[arg(long, value_name = "N")]
    prefetch: Option<usize>,
    /// Only fetches ahead: what the background process does
    #[arg(long, value_name = "SYSTEM:BYTES", hide = true, value_parser = parse_ahead)]
    only_ahead: Option<(u64, WalSegmentSize)>,
}

fn parse_ahead(text: &str) -> Result<(u64, WalSegmentSize), String> {
    let parsed = text
        .split_once(':')
        .and_then(|(system, bytes)| Some((system.parse().ok()?, WalSegmentSize::new(bytes.parse().ok()?)?)));
    parsed.ok_or_else(|| "expected a system identifier and a size of segments".to_owned())
}

impl FetchArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let ahead = self.ahead(context);
        if let Some((system, size)) = self.only_ahead {
            return self.fetch_ahead(context, ahead, system, size).await;
        }
        let system = self.host.system(context).or_else(|| wal_cluster_around(&self.destination));
        if let (Some((spool, _)), WalFileName::Segment(name), Some(system)) = (&ahead, self.name, system)
            && let Some(bytes) = spool.take(system, name, &self.destination).await?
        {
            let report = WalFetchReport::restored(system, self.name, bytes);
            return self.finish(context, ahead, &report);
        }
        let places = context.places()?;
        let repository = context.open_at(&places, Access::Unlocked).await?;
        let options = WalFetchOptions::default().with_system_identifier(system).with_places(each(&places));
        let report = wal_fetch(&repository, self.name, &self.destination, &options).await?;
        self.finish(context, ahead, &report)
    }

    /// Returns the spool and how far to fetch ahead, if it is wanted.
    fn ahead(&self, context: &Context) -> Option<(WalSpool, WalPrefetchOptions)> {
        let segments = self.prefetch.or(context.config.wal.prefetch).unwrap_or(PREFETCH);
        let options = WalPrefetchOptions::new(NonZeroUsize::new(segments)?);
        Some((self.host.spool(context)?, options))
    }

    fn finish(
        &self,
        context: &Context,
        ahead: Option<(WalSpool, WalPrefetchOptions)>,
        report: &WalFetchReport,
    ) -> Result<Report, CliError> {
        if let (Some((spool, options)), WalFileName::Segment(name), true) = (ahead, self.name, report.found) {
            let begun = spool.delivered(report.system_identifier, name, &self.destination, &options);
            let begun = begun.map_err(CliError::from).and_then(|size| match size {
                Some(size) => begin_ahead(report.system_identifier, size),
                None => Ok(()),
            });
            // What was asked for is there; that the next ones are not yet is no fault.
            if let Err(error) = begun {
                context.output.warn(&format!("nothing is fetched ahead: {error}"));
            }
        }
        let text = match (report.found, report.partial) {
            (true, false) => format!("{} restored, {}\n", report.name, bytes(report.bytes)),
            (true, true) => format!("{} restored as far as it was received, {}\n", report.name, bytes(report.bytes)),
            (false, _) => format!("{} is not in the archive\n", report.name),
        };
        Report::new(report, text, report.found)
    }

    async fn fetch_ahead(
        &self,
        context: &Context,
        ahead: Option<(WalSpool, WalPrefetchOptions)>,
        system: u64,
        size: WalSegmentSize,
    ) -> Result<Report, CliError> {
        let (Some((spool, options)), WalFileName::Segment(name)) = (ahead, self.name) else {
            return Ok(Report::written());
        };
        let places = context.places()?;
        let repository = context.open_at(&places, Access::Unlocked).await?;
        let options = options.with_places(each(&places));
        let name: WalSegmentName = name;
        let report = wal_prefetch(&repository, &spool, (system, name, size), &options).await?;
        Report::new(&report, String::new(), true)
    }
}

/// Starts this program once more, with the same arguments, to fetch ahead while PostgreSQL replays.
fn begin_ahead(system: u64, size: WalSegmentSize) -> Result<(), CliError> {
    let program = std::env::current_exe().map_err(|source| error::io("find this program", source))?;
    let child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--only-ahead")
        .arg(format!("{system}:{}", size.bytes()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // PostgreSQL signals the group of its own when it is told to stop.
        .process_group(0)
        .spawn();
    // Nobody waits for it: init inherits it as soon as this process ends.
    child.map(drop).map_err(|source| error::io("start the process that fetches ahead", source))
}
