//! `import`: adopts files of the old scripts into the repository.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use erpgo_dr_core::Codec;
use erpgo_dr_core::DatabaseDriver;
use erpgo_dr_core::ops::{self, BackupReport, ImportOptions};
use erpgo_dr_core::storage::StorageClass;
use serde::Serialize;

use super::legacy::LegacyArgs;
use crate::config::BackupVerify;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::Report;

/// Adopt files of the old scripts as backups of the time they were made
///
/// A file is read to its end first, and becomes a backup only if the dump in it is whole.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    legacy: LegacyArgs,
    /// When it was made [default: by the file's name, or else its last change]
    #[arg(long, value_name = "TIME")]
    created: Option<DateTime<Utc>>,
    /// How it is compressed: zstd[:LEVEL], gzip[:LEVEL] or none [default: the repository's]
    #[arg(long, value_name = "CODEC")]
    codec: Option<Codec>,
    /// The storage class of the data
    #[arg(long, value_name = "CLASS")]
    storage_class: Option<StorageClass>,
    /// A name for people [default: the file's]
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Import also what is a backup already
    #[arg(long)]
    again: bool,
    /// How deep it is verified at once
    #[arg(long, value_name = "LEVEL", default_value = "mac")]
    verify: BackupVerify,
}

#[derive(Serialize)]
struct Imported {
    imported: Vec<Import>,
}

#[derive(Serialize)]
struct Import {
    file: String,
    #[serde(flatten)]
    report: BackupReport,
}

impl ImportArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Writing).await?;
        let driver = context.driver()?;
        let checker: Option<&dyn DatabaseDriver> = Some(&driver);
        let mut options = ImportOptions::default();
        options.legacy = self.legacy.options(context).await?;
        options.created = self.created;
        options.codec = self.codec;
        options.storage_class = self.storage_class.clone();
        options.label = self.label.clone();
        options.verify = self.verify.level();
        options.again = self.again;
        let (mut done, mut text, mut complete) = (Imported { imported: Vec::new() }, String::new(), true);
        for path in &self.files {
            let report = ops::import(&repository, path, &options, checker, context.progress()).await;
            let report = report.inspect_err(|_| {
                if !done.imported.is_empty() {
                    context.output.note(&format!("{} files were imported before this one", done.imported.len()));
                }
            })?;
            complete &= report.is_complete();
            text.push_str(&format!("{}: {}", path.display(), super::backup::describe(&report)));
            done.imported.push(Import { file: path.display().to_string(), report });
        }
        Report::new(&done, text, complete)
    }
}
