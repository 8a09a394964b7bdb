//! `wal check`: whether the archive is without gaps, and whether the server archives into it.

use clap::Args;
use erpgo_dr_core::ops::wal::{WalCheckOptions, WalCheckReport, wal_check};

use super::list;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Report, bytes, moment};

/// Check the archive for gaps and, where a server is named, whether it archives and how far it is ahead
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Only the cluster of this system identifier
    #[arg(long, value_name = "NUMBER")]
    system: Option<u64>,
    /// Read every archived file, and check every MAC
    #[arg(long)]
    verify: bool,
}

impl CheckArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let server = if context.names_server() { Some(context.connection()?) } else { None };
        let repository = context.repository(Access::Unlocked).await?;
        let system = self.system.or(context.config.wal.system);
        let options = WalCheckOptions::default().with_system_identifier(system).with_verify(self.verify);
        let report = wal_check(&repository, server.as_ref(), &options).await?;
        Report::new(&report, render(&report), report.is_healthy())
    }
}

fn render(report: &WalCheckReport) -> String {
    let mut text = list::render(&report.clusters);
    if let Some(server) = &report.server {
        let position = server.position.map_or("?".to_owned(), |position| position.to_string());
        let waiting = server.waiting.map(|files| format!(", {files} files wait")).unwrap_or_default();
        let lag = report.lag_bytes.map(|lag| format!(", {} not archived", bytes(lag))).unwrap_or_default();
        text.push_str(&format!("server at {position}{lag}{waiting}\n"));
    }
    if let Some(commit) = report.newest_commit {
        let seconds = report
            .at_risk_seconds
            .map(|seconds| format!(", {seconds:.0} s ago: what came after it is lost with the server"));
        text.push_str(&format!("newest commit archived {}{}\n", moment(commit), seconds.unwrap_or_default()));
    }
    if report.verified > 0 {
        text.push_str(&format!("{} files read\n", report.verified));
    }
    for finding in &report.findings {
        text.push_str(&format!("WRONG: {finding}\n"));
    }
    if report.is_healthy() {
        text.push_str("no gaps, nothing wrong\n");
    }
    text
}
