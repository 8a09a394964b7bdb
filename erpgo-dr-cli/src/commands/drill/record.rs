//! `drill record`: what people rehearsed.

use chrono::{DateTime, Utc};
use clap::Args;
use erpgo_dr_core::ops::drill::{HandDrill, Scenario, record_drill};
use erpgo_dr_core::runbook::Span;

use super::describe::{Scored, described};
use super::plan::objectives;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::Report;

/// Write down a drill that people did
#[derive(Debug, Args)]
pub(super) struct DrillRecordArgs {
    /// restore, full-recovery, data-corruption, database-failure, region-failover, application-failure, or security-breach
    #[arg(value_name = "SCENARIO")]
    scenario: Scenario,
    /// How long recovery took: 4m, 90m
    #[arg(long, value_name = "SPAN")]
    rto: Option<Span>,
    /// How much work would have been lost: 0s, 10m
    #[arg(long, value_name = "SPAN")]
    rpo: Option<Span>,
    /// What went wrong: then it has failed; may be given several times
    #[arg(long, value_name = "TEXT")]
    finding: Vec<String>,
    /// What else is to be said
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// When it ended: 2026-11-27T03:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<DateTime<Utc>>,
    /// Who you are, for the record [default: the user of this process]
    #[arg(long, value_name = "NAME", env = "ERPGO_DR_OPERATOR")]
    operator: Option<String>,
}

impl DrillRecordArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let objectives = objectives(&context.config, self.scenario);
        let repository = context.repository(Access::Unlocked).await?;
        let measured = |span: Option<Span>| span.map(|span| span.duration());
        let drill = HandDrill::new(self.operator.unwrap_or_else(Context::user))
            .with_moment(self.at)
            .with_measured(measured(self.rto), measured(self.rpo))
            .with_findings(self.finding)
            .with_note(self.note);
        let scored = Scored::new(record_drill(&repository, self.scenario, objectives, &drill).await?);
        Report::new(&scored, described(&scored), true)
    }
}
