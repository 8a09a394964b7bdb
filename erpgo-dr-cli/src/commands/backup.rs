//! `backup`: takes a backup and verifies it.

use clap::Args;
use erpgo_dr_core::Codec;
use erpgo_dr_core::ops::{self, BackupOptions, BackupReport};
use erpgo_dr_core::postgres::{DatabaseSelection, DumpOptions, Scope};
use erpgo_dr_core::storage::StorageClass;

use super::verify::describe_verdict;
use crate::config::BackupVerify;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Report, bytes, ratio, seconds};

/// Take a backup, store it everywhere, and verify it
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// A database; may be given several times [default: those of the configuration, else all]
    #[arg(long, value_name = "NAME")]
    database: Vec<String>,
    /// All databases, whatever the configuration says
    #[arg(long, conflicts_with = "database")]
    all_databases: bool,
    /// What is taken of each database
    #[arg(long, value_name = "SCOPE", value_parser = super::scope_parser())]
    scope: Option<Scope>,
    /// Leave out roles and tablespaces
    #[arg(long)]
    no_globals: bool,
    /// Connections that read large tables at once [default: one for each core, at most 4]
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    /// How it is compressed: zstd[:LEVEL], gzip[:LEVEL] or none [default: the repository's]
    #[arg(long, value_name = "CODEC")]
    codec: Option<Codec>,
    /// The storage class of the data: GLACIER, DEEP_ARCHIVE, GLACIER_IR...
    #[arg(long, value_name = "CLASS")]
    storage_class: Option<StorageClass>,
    /// A name for people
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// How deep it is verified at once [default: mac]
    #[arg(long, value_name = "LEVEL")]
    verify: Option<BackupVerify>,
    /// Do not verify it now
    #[arg(long, conflicts_with = "verify")]
    no_verify: bool,
    /// Put it on hold, for this reason: prune never removes it
    #[arg(long, value_name = "REASON")]
    hold: Option<String>,
}

impl BackupArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let driver = context.driver()?.dump_options(self.dump_options(context));
        let repository = context.repository(Access::Writing).await?;
        let report = ops::backup(&repository, &driver, &self.backup_options(context), context.progress()).await?;
        if let Some(reason) = &self.hold {
            repository.hold(&report.id, reason).await?;
        }
        Report::new(&report, describe(&report), report.is_complete())
    }

    fn dump_options(&self, context: &Context) -> DumpOptions {
        let config = &context.config.backup;
        let named = if self.database.is_empty() { &config.databases } else { &self.database };
        let selection = match self.all_databases || named.is_empty() {
            true => DatabaseSelection::All,
            false => DatabaseSelection::Named(named.clone()),
        };
        let scope = self.scope.or(config.scope).unwrap_or_default();
        let jobs = self.jobs.or(config.jobs).unwrap_or(0);
        DumpOptions::new()
            .databases(selection)
            .scope(scope)
            .globals(!self.no_globals)
            .jobs(jobs)
            .figures(context.config.figures.clone())
    }

    fn backup_options(&self, context: &Context) -> BackupOptions {
        let config = &context.config.backup;
        let verify = match self.no_verify {
            true => BackupVerify::None,
            false => self.verify.or(config.verify).unwrap_or(BackupVerify::Mac),
        };
        BackupOptions::default()
            .with_codec(self.codec.or(config.codec))
            .with_storage_class(self.storage_class.clone().or_else(|| config.storage_class.clone()))
            .with_label(self.label.clone())
            .with_verify(verify.level())
    }
}

/// Returns what a backup takes by the configuration alone; `databases` are others than those that it names.
pub(super) fn configured_dump(context: &Context, databases: Option<&[String]>) -> DumpOptions {
    let config = &context.config.backup;
    let selection = match databases.unwrap_or(&config.databases) {
        [] => DatabaseSelection::All,
        named => DatabaseSelection::Named(named.to_vec()),
    };
    let (scope, jobs) = (config.scope.unwrap_or_default(), config.jobs.unwrap_or(0));
    DumpOptions::new()
        .databases(selection)
        .scope(scope)
        .globals(true)
        .jobs(jobs)
        .figures(context.config.figures.clone())
}

/// Returns how a backup is taken by the configuration alone.
pub(super) fn configured_backup(context: &Context) -> BackupOptions {
    let config = &context.config.backup;
    BackupOptions::default()
        .with_codec(config.codec)
        .with_storage_class(config.storage_class.clone())
        .with_verify(config.verify.unwrap_or(BackupVerify::Mac).level())
}

/// Says in words what was stored.
pub(super) fn describe(report: &BackupReport) -> String {
    let mut text = format!(
        "backup {}: {} of {} stored as {} ({}) in {}\n",
        report.id,
        match report.databases.len() {
            0 => "the roles".to_owned(),
            1 => format!("database {}", report.databases[0]),
            count => format!("{count} databases ({})", report.databases.join(", ")),
        },
        bytes(report.plaintext_bytes),
        bytes(report.stored_bytes),
        ratio(report.plaintext_bytes, report.stored_bytes),
        seconds(report.backup_seconds),
    );
    match &report.verdict {
        Some(verdict) => text.push_str(&describe_verdict(verdict)),
        None => text.push_str("not verified yet: `erpgo-dr verify` does it\n"),
    }
    for miss in &report.missed {
        text.push_str(&format!("MISSED: {} lacks {}: {}\n", miss.location, miss.key, miss.error));
    }
    if !report.missed.is_empty() {
        text.push_str("the backup is not durable everywhere: bring that place back, then `erpgo-dr repair`\n");
    }
    text
}
