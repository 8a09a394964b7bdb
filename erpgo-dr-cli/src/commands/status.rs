//! `status`: could we restore right now?

use chrono::TimeDelta;
use clap::Args;
use erpgo_dr_core::Repository;
use erpgo_dr_core::ops::drill::{DrillState, Scenario, forecast};
use erpgo_dr_core::ops::{self, RecoveryWindow, Status, WindowMemory, recovery_windows_with};
use erpgo_dr_core::runbook::Span;
use serde::Serialize;

use super::drill::{due, told};
use super::list::problems;
use crate::context::{Access, Context, Places, parse_age};
use crate::error::{self, CliError};
use crate::output::{Report, bytes, moment, seconds};

/// Say whether one could restore right now, to which moment, and how long it would take
///
/// Ends with exit code 1 when the repository is not healthy, for monitoring.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Unhealthy if the newest proven backup is older: 8h, 2d
    #[arg(long, value_name = "SPAN")]
    max_age: Option<String>,
    /// Look again and again until told to stop, every TIME: 5s, 1m
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "5s")]
    watch: Option<Span>,
}

/// Whether one could restore, and what there is to say about it.
#[derive(Serialize)]
pub(super) struct Health {
    pub(super) healthy: bool,
    max_age_seconds: Option<i64>,
    too_old: bool,
    /// Drills that were due and were not done.
    drills_overdue: Vec<Scenario>,
    /// How long recovery would take today, by what was measured.
    predicted_rto_seconds: Option<f64>,
    /// To which moments clusters can be brought back.
    windows: Vec<RecoveryWindow>,
    #[serde(flatten)]
    pub(super) status: Status,
}

impl StatusArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let max_age = match &self.max_age {
            Some(text) => Some(parse_age(text)?),
            None => context.max_age()?,
        };
        let places = context.places()?;
        let repository = context.open_at(&places, Access::Unlocked).await?;
        let memory = WindowMemory::default();
        let look = async || {
            let health = health(context, &places, &repository, max_age, &memory).await?;
            Report::new(&health, render(&health), health.healthy)
        };
        let Some(every) = self.watch else { return look().await };
        let mut stop = std::pin::pin!(context.stop.requested());
        loop {
            let looked = look().await;
            match &looked {
                Ok(report) => {
                    context.output.refresh(report).map_err(|source| error::io("write to standard output", source))?;
                }
                // Who watches wants to see when it answers again.
                Err(error) => context.output.warn(&error.to_string()),
            }
            tokio::select! {
                () = stop.as_mut() => return looked.map(Report::without_text),
                () = tokio::time::sleep(every.duration()) => {}
            }
        }
    }
}

/// Finds out whether one could restore.
pub(super) async fn health(
    context: &Context,
    places: &Places,
    repository: &Repository,
    max_age: Option<TimeDelta>,
    memory: &WindowMemory,
) -> Result<Health, CliError> {
    let catalogue = context.catalogue_at(places, repository).await?;
    let status = ops::status_of(repository, &catalogue);
    // What is wrong with drills says nothing of whether one could restore.
    let drills = repository.drills().await.unwrap_or_default();
    told(context, &drills);
    let drills = drills.records;
    let overdue = due(&context.config, repository, &drills).into_iter();
    let drills_overdue =
        overdue.filter(|drill| drill.state == DrillState::Overdue).map(|drill| drill.scenario).collect();
    // What cannot be predicted is no reason to leave the rest unsaid.
    let predicted = forecast(repository, &catalogue, &drills).await.ok().flatten();
    let predicted_rto_seconds = predicted.map(|found| found.rto_seconds);
    // Nor is what cannot be asked of the archive.
    let windows = recovery_windows_with(repository, &catalogue, memory).await.unwrap_or_else(|error| {
        context.output.warn(&format!("the recovery window is not known: {error}"));
        Vec::new()
    });
    let limit = max_age.map(|age| age.num_seconds());
    let too_old = match (limit, status.rpo_seconds) {
        (Some(limit), Some(age)) => age > limit as f64,
        _ => false,
    };
    let healthy = status.is_healthy() && !too_old;
    Ok(Health { healthy, max_age_seconds: limit, too_old, drills_overdue, predicted_rto_seconds, windows, status })
}

fn render(health: &Health) -> String {
    let status = &health.status;
    let mut text = format!("{}\n", if health.healthy { "healthy" } else { "UNHEALTHY" });
    text.push_str(&format!("repository {} at {}\n", status.repository, status.location));
    text.push_str(&format!("backups {}, {} stored\n", status.backups, bytes(status.stored_bytes)));
    match &status.latest {
        Some(latest) => text.push_str(&format!("newest backup {}, begun {}\n", latest.id, moment(latest.created))),
        None => text.push_str("no backup yet: `erpgo-dr backup` takes one\n"),
    }
    match (&status.latest_proven, status.rpo_seconds) {
        (Some(proven), Some(rpo)) => {
            let level = proven.proven.map(|level| level.to_string()).unwrap_or_default();
            text.push_str(&format!("newest proven backup {} ({level})\n", proven.id));
            text.push_str(&format!("RPO {}: what a restore now would lose\n", seconds(rpo)));
        }
        _ => text.push_str("NO PROVEN BACKUP: `erpgo-dr verify` proves one\n"),
    }
    health.windows.iter().for_each(|window| text.push_str(&render_window(window)));
    match (status.rto_seconds, status.restore_tested) {
        (Some(rto), Some(tested)) => {
            text.push_str(&format!("RTO {}: what the restore test of {} took\n", seconds(rto), moment(tested)));
        }
        _ => text.push_str("RTO unknown: `erpgo-dr verify --restore` measures it\n"),
    }
    if let Some(predicted) = health.predicted_rto_seconds {
        text.push_str(&format!("RTO {} predicted for a recovery now\n", seconds(predicted)));
    }
    for scenario in &health.drills_overdue {
        text.push_str(&format!("DRILL OVERDUE: {scenario} (`erpgo-dr drill calendar`)\n"));
    }
    if let (true, Some(limit)) = (health.too_old, health.max_age_seconds) {
        text.push_str(&format!("TOO OLD: the newest proven backup may be {} old\n", seconds(limit as f64)));
    }
    for id in &status.in_the_future {
        text.push_str(&format!("IN THE FUTURE: {id}: a clock was wrong when it was taken, or is now\n"));
    }
    for id in &status.failed {
        text.push_str(&format!("FAILED: the last verification of {id} (`erpgo-dr show {id}` says why)\n"));
    }
    text.push_str(&problems(&status.problems));
    text
}

/// Says to which moments a cluster can be brought back, and to which it cannot.
fn render_window(window: &RecoveryWindow) -> String {
    let (Some(first), Some(last)) = (window.spans.first(), window.spans.last()) else { return String::new() };
    let cluster = window.system_identifier;
    if !window.archived {
        return format!(
            "cluster {cluster}: the moments of its backups, the newest {}: its log is not archived\n",
            moment(last.from)
        );
    }
    let mut text = format!("cluster {cluster}: every moment from {} to {}\n", moment(first.from), moment(last.until));
    for (from, until) in window.gaps() {
        text.push_str(&format!("  BUT NOT from {} to {}\n", moment(from), moment(until)));
    }
    if window.cut_off {
        text.push_str("  AND NOTHING LATER: the archive goes on behind a gap; `erpgo-dr cluster backup` now\n");
    }
    text
}
