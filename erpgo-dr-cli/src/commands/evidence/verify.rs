//! `evidence verify`: is it what was collected?

use std::path::PathBuf;

use clap::Args;
use erpgo_dr_core::crypto::PublicKey;
use erpgo_dr_core::ops::evidence::{EvidenceVerdict, verify_evidence, verify_exported_evidence};

use super::CustodianOptions;
use super::find::find;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Report, moment};

/// Check that evidence is what was collected: every byte, the signature, the backups, the chain of custody
#[derive(Debug, Args)]
pub(super) struct EvidenceVerifyArgs {
    /// The bundle: its identifier or the beginning of one, or `latest`
    #[arg(value_name = "EVIDENCE", default_value = "latest", conflicts_with = "folder")]
    evidence: String,
    /// Check plain files that were handed out; no repository is needed
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// The key that the files must be signed with [default: the one that they name themselves]
    #[arg(long, value_name = "KEY", requires = "folder")]
    public_key: Option<PublicKey>,
    #[command(flatten)]
    who: CustodianOptions,
}

impl EvidenceVerifyArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        if let Some(folder) = &self.folder {
            return told(&verify_exported_evidence(folder, self.public_key, context.progress()).await?);
        }
        let repository = context.repository(Access::Unlocked).await?;
        let id = find(&repository, &self.evidence).await?;
        told(&verify_evidence(&repository, &id, &self.who.custodian(), context.progress()).await?)
    }
}

fn told(verdict: &EvidenceVerdict) -> Result<Report, CliError> {
    let mut text = match verdict.is_sound() {
        true => format!("evidence {} is what was collected: {} items", verdict.id, verdict.sound),
        false => format!("evidence {} is NOT what was collected; {} items are", verdict.id, verdict.sound),
    };
    text.push_str(&format!("; checked against {}\n", verdict.signed_by));
    for finding in &verdict.findings {
        text.push_str(&format!("  {finding}\n"));
    }
    for entry in &verdict.custody {
        let action = serde_json::to_value(entry.action).ok();
        let action = action.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let note = entry.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
        let by = &entry.by;
        text.push_str(&format!(
            "{:>4}  {}  {action} by {} on {}{note}\n",
            entry.number,
            moment(entry.at),
            by.name,
            by.host
        ));
    }
    Report::new(verdict, text, verdict.is_sound())
}
