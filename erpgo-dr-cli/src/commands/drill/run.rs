//! `drill run`: rehearsed on throwaway servers.

use clap::Args;
use erpgo_dr_core::drill::{DrillPlan, Rehearsal, plan_drill, run_drill};
use erpgo_dr_core::ops::drill::{DrillOptions, Scenario};
use erpgo_dr_core::runbook::{NoObserver, RunObserver};

use super::describe::{Scored, described};
use super::plan::objectives;
use crate::commands::restore_tests::TestArgs;
use crate::commands::runbook::{Narrator, find, pair};
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::Report;

/// Rehearse a recovery on throwaway servers, and write down what it took
///
/// `restore` brings the newest backups back and compares them; `full-recovery` the cluster with all of its log; `data-corruption` the cluster at a
/// moment drawn by lot. The others make servers from the newest restore point, break them, and run the runbook of that name on them.
/// Throwaway servers have no network address, archive nothing and follow nobody else: production is not touched. Ends with 1 if something
/// was wrong, or an objective was missed.
#[derive(Debug, Args)]
pub(super) struct DrillRunArgs {
    /// restore, full-recovery, data-corruption, database-failure, region-failover, application-failure, or security-breach
    #[arg(value_name = "SCENARIO")]
    scenario: Scenario,
    /// The runbook, where the scenario has one: its name, or a file [default: the one of the scenario's name]
    #[arg(long, value_name = "RUNBOOK")]
    runbook: Option<String>,
    /// The value of a variable of your own runbook that the drill does not know; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Run programs of your own runbook, too: without a network, but they can write wherever the servers' account can
    #[arg(long)]
    with_programs: bool,
    /// Say what would be started, broken and run, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Who you are, for the record [default: the user of this process]
    #[arg(long, value_name = "NAME", env = "ERPGO_DR_OPERATOR")]
    operator: Option<String>,
    #[command(flatten)]
    test: TestArgs,
}

impl DrillRunArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let rehearsal = rehearsal(context, self.scenario, self.runbook.as_deref())?
            .with_values(self.set.clone())
            .with_programs(self.with_programs);
        if self.dry_run {
            return self.planned(context, &rehearsal).await;
        }
        let test = self.test.options(context)?;
        context.sweep_scratch(&test.scratch).await;
        let (restore_command, environment) = self.test.archive(context)?;
        let repository = context.repository(Access::Unlocked).await?;
        let by = self.operator.unwrap_or_else(Context::user);
        let options = DrillOptions::new(self.scenario, by, test)
            .with_archive(restore_command, environment)
            .with_objectives(objectives(&context.config, self.scenario));
        let narrator = rehearsal.runbook.as_ref().map(|runbook| Narrator::of_drill(context.output.clone(), runbook));
        let observer: &dyn RunObserver = narrator.as_ref().map_or(&NoObserver, |narrator| narrator);
        let record = run_drill(&repository, self.scenario, &options, &rehearsal, observer, context.progress()).await?;
        let scored = Scored::new(record);
        Report::new(&scored, described(&scored), scored.is_well())
    }

    async fn planned(&self, context: &Context, rehearsal: &Rehearsal) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let Some(plan) = plan_drill(&repository, self.scenario, rehearsal).await? else {
            return Err(CliError::usage(
                format!("a drill of {} changes nothing that could be planned", self.scenario),
                "it restores into the scratch folder, and removes that again: do it without --dry-run",
            ));
        };
        Report::new(&plan, told(&plan), true)
    }
}

/// Finds the runbook of a scenario: the one that is named, else one of the configured folder, else the one that comes with the tool.
pub(in crate::commands) fn rehearsal(
    context: &Context,
    scenario: Scenario,
    named: Option<&str>,
) -> Result<Rehearsal, CliError> {
    let runbook = match (scenario.runbook(), named) {
        (Some(usual), named) => Some(find(context, named.unwrap_or(usual))?.runbook),
        (None, None) => None,
        (None, Some(_)) => {
            return Err(CliError::usage(
                format!("a drill of {scenario} has no runbook"),
                "leave --runbook away, or choose a scenario that has one",
            ));
        }
    };
    Ok(Rehearsal::default().with_runbook(runbook))
}

fn told(plan: &DrillPlan) -> String {
    let behind = if plan.cluster { ", and the log that is archived behind it" } else { "" };
    let own = if plan.own_runbook { ", a text of your own" } else { "" };
    let mut text = format!(
        "made from {}{behind}: {}\nthen {}\nthen the runbook {}{own}:\n",
        plan.backup,
        plan.servers.join(", "),
        plan.blow,
        plan.runbook
    );
    for (number, step) in plan.steps.iter().enumerate() {
        text.push_str(&format!("  {}. {step}\n", number + 1));
    }
    text
}
