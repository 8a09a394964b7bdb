//! `evidence note`: what people did with a bundle.

use clap::Args;
use erpgo_dr_core::ops::evidence::note_evidence;

use super::CustodianOptions;
use super::find::find;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::Report;

/// Write into the chain of custody what was done with a bundle: who got a copy
#[derive(Debug, Args)]
pub(super) struct EvidenceNoteArgs {
    /// The bundle: its identifier or the beginning of one, or `latest`
    #[arg(value_name = "EVIDENCE")]
    evidence: String,
    /// What was done
    #[arg(value_name = "TEXT")]
    text: String,
    #[command(flatten)]
    who: CustodianOptions,
}

impl EvidenceNoteArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let id = find(&repository, &self.evidence).await?;
        let entry = note_evidence(&repository, &id, &self.who.custodian(), &self.text).await?;
        let text = format!("entry {} of the chain of custody of {id} is written\n", entry.number);
        Report::new(&entry, text, true)
    }
}
