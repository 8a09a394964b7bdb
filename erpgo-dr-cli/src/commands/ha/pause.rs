//! `ha pause` and `ha resume`: whether Patroni replaces who is lost by itself.

use std::time::Duration;

use clap::Args;
use erpgo_dr_core::topology::ha::{HaBackend as _, PauseReport, set_paused};
use serde::Serialize;

use super::super::parse_span;
use super::access::PatroniAccessOptions;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

#[derive(Debug, Args)]
pub(super) struct HaPauseArgs {
    #[command(flatten)]
    access: PatroniAccessOptions,
    /// How long it may take until every member knows
    #[arg(long, value_name = "SPAN", default_value = "1m", value_parser = parse_span)]
    limit: Duration,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Paused {
    dry_run: bool,
    paused: bool,
    changed: bool,
    unaware: Vec<String>,
}

impl HaPauseArgs {
    pub(super) async fn run(self, context: &Context, paused: bool) -> Result<Report, CliError> {
        let backend = self.access.backend(context)?;
        let state = if paused { "paused" } else { "not paused" };
        if self.dry_run {
            let changed = backend.cluster().await?.paused != paused;
            let text = if changed {
                format!("the cluster would be {state}\n")
            } else {
                format!("the cluster is {state} already\n")
            };
            return Report::new(&Paused { dry_run: true, paused, changed, unaware: Vec::new() }, text, true);
        }
        let report: PauseReport = set_paused(&backend, paused, self.limit).await?;
        let (changed, unaware) = (report.changed, report.unaware);
        let already = if changed { "now" } else { "already" };
        let mut text = format!("the cluster is {state} {already}\n");
        if !unaware.is_empty() {
            text.push_str(&format!("! no answer from {}\n", unaware.join(", ")));
        }
        Report::new(&Paused { dry_run: false, paused, changed, unaware }, text, true)
    }
}
