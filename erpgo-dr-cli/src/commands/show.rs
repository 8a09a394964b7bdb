//! `show`: what is in a backup.

use clap::Args;
use erpgo_dr_core::repository::{Manifest, StoredStream, Verdict};
use serde::Serialize;

use super::list::Listed;
use super::verify::describe_verdict;
use crate::context::{Access, Context, find};
use crate::error::CliError;
use crate::output::{Align, Report, Table, bytes, moment, seconds};

/// Show what is in a backup: databases, tables, rows, and what verifications found
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The backup: its identifier or the beginning of one, `latest`, or `latest-proven`
    #[arg(value_name = "BACKUP", default_value = "latest")]
    backup: String,
}

#[derive(Serialize)]
struct Shown {
    backup: Listed,
    manifest: Manifest,
    verdicts: Vec<Verdict>,
}

impl ShowArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let catalogue = repository.catalogue().await?;
        let entry = find(&catalogue, &self.backup)?;
        let manifest = repository.manifest(&entry.summary).await?;
        let shown = Shown { backup: Listed::new(entry), manifest, verdicts: entry.verdicts.clone() };
        let mut text = head(&shown.manifest);
        if let Some(hold) = &entry.hold {
            text.push_str(&format!("on hold since {}: {}\n", moment(hold.since), hold.reason));
        }
        text.push_str(&tables(&shown.manifest));
        for verdict in &shown.verdicts {
            text.push_str(&format!("{} {}", moment(verdict.at), describe_verdict(verdict)));
        }
        Report::new(&shown, text, true)
    }
}

fn head(manifest: &Manifest) -> String {
    let contents = &manifest.contents;
    let objects: Vec<_> = manifest.streams.iter().flat_map(|stream: &StoredStream| &stream.parts).collect();
    let (plain, stored) = (
        objects.iter().map(|part| part.plaintext_bytes).sum::<u64>(),
        objects.iter().map(|part| part.stored_bytes).sum::<u64>(),
    );
    let mut text = format!(
        "backup {} ({}, {} scope)\nbegun {}\nserver PostgreSQL {}\n{} in {} objects, {} stored\n",
        manifest.id,
        manifest.kind,
        super::scope_name(contents.scope),
        moment(manifest.created),
        contents.server.version,
        bytes(plain),
        objects.len(),
        bytes(stored),
    );
    if let Some(origin) = &manifest.origin {
        let layers = if origin.layers.is_empty() { "no layers".to_owned() } else { origin.layers.join(", ") };
        text.push_str(&format!("imported from {} ({layers})\n", origin.file));
        if origin.layers.iter().any(|layer| layer.contains("openssl")) {
            text.push_str(
                "what the file was before the import is unauthenticated: nobody can tell whether it was altered\n",
            );
        }
    }
    for warning in &contents.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}

fn tables(manifest: &Manifest) -> String {
    let mut text = String::new();
    for database in &manifest.contents.databases {
        text.push_str(&format!(
            "\ndatabase {}: {} rows in {} tables ({} on the server)\n",
            database.database,
            database.rows(),
            database.tables.len(),
            bytes(database.properties.size),
        ));
        let mut table = Table::new([("TABLE", Align::Left), ("ROWS", Align::Right), ("DATA", Align::Right)]);
        for found in &database.tables {
            let name = match found.schema.is_empty() {
                true => "(large objects)".to_owned(),
                false => format!("{}.{}", found.schema, found.name),
            };
            table.row([name, found.rows.to_string(), bytes(found.bytes)]);
        }
        text.push_str(&table.render());
    }
    if manifest.contents.databases.iter().any(|database| !database.tables.is_empty()) {
        text.push('\n');
    }
    text
}

/// Says how long a verdict's restore took, where there was one.
pub(super) fn restored_in(verdict: &Verdict) -> String {
    verdict.restore_seconds.map(|time| format!(", restored in {}", seconds(time))).unwrap_or_default()
}
