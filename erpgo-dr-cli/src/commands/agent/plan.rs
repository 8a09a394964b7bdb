//! What would be run when.

use erpgo_dr_core::agent::PlannedJob;
use serde::Serialize;

use crate::error::CliError;
use crate::output::{Align, Report, Table, moment};

#[derive(Serialize)]
struct Planned<'a> {
    jobs: &'a [PlannedJob],
}

/// Lists the jobs, and when each would be run.
pub(super) fn report(planned: &[PlannedJob]) -> Result<Report, CliError> {
    let mut table = Table::new(["JOB", "KIND", "SCHEDULE", "NEXT", "THEN"].map(|name| (name, Align::Left)));
    for job in planned {
        table.row([
            job.name.to_string(),
            job.kind.to_string(),
            format!("{} {}", job.schedule, job.time_zone),
            job.next.map_or_else(|| "never".to_owned(), moment),
            job.then.first().copied().map(moment).unwrap_or_default(),
        ]);
    }
    Report::new(&Planned { jobs: planned }, table.render(), true)
}
