//! `check-integrity`: whether the data of a server is damaged, or contradicts its catalogue.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View, server};
use crate::ops::{IntegrityOptions, IntegrityReport, check_integrity};
use crate::postgres::{IntegrityFinding, IntegrityKind};
use crate::progress::NoProgress;

/// Findings that are named one by one.
const NAMED: usize = 20;

/// Looks at the data of a server, and changes nothing there. Fails when something is found that is not tolerated.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct CheckIntegrity {
    /// The variable of the server.
    pub on: String,
    /// The database; all, when none is named.
    pub database: Option<Template>,
    /// Leaves out what takes longest.
    #[serde(default)]
    pub quick: bool,
    /// The variable of a server that it must not be: a copy that is checked is not its original.
    pub other_than: Option<String>,
    /// Kinds of findings that are told, and do not fail the step.
    #[serde(default)]
    pub tolerate: Vec<IntegrityKind>,
}

#[async_trait]
impl Act for CheckIntegrity {
    fn nature(&self) -> Nature {
        Nature::check(3600)
    }

    fn describe(&self, view: &View<'_>) -> String {
        let other = self
            .other_than
            .as_ref()
            .map_or_else(String::new, |variable| format!(", which must not be {}", view.server_name(variable)));
        let database =
            self.database.as_ref().map_or_else(String::new, |name| format!("{} of ", name.shown(view.values)));
        format!(
            "look for data of {database}{}{other} that is damaged or contradicts its catalogue",
            view.server_name(&self.on)
        )
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.push(&self.on);
        uses.servers.extend(self.other_than.as_deref());
        uses.quiet(&self.database);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        if let Some(other) = &self.other_than {
            self.refuse_same(scope, other).await?;
        }
        let settings = scope.server(&self.on, None)?;
        let databases = scope.optional(self.database.as_ref())?.into_iter().collect();
        let options = IntegrityOptions::default()
            .with_databases(databases)
            .with_quick(self.quick)
            .with_statement_timeout(scope.timeout.duration());
        let report = check_integrity(&settings, &options, &NoProgress).await?;
        let (told, failing) = self.sort(&report);
        let summary = summary(&report);
        if failing.is_empty() {
            let lines: Vec<String> = std::iter::once(summary).chain(told).collect();
            return Ok(Done { output: lines.join("\n"), value: Some("0".to_owned()), ..Done::default() });
        }
        let more = failing.len().saturating_sub(NAMED);
        let mut found = failing.into_iter().take(NAMED).collect::<Vec<_>>().join("; ");
        if more > 0 {
            found.push_str(&format!("; and {more} more"));
        }
        Err(ActionError::Unexpected { expected: "data that is whole and agrees with its catalogue".to_owned(), found })
    }
}

impl CheckIntegrity {
    /// Returns in words what is tolerated, and what is not.
    fn sort(&self, report: &IntegrityReport) -> (Vec<String>, Vec<String>) {
        let (told, failing): (Vec<_>, Vec<_>) =
            report.findings.iter().partition(|finding| self.tolerate.contains(&finding.kind));
        let words = |findings: Vec<&IntegrityFinding>| findings.into_iter().map(words).collect();
        (words(told), words(failing))
    }

    /// Two addresses may be one server: its start tells, which no two share to the microsecond.
    async fn refuse_same(&self, scope: &Scope<'_>, other: &str) -> Result<(), ActionError> {
        let (one, two) = (scope.server(&self.on, None)?, scope.server(other, None)?);
        let same = || ActionError::Unusable(format!("{} and {other} are one server: {one} and {two}", self.on));
        let identity = async |settings: crate::postgres::ConnectionSettings| {
            let client = server::connect(settings, scope.timeout.duration()).await?;
            let sql = "SELECT extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text || ' ' ||
                              pg_catalog.current_setting('port')";
            let answered = server::run(&client, sql, "ask when the server was started").await;
            client.close().await;
            Ok::<_, ActionError>(answered?.first().map(str::to_owned))
        };
        // The other may be down: then it is not the one that answers.
        let Ok(Some(of_other)) = identity(two.clone()).await else { return Ok(()) };
        match identity(one.clone()).await?.as_ref() == Some(&of_other) {
            true => Err(same()),
            false => Ok(()),
        }
    }
}

fn summary(report: &IntegrityReport) -> String {
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    report.not_checked.iter().for_each(|one| *skipped.entry(one.reason.as_str()).or_default() += 1);
    let skipped = skipped.iter().map(|(reason, count)| format!("; not checked ({count}): {reason}"));
    let checked = &report.checked;
    format!(
        "{} foreign keys, {} check constraints, {} columns that must have a value, {} sequences, {} tables and {} indexes by amcheck{}",
        checked.foreign_keys,
        checked.check_constraints,
        checked.not_null_columns,
        checked.sequences,
        checked.tables,
        checked.indexes,
        skipped.collect::<String>()
    )
}

fn words(finding: &IntegrityFinding) -> String {
    let kind = serde_json::to_value(finding.kind).ok();
    let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default();
    let names = [&finding.database, &finding.schema, &finding.relation].into_iter().filter_map(Option::as_deref);
    let count = finding.count.map_or_else(String::new, |count| format!(": {count}"));
    let constraint = finding.constraint.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    format!("{kind} in {}{constraint}{count}", names.collect::<Vec<_>>().join("."))
}
