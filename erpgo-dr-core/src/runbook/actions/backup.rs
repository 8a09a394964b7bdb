//! `backup`: a backup of databases, verified before anything else is done.

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View};
use crate::ops::{self, BackupOptions};
use crate::postgres::{DatabaseSelection, DumpOptions, LogicalDriver};

/// Takes a backup into the run's repository, and returns its identifier.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Backup {
    /// The variable of the server.
    pub on: String,
    /// The database that is taken; without it, all are.
    pub database: Option<Template>,
    /// A name for people.
    pub label: Option<Template>,
}

#[async_trait]
impl Act for Backup {
    fn nature(&self) -> Nature {
        Nature::change(24 * 3600).repeatable()
    }

    fn describe(&self, view: &View<'_>) -> String {
        let what = self.database.as_ref().map_or_else(|| "every database".to_owned(), |name| name.shown(view.values));
        format!("back up {what} of {}, and verify it", view.server_name(&self.on))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.push(&self.on);
        uses.visible(&self.database);
        uses.visible(&self.label);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let settings = scope.server(&self.on, self.database.as_ref())?;
        let dump = match scope.optional(self.database.as_ref())? {
            Some(database) => DumpOptions::new().database(database),
            None => DumpOptions::new().databases(DatabaseSelection::All),
        };
        let surroundings = scope.surroundings;
        let cleanups = surroundings.repository.environment().cleanups.clone();
        let driver = LogicalDriver::new(settings, surroundings.programs.clone()).dump_options(dump).cleanups(cleanups);
        let options = BackupOptions::default().with_label(scope.optional(self.label.as_ref())?);
        let report = ops::backup(&surroundings.repository, &driver, &options, &*surroundings.progress).await?;
        if !report.is_complete() {
            let places = report.missed.iter().map(|missed| missed.location.clone());
            let findings = report.verdict.iter().flat_map(|verdict| verdict.findings.clone());
            let found = places.chain(findings).collect::<Vec<_>>().join("; ");
            return Err(ActionError::Unexpected {
                expected: format!("the backup {} to be whole everywhere", report.id),
                found,
            });
        }
        let databases = report.databases.join(", ");
        let output = format!("{} of {databases}: {} bytes, verified", report.id, report.plaintext_bytes);
        Ok(Done { output, value: Some(report.id.to_string()), ..Done::default() })
    }
}
