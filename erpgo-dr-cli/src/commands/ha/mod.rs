//! `ha`: a cluster that Patroni runs, asked and told.

mod access;
mod change;
mod pause;
mod reinitialize;
mod show;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Ask Patroni who leads, and have another member lead
#[derive(Debug, Args)]
pub(crate) struct HaArgs {
    #[command(subcommand)]
    action: HaAction,
}

#[derive(Debug, Subcommand)]
enum HaAction {
    Show(show::HaShowArgs),
    /// Have a leader that is well hand over to another member, and prove that nothing is lost
    Switchover(change::HaChangeArgs),
    /// Have a member lead instead of a leader that is lost, and say what is lost as far as it is known; ends with 1 if something is, or may be
    Failover(change::HaFailoverArgs),
    /// Have Patroni replace nobody by itself
    Pause(pause::HaPauseArgs),
    /// Have Patroni replace who is lost by itself again
    Resume(pause::HaPauseArgs),
    Reinitialize(reinitialize::HaReinitializeArgs),
}

impl HaArgs {
    pub(super) fn name(&self) -> &'static str {
        match self.action {
            HaAction::Show(_) => "ha show",
            HaAction::Switchover(_) => "ha switchover",
            HaAction::Failover(_) => "ha failover",
            HaAction::Pause(_) => "ha pause",
            HaAction::Resume(_) => "ha resume",
            HaAction::Reinitialize(_) => "ha reinitialize",
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        match self.action {
            HaAction::Show(arguments) => arguments.run(context).await,
            HaAction::Switchover(arguments) => arguments.switchover(context).await,
            HaAction::Failover(arguments) => arguments.run(context).await,
            HaAction::Pause(arguments) => arguments.run(context, true).await,
            HaAction::Resume(arguments) => arguments.run(context, false).await,
            HaAction::Reinitialize(arguments) => arguments.run(context).await,
        }
    }
}

/// Asks the operator before something that may hurt.
async fn confirmed(context: &Context, yes: bool, danger: &str, word: &str) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    let hint = "give --yes if this is meant; --dry-run shows what would be done".to_owned();
    if !context.prompts.can_ask() {
        return Err(CliError::Refused { message: format!("{danger}, and there is no terminal to ask on"), hint });
    }
    match context.prompts.confirm(&format!("{danger}."), word).await? {
        true => Ok(()),
        false => Err(CliError::Refused { message: "not confirmed; nothing was done".to_owned(), hint }),
    }
}
