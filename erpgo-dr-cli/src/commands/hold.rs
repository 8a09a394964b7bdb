//! `hold`: keeps backups from being pruned.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::context::{Access, Context, find};
use crate::error::CliError;
use crate::output::Report;

/// Keep backups from being pruned, whatever the policy says
#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    #[command(subcommand)]
    action: HoldAction,
}

#[derive(Debug, Subcommand)]
enum HoldAction {
    /// Put a backup on hold
    Add {
        /// The backup: its identifier or the beginning of one, `latest`, or `latest-proven`
        #[arg(value_name = "BACKUP")]
        backup: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Give a backup free again
    Remove {
        /// The backup
        #[arg(value_name = "BACKUP")]
        backup: String,
    },
}

#[derive(Serialize)]
struct Held {
    backup: String,
    hold: Option<String>,
}

impl HoldArgs {
    pub(super) fn name(&self) -> &'static str {
        match self.action {
            HoldAction::Add { .. } => "hold add",
            HoldAction::Remove { .. } => "hold remove",
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let catalogue = repository.catalogue().await?;
        match self.action {
            HoldAction::Add { backup, reason } => {
                let id = find(&catalogue, &backup)?.id();
                repository.hold(id, &reason).await?;
                let text = format!("backup {id} is on hold: {reason}\n");
                Report::new(&Held { backup: id.to_string(), hold: Some(reason) }, text, true)
            }
            HoldAction::Remove { backup } => {
                let id = find(&catalogue, &backup)?.id();
                repository.release_hold(id).await?;
                let text = format!("backup {id} is no longer on hold\n");
                Report::new(&Held { backup: id.to_string(), hold: None }, text, true)
            }
        }
    }
}
