//! `runbook list`: which runbooks there are.

use clap::Args;
use erpgo_dr_core::runbook::Objectives;
use serde::Serialize;

use super::find::all;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Align, Report, Table};

/// List the runbooks: those that come with the tool, and those of the configured folder
#[derive(Debug, Args)]
pub(super) struct RunbookListArgs {}

#[derive(Serialize)]
struct Listed {
    runbooks: Vec<ListedRunbook>,
    /// Files that are no runbooks, and why.
    unreadable: Vec<String>,
}

#[derive(Serialize)]
struct ListedRunbook {
    name: String,
    title: String,
    summary: String,
    objectives: Objectives,
    steps: usize,
    /// The file; none for one that comes with the tool.
    path: Option<String>,
}

impl RunbookListArgs {
    pub(super) fn run(self, context: &Context) -> Result<Report, CliError> {
        let mut listed = Listed { runbooks: Vec::new(), unreadable: Vec::new() };
        for found in all(context)? {
            match found {
                Ok(found) => listed.runbooks.push(ListedRunbook {
                    name: found.runbook.name.to_string(),
                    title: found.runbook.title,
                    summary: found.runbook.summary,
                    objectives: found.runbook.objectives,
                    steps: found.runbook.steps.len(),
                    path: found.path.map(|path| path.display().to_string()),
                }),
                Err((path, error)) => listed.unreadable.push(format!("{}: {error}", path.display())),
            }
        }
        listed.unreadable.iter().for_each(|fault| context.output.warn(fault));
        let columns = [
            ("NAME", Align::Left),
            ("STEPS", Align::Right),
            ("RTO", Align::Right),
            ("RPO", Align::Right),
            ("FROM", Align::Left),
            ("TITLE", Align::Left),
        ];
        let mut table = Table::new(columns);
        for runbook in &listed.runbooks {
            let span = |span: Option<erpgo_dr_core::runbook::Span>| {
                span.map_or_else(|| "-".to_owned(), |span| span.to_string())
            };
            table.row([
                runbook.name.clone(),
                runbook.steps.to_string(),
                span(runbook.objectives.rto),
                span(runbook.objectives.rpo),
                runbook.path.clone().unwrap_or_else(|| "erpgo-dr".to_owned()),
                runbook.title.clone(),
            ]);
        }
        let ok = listed.unreadable.is_empty();
        Report::new(&listed, table.render(), ok)
    }
}
