//! `ha reinitialize`: the data of a member is made anew.

use std::time::Duration;

use clap::Args;
use erpgo_dr_core::topology::ha::{HaBackend as _, HaError, ReinitializeReport, reinitialize};
use serde::Serialize;

use super::super::parse_span;
use super::access::PatroniAccessOptions;
use super::confirmed;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Have the data of a member that follows be removed and made anew from another's, and wait until it follows again
#[derive(Debug, Args)]
pub(super) struct HaReinitializeArgs {
    #[command(flatten)]
    access: PatroniAccessOptions,
    /// The member
    #[arg(value_name = "MEMBER")]
    member: String,
    /// How long all of it may take
    #[arg(long, value_name = "SPAN", default_value = "4h", value_parser = parse_span)]
    limit: Duration,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before it is done
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize)]
struct Reinitialized {
    dry_run: bool,
    member: String,
    report: Option<ReinitializeReport>,
}

impl HaReinitializeArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let backend = self.access.backend(context)?;
        let cluster = backend.cluster().await?;
        let member = self.member;
        let found = cluster.member(&member)?;
        if found.role.leads() {
            return Err(HaError::IsLeader { member }.into());
        }
        let danger = format!("the data of {member}, which is {}, would be removed and made anew", found.state);
        if self.dry_run {
            return Report::new(&Reinitialized { dry_run: true, member, report: None }, format!("{danger}\n"), true);
        }
        confirmed(context, self.yes, &danger, &member).await?;
        let report = reinitialize(&backend, &member, false, self.limit).await?;
        let seconds = report.took_ms as f64 / 1000.0;
        let text = format!("{member} follows {} again, with new data, after {seconds:.1} s\n", report.leader);
        Report::new(&Reinitialized { dry_run: false, member, report: Some(report) }, text, true)
    }
}
