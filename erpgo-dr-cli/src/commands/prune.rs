//! `prune`: removes what no policy keeps.

use clap::Args;
use erpgo_dr_core::ops::{self, PruneOptions, PruneReport};
use erpgo_dr_core::retention::{RetentionError, RetentionSettings};

use super::wal::render_wal;
use crate::config::ConfigError;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Align, Report, Table, bytes};

/// Remove backups that no rule keeps, and what crashed runs left
///
/// Rules of options go over those of [retention] in the configuration one by one. The last proven backup, what is on
/// hold, and what another backup needs always stay.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Say what would be removed, and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Keep the newest backup of so many days
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// Keep the newest backup of so many ISO weeks
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// Keep the newest backup of so many months
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// Keep the newest backup of so many years
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Keep the newest so many
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep all that are no older: 36h, 14d, 8w
    #[arg(long, value_name = "SPAN")]
    keep_within: Option<String>,
    /// Keep all of the write-ahead log, also what lies before the oldest physical backup of its cluster
    #[arg(long)]
    keep_wal: bool,
    /// Remove only leftovers of crashed runs
    #[arg(long)]
    keep_all: bool,
    /// How long leftovers must have lain untouched: 1h, 2d
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    grace: String,
}

impl PruneArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let policy = self.settings(context)?.policy().map_err(|error| wrong(&error))?;
        let grace = RetentionSettings::parse_duration(&self.grace).map_err(|error| wrong(&error))?;
        let repository = context.repository(Access::Unlocked).await?;
        if !self.dry_run {
            context.sweep_scratch(&context.scratch(None)).await;
        }
        let options = PruneOptions::default().with_dry_run(self.dry_run).with_grace(grace).with_keep_wal(self.keep_wal);
        let report = ops::prune(&repository, policy.as_ref(), &options, context.progress()).await?;
        Report::new(&report, render(&report), report.missed.is_empty())
    }

    fn settings(&self, context: &Context) -> Result<RetentionSettings, CliError> {
        let mut settings = configured_retention(context)?;
        settings.daily = self.keep_daily.unwrap_or(settings.daily);
        settings.weekly = self.keep_weekly.unwrap_or(settings.weekly);
        settings.monthly = self.keep_monthly.unwrap_or(settings.monthly);
        settings.yearly = self.keep_yearly.unwrap_or(settings.yearly);
        settings.last = self.keep_last.or(settings.last);
        if let Some(span) = &self.keep_within {
            settings.within = Some(RetentionSettings::parse_age(span).map_err(|error| wrong(&error))?);
        }
        settings.keep_all |= self.keep_all;
        Ok(settings)
    }
}

/// Returns what is kept by the configuration alone.
pub(super) fn configured_retention(context: &Context) -> Result<RetentionSettings, CliError> {
    Ok(match &context.config.retention {
        Some(settings) => settings.clone(),
        None => context.env_file.retention()?.unwrap_or_default(),
    })
}

fn wrong(error: &RetentionError) -> CliError {
    ConfigError::Invalid { message: error.to_string() }.into()
}

fn render(report: &PruneReport) -> String {
    let mut text = format!("policy: {}\n", report.policy);
    if !report.decisions.is_empty() {
        let mut table = Table::new([("BACKUP", Align::Left), ("", Align::Left), ("WHY", Align::Left)]);
        for decision in &report.decisions {
            let word = match (decision.keep, report.dry_run) {
                (true, _) => "keep",
                (false, true) => "REMOVE",
                (false, false) => "removed",
            };
            table.row([decision.id.to_string(), word.to_owned(), decision.reasons.join(", ")]);
        }
        text.push_str(&table.render());
    }
    let freed: u64 = report.removed.iter().map(|pruned| pruned.bytes).sum();
    let verb = if report.dry_run { "would be removed" } else { "removed" };
    text.push_str(&format!(
        "{} of {} backups {verb}, {}\n",
        report.removed.len(),
        report.decisions.len(),
        bytes(freed)
    ));
    text.push_str(&render_wal(&report.wal, verb));
    if !report.leftover_runs.is_empty() {
        let (runs, left) = (report.leftover_runs.len(), bytes(report.leftover_bytes));
        text.push_str(&format!("leftovers of {runs} crashed runs {verb}, {left}\n"));
    }
    if report.unfinished_writes > 0 {
        text.push_str(&format!("{} unfinished writes removed\n", report.unfinished_writes));
    }
    for miss in &report.missed {
        text.push_str(&format!("MISSED: {} still has {}: {}\n", miss.location, miss.key, miss.error));
    }
    if report.dry_run {
        text.push_str("nothing was done (--dry-run)\n");
    }
    text
}
