//! `evidence verify`: is it what was collected?

use std::path::PathBuf;

use clap::Args;
use erpgo_dr_core::crypto::PublicKey;
use erpgo_dr_core::ops::evidence::{EvidenceVerdict, verify_evidence, verify_exported_evidence};

use super::CustodianOptions;
use super::find::find;
use super::one_line;
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
    /// The key that was printed when it was collected [default: that of its epoch; of plain files, the one that they name themselves]
    #[arg(long, value_name = "KEY")]
    public_key: Option<PublicKey>,
    #[command(flatten)]
    who: CustodianOptions,
}

impl EvidenceVerifyArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        if let Some(folder) = &self.folder {
            let verdict = verify_exported_evidence(folder, self.public_key, context.progress()).await?;
            return told(&verdict, self.public_key.is_some());
        }
        let repository = context.repository(Access::Unlocked).await?;
        let id = find(&repository, &self.evidence).await?;
        let who = self.who.custodian();
        told(&verify_evidence(&repository, &id, self.public_key, &who, context.progress()).await?, true)
    }
}

/// Says what was found. By a key that a bundle names itself it is of one piece, and no more.
fn told(verdict: &EvidenceVerdict, by_known_key: bool) -> Result<Report, CliError> {
    let mut text = match verdict.is_sound() {
        true if !by_known_key => format!("evidence {} is of one piece: {} items", verdict.id, verdict.sound),
        true => format!("evidence {} is what was collected: {} items", verdict.id, verdict.sound),
        false => format!("evidence {} is NOT what was collected; {} items are", verdict.id, verdict.sound),
    };
    text.push_str(&format!("; checked against {}\n", verdict.signed_by));
    for finding in &verdict.findings {
        text.push_str(&format!("  {}\n", one_line(finding)));
    }
    for entry in &verdict.custody {
        let action = serde_json::to_value(entry.action).ok();
        let action = action.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let note = entry.note.as_deref().map(|note| format!(": {}", one_line(note))).unwrap_or_default();
        let by = &entry.by;
        text.push_str(&format!(
            "{:>4}  {}  {action} by {} on {}{note}\n",
            entry.number,
            moment(entry.at),
            one_line(&by.name),
            one_line(&by.host)
        ));
    }
    if let Some(reason) = &verdict.unrecorded {
        text.push_str(&format!("NOT WRITTEN into the chain of custody: {reason}\n"));
    }
    Report::new(verdict, text, verdict.is_sound() && verdict.unrecorded.is_none())
}
