//! `ha switchover` and `ha failover`: another member leads.

use std::time::Duration;

use clap::Args;
use erpgo_dr_core::topology::ha::{
    ChangeKind, ChangeOptions, ChangePlan, ChangeReport, HaError, PatroniBackend, carry_out, plan_failover,
    plan_switchover,
};
use serde::Serialize;

use super::super::parse_span;
use super::access::PatroniAccessOptions;
use super::confirmed;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Report, bytes};

#[derive(Debug, Args)]
pub(super) struct HaFailoverArgs {
    #[command(flatten)]
    change: HaChangeArgs,
    /// Replace a leader that is well and answers, too
    #[arg(long)]
    even_if_well: bool,
}

#[derive(Debug, Args)]
pub(super) struct HaChangeArgs {
    #[command(flatten)]
    access: PatroniAccessOptions,
    /// Who leads now: where another does, nothing is done
    #[arg(long, value_name = "MEMBER")]
    leader: Option<String>,
    /// Who is to lead [default: the most suitable, unless the cluster is paused]
    #[arg(long, value_name = "MEMBER")]
    candidate: Option<String>,
    /// Bytes that it may be behind
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    max_lag: u64,
    /// How long the change is waited for; questions that hang may add some seconds
    #[arg(long, value_name = "SPAN", default_value = "2m", value_parser = parse_span)]
    limit: Duration,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before it is done
    #[arg(short, long)]
    yes: bool,
}

#[derive(Serialize)]
struct Changed {
    dry_run: bool,
    plan: ChangePlan,
    report: Option<ChangeReport>,
}

impl HaChangeArgs {
    pub(super) async fn switchover(self, context: &Context) -> Result<Report, CliError> {
        let options = self.options();
        self.change(context, ChangeKind::Switchover, options).await
    }

    fn options(&self) -> ChangeOptions {
        let options = ChangeOptions::default().with_leader(self.leader.clone()).with_candidate(self.candidate.clone());
        options.with_max_lag(self.max_lag).with_limit(self.limit)
    }

    async fn change(self, context: &Context, kind: ChangeKind, options: ChangeOptions) -> Result<Report, CliError> {
        let backend = self.access.backend(context)?;
        let mut plan = planned(&backend, kind, &options).await?;
        let danger = danger(&plan);
        if self.dry_run {
            return Report::new(&Changed { dry_run: true, plan, report: None }, format!("{danger}\n"), true);
        }
        let word = if plan.kind == ChangeKind::Switchover { "SWITCH" } else { "FAILOVER" };
        confirmed(context, self.yes, &danger, word).await?;
        if !self.yes {
            // Much may have happened while somebody thought about it.
            let now = planned(&backend, kind, &options.with_candidate(Some(plan.candidate.clone()))).await?;
            if !now.is_same_change(&plan) {
                return Err(CliError::Refused {
                    message: "the cluster has changed since the question; nothing was done".to_owned(),
                    hint: "`erpgo-dr ha show` shows it; ask for the change again".to_owned(),
                });
            }
            plan = now;
        }
        let report = carry_out(&backend, &plan, self.limit).await?;
        // Who does not follow yet, right behind a change, may do so in a moment: that is for `ha show`.
        let ok = report.is_clean();
        let text = text(&report);
        Report::new(&Changed { dry_run: false, plan, report: Some(report) }, text, ok)
    }
}

impl HaFailoverArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let options = self.change.options().with_even_if_well(self.even_if_well);
        self.change.change(context, ChangeKind::Failover, options).await
    }
}

async fn planned(backend: &PatroniBackend, kind: ChangeKind, options: &ChangeOptions) -> Result<ChangePlan, HaError> {
    match kind {
        ChangeKind::Switchover => plan_switchover(backend, options).await,
        _ => plan_failover(backend, options).await,
    }
}

fn danger(plan: &ChangePlan) -> String {
    let leader = plan.leader.as_deref().unwrap_or("a member that is not known");
    let behind = plan.behind_bytes.map_or_else(|| "an unknown number of bytes".to_owned(), bytes);
    let candidate = &plan.candidate;
    match plan.kind {
        ChangeKind::Switchover => {
            format!(
                "{leader} leads, and would hand over to {candidate}, which is {behind} behind; until then nothing can be written"
            )
        }
        _ => {
            let mut text = format!(
                "{leader} leads or led, and {candidate} would; what it does not have would be lost: {behind} by what is known, and perhaps more"
            );
            if plan.paused {
                text.push_str(&format!(
                    "; the cluster is paused, so that nobody stops {leader} from taking writes beside it: fence it first"
                ));
            }
            text
        }
    }
}

fn text(report: &ChangeReport) -> String {
    let lost = match report.lost_bytes {
        _ if report.standby_cluster => "nothing is written in a cluster that follows another".to_owned(),
        Some(0) if report.leader_answered => "nothing of what it had when it was asked is lost".to_owned(),
        Some(lost) if report.leader_answered => format!("{} of the log are lost", bytes(lost)),
        Some(lost) => format!("it could not be asked how far it was: at least {} of the log are lost", bytes(lost)),
        None => "how much of the log is lost is not known".to_owned(),
    };
    let old = report.old_leader.as_deref().unwrap_or("whoever led last");
    let seconds = report.took_ms as f64 / 1000.0;
    let mut text = format!("{} leads instead of {old}, after {seconds:.1} s; {lost}\n", report.new_leader);
    if let (Some(written), Some(branched)) = (report.written, report.branched_at) {
        text.push_str(&format!(
            "the log was known to reach to {written}, and the new timeline leaves it at {branched}\n"
        ));
    }
    for finding in &report.findings {
        text.push_str(&format!("! {finding}\n"));
    }
    text
}
