//! The agent as a service: signals in, states out.

use std::convert::Infallible;
use std::sync::Arc;

use erpgo_dr_core::Repository;
use erpgo_dr_core::agent::{Agent, AgentControl, AgentReport, AgentRole};
use futures::future::LocalBoxFuture;
use tokio::signal::unix::Signal;

use super::super::monitor::{MonitorPlan, Watched};
use super::plan_of;
use super::systemd::{self, Watchdog};
use crate::context::Context;
use crate::error::CliError;

/// Runs an agent until the process is told to stop.
pub(super) async fn serve(
    context: &Context,
    repository: Arc<Repository>,
    agent: Agent,
    mut hangups: Signal,
) -> Result<AgentReport, CliError> {
    // Before anything is begun: wrong files, and an address that others can reach, are for whoever starts it to see.
    let monitor = match MonitorPlan::configured(context)? {
        Some(plan) => Some((plan.with_agent(agent.state()), Watched::of_agent(context, repository)?)),
        None => None,
    };
    let mut monitoring = std::pin::pin!(monitored(monitor));
    let (control, mut state) = (agent.control(), agent.state());
    let grace = agent.grace();
    let stop = async {
        context.stop.requested().await;
        systemd::stopping(grace);
    };
    let mut run = std::pin::pin!(agent.run(stop));
    let mut watchdog = Watchdog::new();
    // Beside the agent, not in its stead: keys and a repository may take their time, and a job goes on meanwhile.
    let mut reloading: Option<LocalBoxFuture<'_, ()>> = None;
    let mut is_ready = false;
    loop {
        tokio::select! {
            report = run.as_mut() => return Ok(report),
            never = monitoring.as_mut() => match never {},
            Ok(()) = state.changed() => {
                let (summary, role) = {
                    let state = state.borrow_and_update();
                    (state.summary(), state.role.clone())
                };
                match is_ready || role == AgentRole::Starting {
                    true => systemd::status(&summary),
                    false => {
                        is_ready = true;
                        systemd::ready(&summary);
                    }
                }
            }
            Some(()) = hangups.recv(), if reloading.is_none() => {
                systemd::reloading();
                reloading = Some(Box::pin(reload(context, &control)));
            }
            () = end_of(&mut reloading) => {
                reloading = None;
                let summary = state.borrow().summary();
                systemd::ready(&summary);
            }
            () = watchdog.tick() => systemd::alive(),
        }
    }
}

/// Serves what is known, for as long as the agent runs.
async fn monitored(monitor: Option<(MonitorPlan, Watched)>) -> Infallible {
    match monitor {
        Some((plan, watched)) => plan.keep(async |service| service.run(&watched, std::future::pending()).await).await,
        None => std::future::pending().await,
    }
}

async fn end_of(work: &mut Option<LocalBoxFuture<'_, ()>>) {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// Reads the configuration anew. One that cannot be used changes nothing.
async fn reload(context: &Context, control: &AgentControl) {
    let plan = match context.renewed() {
        Ok(renewed) => plan_of(&renewed).await,
        Err(error) => Err(error),
    };
    match plan {
        Ok(plan) => control.reload(plan),
        Err(error) => {
            control.refuse(error.in_a_line());
        }
    }
}
