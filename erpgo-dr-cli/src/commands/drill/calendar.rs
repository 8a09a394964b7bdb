//! `drill calendar`: which drill is due when.

use clap::Args;
use erpgo_dr_core::ops::drill::{DrillDue, DrillState};
use serde::Serialize;

use super::{due, told};
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Align, Report, Table, moment};

/// Say which drill is due when, and which is overdue; ends with 1 if one is
#[derive(Debug, Args)]
pub(super) struct DrillCalendarArgs {}

#[derive(Serialize)]
struct Calendar {
    drills: Vec<DrillDue>,
}

impl DrillCalendarArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let found = repository.drills().await?;
        let is_whole = told(context, &found).is_empty();
        let calendar = Calendar { drills: due(&context.config, &repository, &found.records) };
        let mut table = Table::new(["SCENARIO", "FROM", "UNTIL", "STATE", "LAST"].map(|name| (name, Align::Left)));
        for drill in &calendar.drills {
            let state = match drill.state {
                DrillState::Done => "done",
                DrillState::Overdue => "OVERDUE",
                _ => "due",
            };
            table.row([
                drill.scenario.to_string(),
                drill.from.date_naive().to_string(),
                drill.until.date_naive().to_string(),
                state.to_owned(),
                drill.last_at.map_or_else(|| "never".to_owned(), moment),
            ]);
        }
        let is_well = calendar.drills.iter().all(|drill| drill.state != DrillState::Overdue);
        Report::new(&calendar, table.render(), is_well && is_whole)
    }
}
