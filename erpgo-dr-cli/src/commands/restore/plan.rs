//! What a restore is going to do, before it does it: for `--dry-run`, and for the question before something is destroyed.

use std::path::Path;

use erpgo_dr_core::Repository;
use erpgo_dr_core::ops::legacy::{ExaminedFile, LegacyOptions, examine};
use erpgo_dr_core::postgres::{DatabaseContents, LogicalDriver};
use erpgo_dr_core::types::BackupId;
use serde::Serialize;

use super::{Globals, RestoreArgs};
use crate::error::CliError;
use crate::output::{Report, bytes, moment};

/// What goes where.
#[derive(Debug, Serialize)]
pub(super) struct RestorePlan {
    dry_run: bool,
    backup: Option<BackupId>,
    file: Option<String>,
    server: String,
    /// What becomes of the roles and tablespaces of the server; `None` where none are restored.
    globals: Option<Globals>,
    databases: Vec<Target>,
    #[serde(skip)]
    source: String,
}

#[derive(Debug, Serialize)]
struct Target {
    /// Its name in the backup.
    database: String,
    /// The name that it will have.
    target: String,
    exists: bool,
    /// Tables, views, sequences, functions, types and large objects that it holds now.
    objects: u64,
    /// Rows that the backup holds, where they were counted.
    rows: Option<u64>,
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    /// The database is made.
    Create,
    /// It is there, and empty.
    Fill,
    /// It holds something, which stays.
    Add,
    /// It holds something, which is dropped where the backup has the same.
    Replace,
    /// It holds something, and nothing says what to do with it.
    Refuse,
}

impl RestorePlan {
    /// Looks at a backup and at the databases that it would go to.
    pub(super) async fn of_backup(
        repository: &Repository,
        id: &BackupId,
        arguments: &RestoreArgs,
        driver: &LogicalDriver,
        server: String,
    ) -> Result<Self, CliError> {
        let catalogue = repository.catalogue().await?;
        let entry = crate::context::find(&catalogue, id.as_str())?;
        let manifest = repository.manifest(&entry.summary).await?;
        let wanted = |name: &String| arguments.database.is_empty() || arguments.database.contains(name);
        let mut databases = Vec::new();
        for found in manifest.contents.databases.iter().filter(|found| wanted(&found.database)) {
            databases.push(look(arguments, driver, found, Some(found.rows())).await?);
        }
        let source = format!(
            "backup {} of {} ({})",
            id,
            moment(manifest.created),
            bytes(manifest.streams.iter().map(|stream| stream.info.bytes).sum())
        );
        let (backup, globals) = (Some(id.clone()), arguments.globals);
        Ok(Self { dry_run: true, backup, file: None, server, globals, databases, source })
    }

    /// Reads a file to its end, and looks at the database that its dump would go to.
    pub(super) async fn of_file(
        path: &Path,
        legacy: &LegacyOptions,
        arguments: &RestoreArgs,
        driver: &LogicalDriver,
        server: String,
    ) -> Result<Self, CliError> {
        let ExaminedFile { contents, rows_counted, .. } = examine(path, legacy).await?;
        let mut databases = Vec::new();
        for found in &contents.databases {
            databases.push(look(arguments, driver, found, rows_counted.then(|| found.rows())).await?);
        }
        let file = path.display().to_string();
        let tables: usize = contents.databases.iter().map(|found| found.tables.len()).sum();
        let source = format!("file {file} (whole, data of {tables} tables)");
        let (file, globals) = (Some(file), arguments.globals);
        Ok(Self { dry_run: true, backup: None, file, server, globals, databases, source })
    }

    /// Returns whether something that is there now would be gone.
    pub(super) fn destroys(&self) -> bool {
        self.databases.iter().any(|target| target.action == Action::Replace)
    }

    /// Names what would be gone.
    pub(super) fn danger(&self) -> String {
        let replaced = self.databases.iter().filter(|target| target.action == Action::Replace);
        let names: Vec<&str> = replaced.map(|target| target.target.as_str()).collect();
        format!("this replaces what is in {} on {}", names.join(", "), self.server)
    }

    /// Says in words what would be done.
    pub(super) fn text(&self) -> String {
        let mut text = format!("restore {} into {}\n", self.source, self.server);
        match self.globals {
            None => {}
            Some(Globals::Add) => {
                text.push_str("  roles and tablespaces that are not there are made; those that are stay as they are\n");
            }
            Some(Globals::Overwrite) => text.push_str(
                "  roles and tablespaces are made, or OVERWRITTEN with attributes, passwords and memberships of the backup\n",
            ),
        }
        for target in &self.databases {
            let (name, objects) = (&target.target, target.objects);
            let what = match target.action {
                Action::Create => "is made".to_owned(),
                Action::Fill => "is there and must be empty".to_owned(),
                Action::Add => format!("holds {objects} tables, views and sequences, which stay"),
                Action::Replace => {
                    format!(
                        "holds {objects} tables, views and sequences: those that are in the backup are DROPPED first"
                    )
                }
                Action::Refuse => {
                    format!("holds {objects} tables, views and sequences: the restore will be REFUSED without --clean")
                }
            };
            let rows = target.rows.map(|rows| format!(" ({rows} rows)")).unwrap_or_default();
            text.push_str(&format!("  {name}{rows}: {what}\n"));
        }
        text
    }

    /// Reports the plan as the result of a dry run.
    pub(super) fn report(&self) -> Result<Report, CliError> {
        let refused = self.databases.iter().any(|target| target.action == Action::Refuse);
        Report::new(self, format!("{}nothing was done (--dry-run)\n", self.text()), !refused)
    }
}

async fn look(
    arguments: &RestoreArgs,
    driver: &LogicalDriver,
    source: &DatabaseContents,
    rows: Option<u64>,
) -> Result<Target, CliError> {
    let target = arguments.target_database.clone().unwrap_or_else(|| source.database.clone());
    let inspector = driver.inspector();
    let exists = inspector.database_exists(&target).await?;
    let objects = if exists { inspector.count_user_objects(&target).await? } else { 0 };
    let action = match (exists, objects, arguments) {
        (false, ..) => Action::Create,
        (true, 0, _) => Action::Fill,
        (true, _, RestoreArgs { clean: true, .. }) => Action::Replace,
        (true, _, RestoreArgs { allow_non_empty: true, .. }) => Action::Add,
        (true, ..) => Action::Refuse,
    };
    Ok(Target { database: source.database.clone(), target, exists, objects, rows, action })
}
