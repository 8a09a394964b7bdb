//! `runbook run`, `resume` and `undo`.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Args;
use erpgo_dr_core::runbook::{
    Ending, Operator, RunOptions, Runbook, Standing, Surroundings, Unattended, Values, resume_run, run_runbook,
    runbook_of_run, undo_run,
};
use erpgo_dr_core::types::RunId;

use super::find::{find, find_run};
use super::narrator::Narrator;
use super::plan::planned;
use super::terminal::Terminal;
use super::values::ValueOptions;
use crate::context::{Access, Context, Prompts, SpooledRepository};
use crate::error::CliError;
use crate::output::Report;

/// Run a runbook from its first step on
#[derive(Debug, Args)]
pub(super) struct RunbookRunArgs {
    /// The runbook: its name, or a file
    #[arg(value_name = "RUNBOOK")]
    runbook: String,
    #[command(flatten)]
    values: ValueOptions,
    #[command(flatten)]
    who: OperatorOptions,
    /// When the incident began, from which the recovery time counts: 2026-11-27T03:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    since: Option<DateTime<Utc>>,
    /// Say what would be done, as `runbook plan` does, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Go on with a run that stopped or was cut off
#[derive(Debug, Args)]
pub(super) struct RunbookResumeArgs {
    /// The run: its identifier or the beginning of one [default: the newest that has not ended]
    #[arg(value_name = "RUN", default_value = "open")]
    run: String,
    #[command(flatten)]
    values: ValueOptions,
    #[command(flatten)]
    who: OperatorOptions,
}

/// Take back what a run has done, the last step first
#[derive(Debug, Args)]
pub(super) struct RunbookUndoArgs {
    /// The run: its identifier or the beginning of one, or `latest`
    #[arg(value_name = "RUN")]
    run: String,
    #[command(flatten)]
    values: ValueOptions,
    #[command(flatten)]
    who: OperatorOptions,
}

/// Who answers.
#[derive(Debug, Clone, Args)]
pub(super) struct OperatorOptions {
    /// Answer every confirmation with yes that asks for no word; what people do by hand still needs people
    #[arg(short, long)]
    yes: bool,
    /// Answer a confirmation that asks for this word: --confirm RECOVER; may be given several times
    #[arg(long, value_name = "WORD")]
    confirm: Vec<String>,
    /// Who you are, for the journal [default: the user of this process]
    #[arg(long, value_name = "NAME", env = "ERPGO_DR_OPERATOR")]
    operator: Option<String>,
}

impl RunbookRunArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        if self.dry_run {
            return planned(context, &self.runbook, &self.values);
        }
        let runbook = find(context, &self.runbook)?.runbook;
        runbook.check()?;
        let values = self.values.values(context, &runbook)?;
        let spooled = context.spooled_repository(Access::Writing).await?;
        let surroundings = self.who.surroundings(context, &spooled)?;
        let narrator = Narrator::new(context.output.clone(), &runbook);
        let options = RunOptions::default().with_incident(self.since);
        let standing = run_runbook(&runbook, values, &surroundings, &options, &narrator).await;
        spooled.deliver(context).await;
        stands(&standing?)
    }
}

impl RunbookResumeArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let run = Going::on(context, &self.run, &self.values, &self.who).await?;
        let standing = resume_run(&run.id, &run.values, &run.surroundings, &run.narrator).await;
        run.spooled.deliver(context).await;
        stands(&standing?)
    }
}

impl RunbookUndoArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let run = Going::on(context, &self.run, &self.values, &self.who).await?;
        let standing = undo_run(&run.id, &run.values, &run.surroundings, &run.narrator).await;
        run.spooled.deliver(context).await;
        stands(&standing?)
    }
}

/// A run that was begun before.
struct Going {
    id: RunId,
    values: Values,
    spooled: SpooledRepository,
    surroundings: Surroundings,
    narrator: Narrator,
}

impl Going {
    async fn on(context: &Context, run: &str, values: &ValueOptions, who: &OperatorOptions) -> Result<Self, CliError> {
        let spooled = context.spooled_repository(Access::Unlocked).await?;
        let id = find_run(&spooled.repository, run).await?;
        let (runbook, beginning): (Runbook, _) = runbook_of_run(&spooled.repository, &id).await?;
        let values = values.values_of_run(context, &runbook, &beginning)?;
        let narrator = Narrator::new(context.output.clone(), &runbook);
        let surroundings = who.surroundings(context, &spooled)?;
        Ok(Self { id, values, spooled, surroundings, narrator })
    }
}

impl OperatorOptions {
    pub(super) fn surroundings(
        &self,
        context: &Context,
        spooled: &SpooledRepository,
    ) -> Result<Surroundings, CliError> {
        let environment = context.passed_environment();
        let repository = Arc::new(spooled.repository.clone());
        // A recovery does not wait for somebody to mend a list of contacts.
        let escalation = context.escalation(&repository).unwrap_or_else(|error| {
            context.output.warn(&format!("nobody is told when this takes long: {error}"));
            None
        });
        Ok(Surroundings::new(repository, self.operator(context))
            .with_programs(context.programs())
            .with_environment([environment, context.wal_environment()].concat())
            .with_restore_command(Some(context.wal_fetch_command()?.line))
            .with_progress(context.shared_progress())
            .with_escalation(escalation))
    }

    fn operator(&self, context: &Context) -> Arc<dyn Operator> {
        let name = self.operator.clone().unwrap_or_else(Context::user);
        let given = if self.yes { Unattended::allowing(&name) } else { Unattended::refusing(&name) };
        let given = given.with_words(self.confirm.clone());
        match context.prompts.can_ask() {
            true => Arc::new(Terminal { name, prompts: Prompts::new(context.output.clone()), given }),
            false => Arc::new(given),
        }
    }
}

fn stands(standing: &Standing) -> Result<Report, CliError> {
    Report::new(standing, told(standing), ended_well(standing))
}

/// Returns whether a run has done what it was to do.
pub(super) fn ended_well(standing: &Standing) -> bool {
    matches!(standing.ending, Ending::Completed | Ending::Undone)
}

/// Says how a run stands.
pub(super) fn told(standing: &Standing) -> String {
    let run = &standing.run;
    let at = standing.step.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
    let next = match standing.ending {
        Ending::Completed | Ending::Undone => format!("`erpgo-dr runbook log {run}` shows what happened"),
        Ending::Stopped => format!("`erpgo-dr runbook resume {run}` goes on, `erpgo-dr runbook undo {run}` takes back"),
        _ => format!("`erpgo-dr runbook resume {run}` goes on taking back"),
    };
    let failed = standing.failed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let failed = if failed.is_empty() { failed } else { format!("these steps failed, and it went on: {failed}\n") };
    format!("run {run} {}{at}\n{failed}{next}\n", standing.ending.as_str())
}
