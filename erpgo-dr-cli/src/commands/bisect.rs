//! `bisect`: finds since when data is wrong, and which transaction broke it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use erpgo_dr_core::ops::bisect::{
    BisectOptions, BisectOutcome, BisectPlan, BisectProbe, BisectReport, BisectRestore, BisectVerdict, bisect,
    plan_bisect,
};
use erpgo_dr_core::ops::physical::{RecoveryTarget, RecoveryTimeline};
use erpgo_dr_core::postgres::throwaway::RunAs;
use serde::Serialize;

use super::parse_span;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Report, bytes, seconds};

/// Find since when data is wrong: the newest good restore point, and the transaction behind it that broke the data
///
/// Restores physical backups into a throwaway folder, one after the other, and asks each; then replays the archived log behind the newest good
/// one, up to one commit after another. The number of restores is the logarithm of the number of backups and commits. The server in
/// use is not touched. The exit code is 1 when no boundary was found.
#[derive(Debug, Args)]
pub(crate) struct BisectArgs {
    /// A query that returns one row whose first column is true while the data is right
    #[arg(long, value_name = "SQL")]
    check: String,
    /// The database to ask
    #[arg(long, value_name = "NAME")]
    database: String,
    /// What it means where the check gives no answer: a table is not there yet, a page cannot be read [default: an error]
    #[arg(long, value_name = "VERDICT")]
    missing: Option<Missing>,
    /// How long the check may take: 90s, 30m; 0s for as long as it takes
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = parse_span)]
    check_timeout: Duration,
    /// Only the backups of the cluster with this system identifier
    #[arg(long, value_name = "NUMBER")]
    system: Option<u64>,
    /// Where the copy goes, in the clear, in a folder of its own that is removed at the end [default: the temporary folder]
    #[arg(long, visible_alias = "folder", value_name = "FOLDER", env = "ERPGO_DR_SCRATCH", hide_env_values = true)]
    scratch: Option<PathBuf>,
    /// The account that the copy's server runs as [default: postgres, for root]
    #[arg(long, value_name = "USER")]
    run_as: Option<String>,
    /// PostgreSQL's restore_command, which fetches WAL [default: this program's `wal fetch`]
    #[arg(long, value_name = "COMMAND")]
    restore_command: Option<String>,
    /// Search the restore points alone, and not the log between them
    #[arg(long, conflicts_with = "restore_command")]
    no_archive: bool,
    /// Say what would be searched and how much room it needs, and restore nothing
    #[arg(long)]
    dry_run: bool,
}

/// What it means where the check gives no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Missing {
    /// The data counts as right
    Good,
    /// The data counts as wrong
    Bad,
}

#[derive(Serialize)]
struct Planned {
    dry_run: bool,
    #[serde(flatten)]
    plan: BisectPlan,
}

#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    report: BisectReport,
    /// The command that brings the last good state back.
    command: Option<String>,
}

impl BisectArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let options = self.options(context)?;
        if self.dry_run {
            let plan = plan_bisect(&repository, &options).await?;
            let text = planned(&plan);
            return Report::new(&Planned { dry_run: true, plan }, text, true);
        }
        context.sweep_scratch(&options.scratch).await;
        let report = bisect(&repository, &options, context.progress()).await?;
        let is_found = !matches!(report.outcome, BisectOutcome::NeverGood | BisectOutcome::NeverBad);
        let found = Found { command: report.restore.as_ref().map(command), report };
        let text = text(&found);
        Report::new(&found, text, is_found)
    }

    fn options(&self, context: &Context) -> Result<BisectOptions, CliError> {
        let account = self.run_as.as_deref().or(context.config.verify.run_as.as_deref());
        let account = account.map(RunAs::from_user_name).transpose()?;
        let command = match (&self.restore_command, self.no_archive) {
            (_, true) => None,
            (Some(command), _) => Some(command.clone()),
            (None, _) => {
                let command = context.wal_fetch_command()?;
                if let Some(account) = account {
                    command.warnings(account).iter().for_each(|warning| context.output.warn(warning));
                }
                Some(command.line)
            }
        };
        let missing = self.missing.map(|missing| match missing {
            Missing::Good => BisectVerdict::Good,
            Missing::Bad => BisectVerdict::Bad,
        });
        let scratch = context.scratch(self.scratch.as_deref());
        Ok(BisectOptions::new(&self.database, &self.check, context.programs(), scratch)
            .with_missing(missing)
            .with_check_timeout(self.check_timeout)
            .with_system_identifier(self.system.or(context.config.wal.system))
            .with_run_as(account)
            .with_restore_command(command, context.wal_environment()))
    }
}

/// Writes the command that brings a state back. What is in it needs no quoting.
fn command(restore: &BisectRestore) -> String {
    let mut words = vec!["erpgo-dr cluster restore".to_owned(), restore.backup.to_string()];
    match &restore.target {
        RecoveryTarget::Lsn(lsn) => words.push(format!("--target-lsn {lsn}")),
        RecoveryTarget::Immediate => words.push("--immediate".to_owned()),
        _ => {}
    }
    if !restore.inclusive {
        words.push("--exclusive".to_owned());
    }
    match restore.timeline {
        RecoveryTimeline::Latest => {}
        RecoveryTimeline::Current => words.push("--timeline current".to_owned()),
        RecoveryTimeline::Id(timeline) => words.push(format!("--timeline {}", timeline.get())),
    }
    words.push("--data-dir FOLDER --start".to_owned());
    words.extend(restore.settings.iter().map(|(name, value)| format!("--server-setting {name}={value}")));
    words.join(" ")
}

fn planned(plan: &BisectPlan) -> String {
    let mut text = String::new();
    for point in &plan.points {
        text.push_str(&format!("  {}, complete {}\n", point.backup, point.finished.format("%Y-%m-%d %H:%M:%S UTC")));
    }
    text.push_str(&format!(
        "would search these {} restore points: at most {} restores, the first in full, the others over it; then the commits in the log behind \
         one of them, each question a restore over what is there and a replay\nneeds {} and what replay adds; {} are free\n",
        plan.points.len(),
        plan.most_restores,
        bytes(plan.needed_bytes),
        bytes(plan.free_bytes),
    ));
    if plan.needed_bytes > plan.free_bytes {
        text.push_str("WARNING: that is not enough\n");
    }
    text
}

fn text(found: &Found) -> String {
    let report = &found.report;
    let mut text: String = report.probes.iter().map(probe_text).collect();
    text.push_str(&format!("{}\n", report.message));
    if let Some(commits) = report.commits {
        text.push_str(&format!(
            "searched {commits} commits, {} questions in {}\n",
            report.probes.len(),
            seconds(report.seconds)
        ));
    }
    if let Some(command) = &found.command {
        text.push_str(&format!("bring the last good state back, beside what is there:\n  {command}\n"));
    }
    text
}

fn probe_text(probe: &BisectProbe) -> String {
    let verdict = if probe.verdict == BisectVerdict::Good { "good" } else { "BAD " };
    let place = match (probe.lsn, probe.transaction) {
        (Some(lsn), Some(transaction)) => format!("{} + log to {lsn} (transaction {transaction})", probe.backup),
        _ => probe.backup.to_string(),
    };
    let detail = if probe.detail.is_empty() { String::new() } else { format!(": {}", probe.detail) };
    format!("{verdict} {place}, {}{detail}\n", seconds(probe.seconds))
}
