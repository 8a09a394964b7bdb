//! A look at a server, and its findings as short lines.

use erpgo_dr_core::ops::{IntegrityOptions, IntegrityReport, check_integrity};
use erpgo_dr_core::postgres::{ConnectionSettings, IntegrityFinding};
use erpgo_dr_core::progress::NoProgress;
use erpgo_dr_testkit::postgres::PgServer;

/// The database of these tests.
pub(crate) const DATABASE: &str = "books";

pub(crate) fn options() -> IntegrityOptions {
    IntegrityOptions::default().with_databases(vec![DATABASE.to_owned()])
}

pub(crate) async fn look(server: &PgServer, options: &IntegrityOptions) -> IntegrityReport {
    let settings: ConnectionSettings = server.url("postgres").parse().unwrap();
    check_integrity(&settings, options, &NoProgress).await.unwrap()
}

/// `kind schema.relation constraint count`, in order.
pub(crate) fn lines(report: &IntegrityReport) -> Vec<String> {
    let line = |finding: &IntegrityFinding| {
        let kind = serde_json::to_value(finding.kind).unwrap();
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let count = finding.count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let (schema, relation) = (part(&finding.schema), part(&finding.relation));
        format!("{} {schema}.{relation} {} {count}", kind.as_str().unwrap(), part(&finding.constraint))
    };
    let mut lines: Vec<String> = report.findings.iter().map(line).collect();
    lines.sort();
    lines
}

/// The samples of the finding of a constraint.
pub(crate) fn samples<'a>(report: &'a IntegrityReport, kind: &str, constraint: &str) -> &'a [String] {
    let is_wanted = |finding: &&IntegrityFinding| {
        serde_json::to_value(finding.kind).unwrap() == kind && finding.constraint.as_deref() == Some(constraint)
    };
    &report.findings.iter().find(is_wanted).unwrap_or_else(|| panic!("no {kind} of {constraint}")).samples
}
