//! `evidence list`: which bundles there are.

use clap::Args;
use erpgo_dr_core::ops::evidence::list_evidence;

use super::one_line;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Align, Report, Table, moment};

/// List the bundles of evidence
#[derive(Debug, Args)]
pub(super) struct EvidenceListArgs {}

impl EvidenceListArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let listing = list_evidence(&repository).await?;
        for found in &listing.unreadable {
            context.output.warn(&format!("{}: {}", found.id, found.reason));
        }
        let mut table = Table::new(["EVIDENCE", "COLLECTED", "BY", "ITEMS", "LABEL"].map(|name| (name, Align::Left)));
        for report in &listing.evidence {
            let manifest = &report.manifest;
            let whole = manifest.items.iter().filter(|item| item.error.is_none()).count();
            table.row([
                manifest.id.to_string(),
                moment(manifest.began),
                manifest.by.name.clone(),
                format!("{whole} of {} whole", manifest.items.len()),
                manifest.label.as_deref().map(one_line).unwrap_or_default(),
            ]);
        }
        Report::new(&listing, table.render(), listing.unreadable.is_empty())
    }
}
