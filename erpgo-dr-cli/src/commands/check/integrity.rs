//! `check integrity`: whether the data of a server is damaged, or contradicts its catalogue.

use std::time::Duration;

use clap::Args;
use erpgo_dr_core::ops::{IntegrityOptions, IntegrityReport, SqlCheck, check_integrity};
use erpgo_dr_core::postgres::IntegrityFinding;
use serde::Serialize;

use crate::commands::{parse_check, parse_span};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Report, seconds};

/// The word for all databases.
const ALL: &str = "all";

/// Look for data that is damaged or contradicts its catalogue; changes nothing on the server
///
/// Pages of tables and btree indexes (where the database has the extension amcheck), failures of checksums, invalid indexes, constraints that
/// were not validated, orphans of every foreign key, missing values, broken check constraints, sequences behind their columns, and your
/// own checks. The exit code is 1 when something is found.
#[derive(Debug, Args)]
pub(super) struct IntegrityArgs {
    /// A database, or `all`; may be given several times [default: all]
    #[arg(long, value_name = "NAME")]
    database: Vec<String>,
    /// Leave out what takes longest: amcheck of tables, and whether indexes have all that their tables have
    #[arg(long)]
    quick: bool,
    /// How long a statement may take, which is one table, index or constraint: 90s, 30m, 12h; 0s for as long as it takes
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = parse_span)]
    statement_timeout: Duration,
    /// What must hold too, beside the configuration's `checks`: a query whose first column is true
    #[arg(long, value_name = "NAME:DATABASE:SQL", value_parser = parse_check)]
    check: Vec<SqlCheck>,
}

#[derive(Serialize)]
struct Checked {
    passed: bool,
    #[serde(flatten)]
    report: IntegrityReport,
}

impl IntegrityArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let databases = if self.database.iter().any(|name| name == ALL) { Vec::new() } else { self.database };
        let checks = context.config.checks.iter().chain(&self.check).cloned().collect();
        let options = IntegrityOptions::default()
            .with_databases(databases)
            .with_quick(self.quick)
            .with_statement_timeout(self.statement_timeout)
            .with_checks(checks);
        let report = check_integrity(&context.connection()?, &options, context.progress()).await?;
        let (text, passed) = (text(&report), report.passed());
        Report::new(&Checked { passed, report }, text, passed)
    }
}

fn text(report: &IntegrityReport) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        text.push_str(&finding_text(finding));
    }
    for skipped in &report.not_checked {
        let names = [Some(skipped.database.as_str()), skipped.schema.as_deref(), skipped.relation.as_deref()];
        let place = names.into_iter().flatten().collect::<Vec<_>>().join(".");
        text.push_str(&format!("not checked: {place}: {}: {}\n", skipped.what, skipped.reason));
    }
    if !report.data_checksums {
        text.push_str("note: pages of this cluster carry no checksums (data_checksums is off)\n");
    }
    let checked = &report.checked;
    text.push_str(&format!(
        "{}: {} databases, amcheck of {} tables and {} indexes, {} foreign keys, {} check constraints, {} columns that must have a \
         value, {} sequences: {} in {}\n",
        report.server,
        report.databases.len(),
        checked.tables,
        checked.indexes,
        checked.foreign_keys,
        checked.check_constraints,
        checked.not_null_columns,
        checked.sequences,
        if report.passed() { "nothing found".to_owned() } else { format!("{} FOUND", report.findings.len()) },
        seconds(report.seconds),
    ));
    text
}

fn finding_text(finding: &IntegrityFinding) -> String {
    let names = [&finding.database, &finding.schema, &finding.relation].into_iter().filter_map(Option::as_deref);
    let place = names.collect::<Vec<_>>().join(".");
    let kind = serde_json::to_value(finding.kind).ok();
    let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default();
    let constraint = finding.constraint.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let count = finding.count.map_or_else(String::new, |count| format!(", {count}"));
    let mut text = format!("FOUND {kind}: {place}{constraint}{count}\n  {}\n", finding.message);
    finding.samples.iter().for_each(|sample| text.push_str(&format!("    {sample}\n")));
    text
}
