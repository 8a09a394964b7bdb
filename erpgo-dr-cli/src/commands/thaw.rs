//! `thaw`: asks for archived data to be made readable.

use clap::{Args, ValueEnum};
use erpgo_dr_core::ops;
use erpgo_dr_core::storage::{ThawOptions, ThawTier};

use crate::context::{Access, Context, find};
use crate::error::CliError;
use crate::output::Report;

/// Ask for a backup in an archive class to be made readable, or see how far that is
#[derive(Debug, Args)]
pub(crate) struct ThawArgs {
    /// The backup: its identifier or the beginning of one, `latest`, or `latest-proven`
    #[arg(value_name = "BACKUP")]
    backup: String,
    /// For how many days the readable copy is kept
    #[arg(long, value_name = "N", default_value_t = 7)]
    days: u32,
    /// How fast, and at what price
    #[arg(long, value_name = "TIER", default_value = "standard")]
    tier: Tier,
}

/// The speed of a thaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// Minutes; not for DEEP_ARCHIVE
    Expedited,
    /// Hours
    Standard,
    /// Half a day and more, cheapest
    Bulk,
}

impl ThawArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::KeysIfAtHand).await?;
        let catalogue = repository.catalogue().await?;
        let id = find(&catalogue, &self.backup)?.id().clone();
        let mut options = ThawOptions::default();
        options.days = self.days;
        options.tier = match self.tier {
            Tier::Expedited => ThawTier::Expedited,
            Tier::Standard => ThawTier::Standard,
            Tier::Bulk => ThawTier::Bulk,
        };
        let report = ops::thaw(&repository, &id, &options, context.progress()).await?;
        let text = match report.is_readable() {
            true => format!("backup {id}: all {} objects can be read\n", report.readable),
            false => format!(
                "backup {id}: {} objects can be read, {} are being thawed; run this again to see how far it is\n",
                report.readable, report.ongoing
            ),
        };
        Report::new(&report, text, true)
    }
}
