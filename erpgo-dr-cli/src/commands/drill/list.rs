//! `drill list`: what drills showed.

use clap::Args;
use serde::Serialize;

use super::describe::{Scored, described};
use super::told;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::Report;

/// List the drills, and what they showed
#[derive(Debug, Args)]
pub(super) struct DrillListArgs {}

#[derive(Serialize)]
struct Drills {
    drills: Vec<Scored>,
    /// Records that were altered.
    unreadable: Vec<String>,
}

impl DrillListArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let found = repository.drills().await?;
        let unreadable = told(context, &found);
        let drills: Vec<Scored> = found.records.into_iter().map(Scored::new).collect();
        let text = match drills.is_empty() {
            true => "no drill yet: `erpgo-dr drill run restore` does one\n".to_owned(),
            false => drills.iter().map(described).collect(),
        };
        Report::new(&Drills { drills, unreadable: unreadable.clone() }, text, unreadable.is_empty())
    }
}
