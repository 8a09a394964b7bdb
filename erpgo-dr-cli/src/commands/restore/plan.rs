//! What a restore is going to do, before it does it: for `--dry-run`, and for the question before something is destroyed.

use std::path::Path;

use erpgo_dr_core::Repository;
use erpgo_dr_core::postgres::LogicalDriver;
use erpgo_dr_core::types::BackupId;
use serde::Serialize;

use super::RestoreArgs;
use crate::error::CliError;
use crate::output::{Report, bytes, moment};

/// What goes where.
#[derive(Debug, Serialize)]
pub(super) struct RestorePlan {
    dry_run: bool,
    backup: Option<BackupId>,
    file: Option<String>,
    server: String,
    databases: Vec<Target>,
    #[serde(skip)]
    source: String,
}

#[derive(Debug, Serialize)]
struct Target {
    /// Its name in the backup; `None` for a file, which was not opened yet.
    database: Option<String>,
    /// The name that it will have; `None`: the one that the file says.
    target: Option<String>,
    exists: Option<bool>,
    /// Tables, views and sequences that it holds now.
    objects: Option<u64>,
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
            let target = arguments.target_database.clone().unwrap_or_else(|| found.database.clone());
            databases.push(look(arguments, driver, Some((&found.database, found.rows())), target).await?);
        }
        let source = format!(
            "backup {} of {} ({})",
            id,
            moment(manifest.created),
            bytes(manifest.streams.iter().map(|stream| stream.info.bytes).sum())
        );
        Ok(Self { dry_run: true, backup: Some(id.clone()), file: None, server, databases, source })
    }

    /// Looks at the database that a file would go to.
    pub(super) async fn of_file(
        path: &Path,
        arguments: &RestoreArgs,
        driver: &LogicalDriver,
        server: String,
    ) -> Result<Self, CliError> {
        let file = path.display().to_string();
        let target = match &arguments.target_database {
            Some(name) => look(arguments, driver, None, name.clone()).await?,
            None => {
                let action = if arguments.clean { Action::Replace } else { Action::Fill };
                Target { database: None, target: None, exists: None, objects: None, rows: None, action }
            }
        };
        let source = format!("file {file}");
        Ok(Self { dry_run: true, backup: None, file: Some(file), server, databases: vec![target], source })
    }

    /// Returns whether something that is there now would be gone.
    pub(super) fn destroys(&self) -> bool {
        self.databases.iter().any(|target| target.action == Action::Replace)
    }

    /// Names what would be gone.
    pub(super) fn danger(&self) -> String {
        let replaced = self.databases.iter().filter(|target| target.action == Action::Replace);
        let names: Vec<&str> =
            replaced.map(|target| target.target.as_deref().unwrap_or("the database named in the file")).collect();
        format!("this replaces what is in {} on {}", names.join(", "), self.server)
    }

    /// Says in words what would be done.
    pub(super) fn text(&self) -> String {
        let mut text = format!("restore {} into {}\n", self.source, self.server);
        for target in &self.databases {
            let name = target.target.as_deref().unwrap_or("the database named in the file");
            let objects = target.objects.unwrap_or(0);
            let what = match target.action {
                Action::Create => "is made".to_owned(),
                Action::Fill => "is there and must be empty".to_owned(),
                Action::Add => format!("holds {objects} tables, views and sequences, which stay"),
                Action::Replace if target.objects.is_none() => "is replaced".to_owned(),
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
    source: Option<(&String, u64)>,
    target: String,
) -> Result<Target, CliError> {
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
    Ok(Target {
        database: source.map(|(name, _)| name.clone()),
        target: Some(target),
        exists: Some(exists),
        objects: Some(objects),
        rows: source.map(|(_, rows)| rows),
        action,
    })
}
