//! `collect`: evidence, sealed and signed, before anybody tidies up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View};
use crate::ops::evidence::{Custodian, EvidenceOptions, EvidenceReport, collect_evidence};
use crate::types::BackupId;

/// Collects evidence into the run's repository, and returns the bundle's identifier.
///
/// With a server come its settings, roles, grants, sessions and its log.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Collect {
    /// The variable of a server.
    pub on: Option<String>,
    /// The database that tables and queries are read from; without it, that of the server.
    pub database: Option<Template>,
    /// What it is about, for people.
    pub label: Option<Template>,
    /// Tables that are kept whole. A list alone in one becomes as many as it has items.
    #[serde(default)]
    pub tables: Vec<Template>,
    /// Queries whose rows are kept, by names.
    #[serde(default)]
    pub queries: BTreeMap<String, Template>,
    /// Programs whose output is kept, by names.
    #[serde(default)]
    pub programs: BTreeMap<String, Vec<Template>>,
    /// Files of this host.
    #[serde(default)]
    pub files: Vec<Template>,
    /// Backups that belong to it; they are put on hold.
    #[serde(default)]
    pub backups: Vec<Template>,
    /// Whether an item that is not whole fails the step. Otherwise it says so and goes on.
    #[serde(default)]
    pub complete: bool,
}

#[async_trait]
impl Act for Collect {
    fn nature(&self) -> Nature {
        Nature::change(4 * 3600).repeatable()
    }

    fn describe(&self, view: &View<'_>) -> String {
        let of_server = self.on.iter().map(|server| format!("what {} says of itself", view.server_name(server)));
        let tables = self.tables.iter().map(|table| format!("the table {}", table.shown(view.values)));
        let queries = self.queries.keys().map(|name| format!("the rows of {name}"));
        let programs = self.programs.keys().map(|name| format!("the output of {name}"));
        let files = self.files.iter().map(|file| format!("the file {}", file.shown(view.values)));
        let all: Vec<String> = of_server.chain(tables).chain(queries).chain(programs).chain(files).collect();
        format!("collect as evidence: {}", all.join(", "))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.extend(self.on.as_deref());
        uses.visible(&self.database);
        uses.visible(&self.label);
        uses.visible(&self.tables);
        uses.statements.extend(self.queries.values());
        uses.visible(self.programs.values().flatten());
        uses.visible(&self.files);
        uses.visible(&self.backups);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let options = self.options(scope)?;
        let surroundings = scope.surroundings;
        let report = collect_evidence(&surroundings.repository, &options, &*surroundings.progress).await?;
        let said = said(&report);
        if self.complete && !report.is_complete() {
            return Err(ActionError::Unexpected { expected: "every item to be whole".to_owned(), found: said });
        }
        Ok(Done { output: said, value: Some(report.manifest.id.to_string()), ..Done::default() })
    }
}

impl Collect {
    fn options(&self, scope: &Scope<'_>) -> Result<EvidenceOptions, ActionError> {
        let server = self.on.as_ref().map(|server| scope.server(server, self.database.as_ref())).transpose()?;
        let mut queries = Vec::with_capacity(self.queries.len());
        for (name, query) in &self.queries {
            queries.push((name.clone(), scope.sql(query)?));
        }
        let mut programs = Vec::with_capacity(self.programs.len());
        for (name, line) in &self.programs {
            programs.push((name.clone(), arguments(line, scope)?));
        }
        let files = arguments(&self.files, scope)?.into_iter().map(PathBuf::from);
        let mut backups: Vec<BackupId> = Vec::with_capacity(self.backups.len());
        for text in arguments(&self.backups, scope)? {
            backups.push(text.parse().map_err(|error| ActionError::Unusable(format!("{error}")))?);
        }
        let by = Custodian::here(scope.surroundings.operator.name());
        Ok(EvidenceOptions::new(by)
            .with_label(scope.optional(self.label.as_ref())?)
            .with_server(server)
            .with_tables(arguments(&self.tables, scope)?)
            .with_queries(queries)
            .with_programs(programs)
            .with_environment(scope.surroundings.environment.clone())
            .with_files(files)
            .with_backups(backups))
    }
}

fn arguments(templates: &[Template], scope: &Scope<'_>) -> Result<Vec<String>, ActionError> {
    let mut all = Vec::with_capacity(templates.len());
    for template in templates {
        all.extend(template.arguments(scope.values)?);
    }
    Ok(all)
}

/// Says what was collected, and what is not whole.
fn said(report: &EvidenceReport) -> String {
    let manifest = &report.manifest;
    let bytes: u64 = manifest.items.iter().map(|item| item.bytes).sum();
    let mut said =
        format!("{}: {} items of {bytes} bytes, signed by {}", manifest.id, manifest.items.len(), manifest.public_key);
    for item in &manifest.items {
        if let Some(error) = &item.error {
            said.push_str(&format!("\n{} is not whole: {error}", item.name));
        }
    }
    said
}
