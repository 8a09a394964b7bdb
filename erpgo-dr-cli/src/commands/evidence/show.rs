//! `evidence show`: what a bundle holds, and who had it in hand.

use clap::Args;
use erpgo_dr_core::ops::evidence::{EvidenceReport, evidence};

use super::find::find;
use super::one_line;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Align, Report, Table, moment};

/// Show what a bundle of evidence holds
#[derive(Debug, Args)]
pub(super) struct EvidenceShowArgs {
    /// The bundle: its identifier or the beginning of one, or `latest`
    #[arg(value_name = "EVIDENCE", default_value = "latest")]
    evidence: String,
}

impl EvidenceShowArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let id = find(&repository, &self.evidence).await?;
        let report = evidence(&repository, &id).await?;
        Report::new(&report, described(&report), true)
    }
}

/// Describes a bundle: where it is from, its items, its key.
pub(super) fn described(report: &EvidenceReport) -> String {
    let manifest = &report.manifest;
    let label = manifest.label.as_deref().map(|label| format!(" ({})", one_line(label))).unwrap_or_default();
    let mut text = format!(
        "evidence {}{label}\ncollected by {} on {}, {} to {}\n",
        manifest.id,
        one_line(&manifest.by.name),
        one_line(&manifest.by.host),
        moment(manifest.began),
        moment(manifest.ended)
    );
    if let Some(server) = &manifest.server {
        let state = server.unreachable.as_ref().map(|error| format!(", which could not be asked: {error}"));
        text.push_str(&format!("of the server {}{}\n", server.address, state.unwrap_or_default()));
    }
    for backup in &manifest.backups {
        text.push_str(&format!("with the backup {}, which is on hold\n", backup.id));
    }
    let mut table =
        Table::new([("ITEM", Align::Left), ("BYTES", Align::Right), ("SHA-256", Align::Left), ("", Align::Left)]);
    for item in &manifest.items {
        let error = item.error.as_deref().map(|error| format!("not whole: {}", one_line(error))).unwrap_or_default();
        table.row([item.name.clone(), item.bytes.to_string(), item.sha256[..16].to_owned(), error]);
    }
    text.push_str(&table.render());
    text.push_str(&format!("signed with the key {}\n", manifest.public_key));
    text
}
