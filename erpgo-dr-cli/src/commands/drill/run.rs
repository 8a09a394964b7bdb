//! `drill run`: rehearsed on throwaway servers.

use clap::Args;
use erpgo_dr_core::ops::drill::{DrillOptions, Scenario, run_drill};

use super::describe::{Scored, described};
use super::plan::objectives;
use crate::commands::restore_tests::TestArgs;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::Report;

/// Rehearse a recovery on throwaway servers, and write down what it took
///
/// `restore` brings the newest backups back and compares them; `full-recovery` the cluster with all of its log; `data-corruption` the cluster at a
/// moment drawn by lot. Throwaway servers have no network address, archive nothing and follow nobody: production is not touched. Ends with
/// 1 if something was wrong, or an objective was missed.
#[derive(Debug, Args)]
pub(super) struct DrillRunArgs {
    /// restore, full-recovery, or data-corruption
    #[arg(value_name = "SCENARIO")]
    scenario: Scenario,
    /// Who you are, for the record [default: the user of this process]
    #[arg(long, value_name = "NAME", env = "ERPGO_DR_OPERATOR")]
    operator: Option<String>,
    #[command(flatten)]
    test: TestArgs,
}

impl DrillRunArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        if !self.scenario.is_automatic() {
            return Err(CliError::usage(
                format!("a drill of {} is done by people", self.scenario),
                format!(
                    "do it with its runbook on servers of its own, and write it down: `erpgo-dr drill record {}`",
                    self.scenario
                ),
            ));
        }
        let test = self.test.options(context)?;
        context.sweep_scratch(&test.scratch).await;
        let (restore_command, environment) = self.test.archive(context)?;
        let repository = context.repository(Access::Unlocked).await?;
        let by = self.operator.unwrap_or_else(Context::user);
        let options = DrillOptions::new(self.scenario, by, test)
            .with_archive(restore_command, environment)
            .with_objectives(objectives(&context.config, self.scenario));
        let scored = Scored::new(run_drill(&repository, self.scenario, &options, context.progress()).await?);
        Report::new(&scored, described(&scored), scored.is_well())
    }
}
