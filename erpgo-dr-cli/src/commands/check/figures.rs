//! `check figures`: whether figures of the business are what earlier backups let expect.

use clap::Args;
use erpgo_dr_core::ops::{FigureComparison, FiguresReport, check_figures};
use serde::Serialize;

use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Align, Report, Table, moment};

/// Compare figures of the business with those of earlier backups; changes nothing on the server
///
/// Figures are the [[figure]]s of erpgo-dr.toml, such as how many orders there are; each backup of a database writes down what they were. The
/// exit code is 1 when one has changed by more than its `max_change`, or could not be told.
#[derive(Debug, Args)]
pub(super) struct FiguresArgs {
    /// How many backups are looked back at
    #[arg(long, value_name = "N", default_value_t = 5)]
    backups: usize,
}

#[derive(Serialize)]
struct Checked {
    passed: bool,
    #[serde(flatten)]
    report: FiguresReport,
}

impl FiguresArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let figures = &context.config.figures;
        if figures.is_empty() {
            return Err(CliError::usage("erpgo-dr.toml has no [[figure]]", "docs/corruption.md says what one is"));
        }
        let repository = context.repository(Access::Unlocked).await?;
        let report = check_figures(&repository, &context.connection()?, figures, self.backups).await?;
        let (text, passed) = (text(&report), report.passed());
        Report::new(&Checked { passed, report }, text, passed)
    }
}

fn text(report: &FiguresReport) -> String {
    let columns = ["FIGURE", "DATABASE", "NOW", "CHANGE", "BEFORE"].map(|name| (name, Align::Left));
    let mut table = Table::new(columns);
    for figure in &report.figures {
        let change = figure.change.map_or_else(|| "-".to_owned(), |change| format!("{:+.1} %", change * 100.0));
        let now = figure.now.clone().unwrap_or_else(|| "-".to_owned());
        table.row([figure.name.clone(), figure.database.clone(), now, change, before(figure)]);
    }
    let mut text = table.render();
    for figure in &report.figures {
        if let Some(finding) = &figure.finding {
            text.push_str(&format!("FOUND {}: {finding}\n", figure.name));
        }
    }
    text
}

fn before(figure: &FigureComparison) -> String {
    let told = figure
        .earlier
        .iter()
        .map(|earlier| format!("{} ({})", earlier.value.as_deref().unwrap_or("null"), moment(earlier.created)));
    let told = told.collect::<Vec<_>>().join(", ");
    if told.is_empty() { "no backup has it yet".to_owned() } else { told }
}
