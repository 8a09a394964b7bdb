//! `evidence`: collected after a breach, checked, and handed on.

mod collect;
mod export;
mod find;
mod list;
mod note;
mod show;
mod verify;

use clap::{Args, Subcommand};
use erpgo_dr_core::ops::evidence::Custodian;

use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Collect evidence of a breach, sealed and signed, and prove later that it is what was collected
#[derive(Debug, Args)]
pub(crate) struct EvidenceArgs {
    #[command(subcommand)]
    action: EvidenceAction,
}

#[derive(Debug, Subcommand)]
enum EvidenceAction {
    Collect(collect::EvidenceCollectArgs),
    List(list::EvidenceListArgs),
    Show(show::EvidenceShowArgs),
    Verify(verify::EvidenceVerifyArgs),
    Export(export::EvidenceExportArgs),
    Note(note::EvidenceNoteArgs),
}

/// Who has the evidence in hand.
#[derive(Debug, Clone, Args)]
struct CustodianOptions {
    /// Who you are, for the chain of custody [default: the user of this process]
    #[arg(long, value_name = "NAME", env = "ERPGO_DR_OPERATOR")]
    operator: Option<String>,
}

impl CustodianOptions {
    fn custodian(&self) -> Custodian {
        Custodian::here(self.operator.clone().unwrap_or_else(Context::user))
    }
}

/// Returns a text that somebody else may have written so that it cannot pass for more than one line of ours.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl EvidenceArgs {
    pub(super) fn name(&self) -> &'static str {
        match self.action {
            EvidenceAction::Collect(_) => "evidence collect",
            EvidenceAction::List(_) => "evidence list",
            EvidenceAction::Show(_) => "evidence show",
            EvidenceAction::Verify(_) => "evidence verify",
            EvidenceAction::Export(_) => "evidence export",
            EvidenceAction::Note(_) => "evidence note",
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        match self.action {
            EvidenceAction::Collect(arguments) => arguments.run(context).await,
            EvidenceAction::List(arguments) => arguments.run(context).await,
            EvidenceAction::Show(arguments) => arguments.run(context).await,
            EvidenceAction::Verify(arguments) => arguments.run(context).await,
            EvidenceAction::Export(arguments) => arguments.run(context).await,
            EvidenceAction::Note(arguments) => arguments.run(context).await,
        }
    }
}
