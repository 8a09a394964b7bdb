//! `evidence collect`: everything that says what happened, before anybody tidies up.

use std::path::PathBuf;

use clap::Args;
use erpgo_dr_core::ops::evidence::{EvidenceOptions, collect_evidence};

use super::CustodianOptions;
use super::show::described;
use crate::context::{Access, Context, find};
use crate::error::CliError;
use crate::output::Report;

/// Collect evidence into the repository: what the server says of itself, tables, logs, files
///
/// What the configuration's [evidence] names is collected as well. Of the server nothing is changed. An item that cannot be had is
/// listed with the reason, the others are collected all the same, and the command then ends with 1.
#[derive(Debug, Args)]
pub(super) struct EvidenceCollectArgs {
    /// What it is about, for people
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// A table that is kept whole as CSV: audit_logs, security.events; may be given several times
    #[arg(long, value_name = "TABLE")]
    table: Vec<String>,
    /// A query whose rows are kept as CSV; may be given several times
    #[arg(long, value_name = "NAME=SQL", value_parser = named)]
    query: Vec<(String, String)>,
    /// A file of this host; may be given several times
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// A backup that belongs to it, and is put on hold: an identifier, `latest`, or `latest-proven`; may be given several times
    #[arg(long, value_name = "BACKUP")]
    backup: Vec<String>,
    /// Leave the server out
    #[arg(long)]
    no_server: bool,
    #[command(flatten)]
    who: CustodianOptions,
}

fn named(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, query)) if !name.is_empty() && !query.is_empty() => Ok((name.to_owned(), query.to_owned())),
        _ => Err("write it as NAME=SQL".to_owned()),
    }
}

impl EvidenceCollectArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let server = match self.no_server {
            true => None,
            false => Some(context.connection()?),
        };
        let config = &context.config.evidence;
        let mut names: Vec<&String> = config.queries.keys().chain(self.query.iter().map(|(name, _)| name)).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(CliError::usage(
                format!("two queries are called {}", twice[0]),
                "give each a name of its own: --query NAME=SQL, and [evidence.queries]",
            ));
        }
        let repository = context.repository(Access::Writing).await?;
        let mut backups = Vec::with_capacity(self.backup.len());
        if !self.backup.is_empty() {
            let catalogue = repository.catalogue().await?;
            for backup in &self.backup {
                backups.push(find(&catalogue, backup)?.id().clone());
            }
        }
        let options = EvidenceOptions::new(self.who.custodian())
            .with_label(self.label)
            .with_server(server)
            .with_tables(config.tables.iter().cloned().chain(self.table))
            .with_queries(config.queries.clone().into_iter().chain(self.query))
            .with_programs(config.programs.clone())
            .with_environment(context.passed_environment())
            .with_files(config.files.iter().cloned().chain(self.file))
            .with_backups(backups);
        let report = collect_evidence(&repository, &options, context.progress()).await?;
        let id = &report.manifest.id;
        let text = format!(
            "{}\nkeep this key elsewhere: what is handed out is checked with it\n`erpgo-dr evidence verify {id}` proves it, `erpgo-dr evidence export {id} FOLDER` hands it out\n",
            described(&report)
        );
        Report::new(&report, text, report.is_complete())
    }
}
