//! `agent`: the service that does backups, and all that belongs to them, by schedule.

mod jobs;
mod plan;
mod service;
pub(super) mod systemd;

use std::sync::Arc;

use clap::Args;
use erpgo_dr_core::Repository;
use erpgo_dr_core::agent::{Agent, AgentOptions, AgentPlan, AgentReport, agent_plan};
use erpgo_dr_core::repository::RunResult;
use tokio::signal::unix::{SignalKind, signal};

use super::history::line_of;
use crate::context::{Access, Context};
use crate::error::{self, CliError};
use crate::output::Report;

/// Do backups, verifications, restore tests, drills, prunes and checks by schedule, until told to stop
///
/// One agent acts at a time for each repository; others stand by, and take over when it is gone. Jobs are those of [[agent.job]] in
/// erpgo-dr.toml, or the usual ones: a backup every six hours, and what proves and keeps it. SIGTERM lets a job that runs end, SIGHUP
/// reads the configuration anew. Ends with 0 when it was told to stop, and with 1 if a job had to be given up for that.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Do what is due now, and end: for cron. Ends with 1 if something did not go well, and with 14 while another agent acts
    #[arg(long)]
    once: bool,
    /// Say what would be run when, and run nothing
    #[arg(short = 'n', long, conflicts_with = "once")]
    dry_run: bool,
}

impl AgentArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        // First of all: without anybody who listens for it, SIGHUP ends a process.
        let hangups = signal(SignalKind::hangup()).map_err(|source| error::io("listen for signals", source))?;
        context.prompts.ask_nobody();
        let plan = plan_of(context).await?;
        let options = options(context)?;
        if self.dry_run {
            let planned = agent_plan(&plan.repository, &plan.jobs, &options.host).await?;
            return plan::report(&planned);
        }
        let repository = Arc::clone(&plan.repository);
        let agent = Agent::new(plan, options);
        if self.once {
            let report = agent.once(context.stop.requested()).await?;
            return Report::new(&report, render(&report), report.is_well());
        }
        let report = service::serve(context, repository, agent, hangups).await?;
        let given_up = report.runs.iter().any(|run| run.result() == Some(RunResult::Interrupted));
        Report::new(&report, render(&report), !given_up)
    }
}

/// Reads from the configuration what an agent does.
pub(super) async fn plan_of(context: &Context) -> Result<AgentPlan, CliError> {
    let jobs = jobs::configured(context)?;
    let places = context.places()?;
    let repository = Arc::new(context.open_at(&places, Access::Unlocked).await?);
    let notifier = context.alarm_notifier(&repository)?;
    let jobs = jobs::scheduled(context, &places, &jobs, notifier.as_ref())?;
    let plan = AgentPlan::new(Arc::clone(&repository), jobs)?;
    require_keys(&repository)?;
    Ok(plan.with_notifier(notifier).with_report_log(context.config.agent.report_log.clone()))
}

/// The history is sealed: without a key that opens the repository nothing would be known of it after a restart.
fn require_keys(repository: &Repository) -> Result<(), CliError> {
    repository.sealing_key().map(drop)?;
    Ok(())
}

/// Reads from the configuration how an agent goes about it.
pub(super) fn options(context: &Context) -> Result<AgentOptions, CliError> {
    let config = &context.config.agent;
    let mut options = match &config.host {
        Some(host) => AgentOptions::new(host),
        None => AgentOptions::of_this_host(),
    };
    if let Some(lease) = config.lease {
        if lease.duration().as_secs() < 1 {
            return Err(CliError::usage("agent.lease is less than a second", "two minutes are usual: lease = \"2m\""));
        }
        options = options.with_lease(lease.duration());
    }
    if let Some(grace) = config.grace {
        options = options.with_grace(grace.duration());
    }
    if let Some(tick) = config.tick {
        options = options.with_tick(tick.duration());
    }
    Ok(options.with_progress(context.shared_progress()))
}

fn render(report: &AgentReport) -> String {
    match report.runs.is_empty() {
        true => "nothing was due\n".to_owned(),
        false => report.runs.iter().map(line_of).collect(),
    }
}
