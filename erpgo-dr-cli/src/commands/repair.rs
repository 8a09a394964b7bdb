//! `repair`: heals the places of a repository from one another.

use clap::Args;
use erpgo_dr_core::ops::{self, RepairOutcome};
use erpgo_dr_core::storage::RepairOptions;

use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Report, bytes};

/// Bring all places of the repository up to date from one another
///
/// What one lacks or has wrong is copied from another, and what a prune could not remove everywhere is removed.
#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// Say what differs, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Read and compare every byte, not only sizes
    #[arg(long)]
    deep: bool,
    /// Only objects in this folder of the repository
    #[arg(long, value_name = "KEY", default_value = "")]
    prefix: String,
}

impl RepairArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let places = context.places()?;
        let Some(replicated) = &places.replicated else {
            return Err(CliError::usage(
                "the repository has one place only: there is nothing to heal it from",
                "name the others with --replica ADDRESS or [[replica]] in erpgo-dr.toml",
            ));
        };
        let repository = context.open_at(&places, Access::Unlocked).await?;
        let options = RepairOptions::default().with_deep(self.deep).with_prefix(self.prefix);
        let outcome = ops::repair(&repository, replicated, &options, self.dry_run, context.progress()).await?;
        let names: Vec<String> = replicated.places().iter().map(|place| place.location()).collect();
        Report::new(&outcome, render(&outcome, &names), outcome.is_healthy())
    }
}

fn render(outcome: &RepairOutcome, places: &[String]) -> String {
    let name = |number: usize| places.get(number).map_or("?", String::as_str);
    let mut text = format!("{} objects in {} places compared\n", outcome.plan.objects, places.len());
    for action in &outcome.plan.actions {
        let word = if action.replaces { "wrong" } else { "missing" };
        text.push_str(&format!(
            "{word} at {}: {} ({}), from {}\n",
            name(action.to),
            action.key,
            bytes(action.size),
            name(action.from)
        ));
    }
    for key in &outcome.plan.unresolved {
        text.push_str(&format!("LOST: no place has a right copy of {key}\n"));
    }
    let removed = outcome.report.as_ref().map_or(0, |report| report.removed);
    let left = outcome.plan.strays.len() as u64 - removed;
    if removed > 0 {
        text.push_str(&format!("{removed} objects of backups that prune removed were still there, and are gone\n"));
    }
    match (left, &outcome.report) {
        (0, _) => {}
        (_, None) => text.push_str(&format!("{left} objects belong to no backup; those of removed ones would go\n")),
        (_, Some(_)) => text.push_str(&format!("{left} objects belong to no backup and are left to prune\n")),
    }
    let failures = outcome.report.iter().flat_map(|report| &report.failures).chain(&outcome.plan.failures);
    for failure in failures {
        let key = failure.key.as_ref().map(|key| format!(" {key}")).unwrap_or_default();
        text.push_str(&format!("FAILED: {}{key}: {}\n", failure.location, failure.error));
    }
    text.push_str(&match &outcome.report {
        None if outcome.plan.actions.is_empty() => "nothing to do\n".to_owned(),
        None => format!("{} copies to make; nothing was done (--dry-run)\n", outcome.plan.actions.len()),
        Some(report) => format!("{} objects copied, {}\n", report.copied, bytes(report.bytes)),
    });
    text
}
