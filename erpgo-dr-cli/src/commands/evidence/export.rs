//! `evidence export`: plain files for whoever investigates.

use std::path::PathBuf;

use clap::Args;
use erpgo_dr_core::ops::evidence::export_evidence;

use super::CustodianOptions;
use super::find::find;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::Report;

/// Hand a bundle out as plain files, with its signature; that is written into the chain of custody
#[derive(Debug, Args)]
pub(super) struct EvidenceExportArgs {
    /// The bundle: its identifier or the beginning of one, or `latest`
    #[arg(value_name = "EVIDENCE")]
    evidence: String,
    /// The folder, which is not there yet
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    #[command(flatten)]
    who: CustodianOptions,
}

impl EvidenceExportArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let id = find(&repository, &self.evidence).await?;
        let who = self.who.custodian();
        let export = export_evidence(&repository, &id, &self.folder, &who, context.progress()).await?;
        let text = format!(
            "{} items of {id} are in {}: plain, for nobody but their owner\nhand the key over by another way: {}\n`erpgo-dr evidence verify --folder {} --public-key KEY` checks them, and so do openssl and sha256sum\n",
            export.items,
            export.folder.display(),
            export.public_key,
            export.folder.display()
        );
        Report::new(&export, text, true)
    }
}
