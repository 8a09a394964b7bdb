//! `restore`: brings a backup, or a file of the old scripts, back into a server.

mod plan;
mod recovery;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use erpgo_dr_core::ops::{self, BackupSelector, RestoreReport};
use erpgo_dr_core::postgres::{RestoreOptions, Scope, TableName};
use erpgo_dr_core::types::BackupId;
use serde::Serialize;

use self::plan::RestorePlan;
use self::recovery::Recovery;
use super::legacy::LegacyArgs;
use crate::context::{Access, Context, find};
use crate::error::CliError;
use crate::output::{Report, bytes, seconds};

/// Restore a backup into a server
///
/// A database that is not there is made; one that is there must be empty, unless --clean or --allow-non-empty says
/// what to do with it. Nothing is changed before the backup was found readable.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup: its identifier or the beginning of one, `latest`, or `latest-proven` [default: latest-proven]
    #[arg(value_name = "BACKUP", conflicts_with_all = ["before", "from_file"])]
    backup: Option<String>,
    /// The newest backup begun at or before this moment: 2026-11-24T03:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "from_file")]
    before: Option<DateTime<Utc>>,
    /// A file of the old scripts instead of a backup
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    #[command(flatten)]
    legacy: LegacyArgs,

    /// Only this database of the backup; may be given several times
    #[arg(long, value_name = "NAME")]
    database: Vec<String>,
    /// The name under which the one database comes back
    #[arg(long, value_name = "NAME")]
    target_database: Option<String>,
    /// Make a database that is not there (the default)
    #[arg(long, overrides_with = "no_create")]
    create: bool,
    /// Fail where the database is not there
    #[arg(long)]
    no_create: bool,
    /// Drop what the backup holds from the target before it is made anew (destroys what is there)
    #[arg(long)]
    clean: bool,
    /// Restore although the target holds something already, beside it
    #[arg(long)]
    allow_non_empty: bool,
    /// End other sessions on the target first
    #[arg(long)]
    terminate_sessions: bool,
    /// Everything belongs to the role that restores
    #[arg(long)]
    no_owner: bool,
    /// Leave out grants
    #[arg(long)]
    no_privileges: bool,
    /// Everything goes to the default tablespace
    #[arg(long)]
    no_tablespaces: bool,
    /// Restore roles and tablespaces first. Those that exist stay as they are; with `overwrite` they take on the backup's
    /// attributes, passwords and memberships, but for the role that restores
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "add")]
    globals: Option<Globals>,
    /// Processes that load data and build indexes at once
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Only this table, as SCHEMA.TABLE; may be given several times
    #[arg(long, value_name = "SCHEMA.TABLE", value_parser = parse_table)]
    table: Vec<TableName>,
    /// Only what is in this schema; may be given several times
    #[arg(long, value_name = "NAME")]
    schema: Vec<String>,
    /// What is restored of it
    #[arg(long, value_name = "SCOPE", value_parser = super::scope_parser())]
    scope: Option<Scope>,
    /// One transaction for each database: all or nothing
    #[arg(long)]
    single_transaction: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before something is destroyed
    #[arg(short, long)]
    yes: bool,
}

/// What becomes of roles and tablespaces that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Globals {
    /// They stay as they are
    Add,
    /// They take on what the backup says of them
    Overwrite,
}

impl RestoreArgs {
    pub(super) async fn run(mut self, context: &Context) -> Result<Report, CliError> {
        let recovery = self.recovery(context)?;
        if let Some(asked) = &recovery {
            self.scope = self.scope.or(asked.scope);
        }
        // The word that the old script asked for.
        let word = if recovery.is_some() { "RECOVER" } else { "RESTORE" };
        let file = self.from_file.clone().or(recovery.map(|asked| asked.file));
        let settings = context.connection()?;
        // User, host and port; each database is named by itself.
        let server = settings.to_string().rsplit_once('/').map_or_else(String::new, |(server, _)| server.to_owned());
        let driver = context.driver_of(settings).restore_options(self.options());
        if let Some(path) = file {
            let legacy = self.legacy.options(context).await?;
            let dry_run = self.is_dry_run(context);
            // What a file holds is known only when all of it was read, which a restore does in any case.
            if dry_run || self.asks() {
                let plan = RestorePlan::of_file(&path, &legacy, &self, &driver, server).await?;
                if dry_run {
                    return plan.report();
                }
                self.confirm(context, &plan, word).await?;
            }
            let report = ops::restore_file(&path, &legacy, &driver, context.progress()).await?;
            return finished(context, &report);
        }
        let repository = context.repository(Access::Unlocked).await?;
        let id = self.select(&repository).await?;
        let plan = RestorePlan::of_backup(&repository, &id, &self, &driver, server).await?;
        if self.is_dry_run(context) {
            return plan.report();
        }
        self.confirm(context, &plan, word).await?;
        let report = ops::restore(&repository, &id, &driver, context.progress()).await?;
        finished(context, &report)
    }

    /// Returns what the old script was asked for, unless something else is named.
    fn recovery(&self, context: &Context) -> Result<Option<Recovery>, CliError> {
        if self.from_file.is_some() || self.backup.is_some() || self.before.is_some() {
            return Ok(None);
        }
        Recovery::asked(context)
    }

    fn is_dry_run(&self, context: &Context) -> bool {
        self.dry_run || recovery::is_dry_run(context)
    }

    async fn select(&self, repository: &erpgo_dr_core::Repository) -> Result<BackupId, CliError> {
        let catalogue = repository.catalogue().await?;
        let entry = match (self.backup.as_deref(), self.before) {
            (_, Some(moment)) => ops::select_dump(&catalogue, &BackupSelector::Before(moment))?,
            (Some("latest"), None) => ops::select_dump(&catalogue, &BackupSelector::Latest)?,
            (None | Some("latest-proven"), None) => ops::select_dump(&catalogue, &BackupSelector::LatestProven)?,
            (Some(text), None) => find(&catalogue, text)?,
        };
        if entry.summary.is_physical() {
            return Err(CliError::usage(
                format!(
                    "{} is a physical backup, the files of a whole cluster, and no database can be taken from it",
                    entry.id()
                ),
                format!(
                    "restore the cluster into a folder: `erpgo-dr cluster restore {} --data-dir FOLDER`",
                    entry.id()
                ),
            ));
        }
        Ok(entry.id().clone())
    }

    fn options(&self) -> RestoreOptions {
        let mut options = RestoreOptions::new()
            .create(!self.no_create || self.create)
            .clean(self.clean)
            .allow_non_empty(self.allow_non_empty)
            .terminate_sessions(self.terminate_sessions)
            .no_owner(self.no_owner)
            .no_privileges(self.no_privileges)
            .no_tablespaces(self.no_tablespaces)
            .restore_globals(self.globals.is_some())
            .overwrite_globals(self.globals == Some(Globals::Overwrite))
            .jobs(self.jobs)
            .tables(self.table.clone())
            .schemas(self.schema.clone())
            .scope(self.scope.unwrap_or_default())
            .single_transaction(self.single_transaction);
        if !self.database.is_empty() {
            options = options.databases(self.database.clone());
        }
        match &self.target_database {
            Some(name) => options.target(name),
            None => options,
        }
    }

    /// Returns whether something may be destroyed that nobody has agreed to yet.
    fn asks(&self) -> bool {
        self.clean && !self.yes
    }

    /// Asks before something is destroyed. A script must have said beforehand that it may be.
    async fn confirm(&self, context: &Context, plan: &RestorePlan, word: &str) -> Result<(), CliError> {
        if !self.asks() || !plan.destroys() {
            return Ok(());
        }
        let hint = "give --yes if this is meant; --dry-run shows what would be done";
        if !context.prompts.can_ask() {
            let message = format!("{}, and there is no terminal to ask on", plan.danger());
            return Err(CliError::Refused { message, hint: hint.to_owned() });
        }
        match context.prompts.confirm(&format!("{}\n{}.", plan.text().trim_end(), plan.danger()), word).await? {
            true => Ok(()),
            false => {
                Err(CliError::Refused { message: "not confirmed; nothing was done".to_owned(), hint: hint.to_owned() })
            }
        }
    }
}

fn finished(context: &Context, report: &RestoreReport) -> Result<Report, CliError> {
    for warning in &report.outcome.warnings {
        context.output.warn(warning);
    }
    let mut text = format!(
        "restored {} into {}: {} in {}\n",
        report.backup.as_ref().map_or_else(|| "the file".to_owned(), ToString::to_string),
        report.outcome.databases.join(", "),
        bytes(report.outcome.bytes),
        seconds(report.seconds),
    );
    if let Some(rpo) = report.rpo_seconds {
        text.push_str(&format!("what came after the backup began, {} ago, is not in it\n", seconds(rpo)));
    }
    Report::new(report, text, true)
}

fn parse_table(text: &str) -> Result<TableName, String> {
    match text.split_once('.') {
        Some((schema, name)) if !schema.is_empty() && !name.is_empty() => Ok(TableName::new(schema, name)),
        _ => Err("expected SCHEMA.TABLE".to_owned()),
    }
}
