//! `list`: which backups there are.

use chrono::{DateTime, Utc};
use clap::Args;
use erpgo_dr_core::postgres::Scope;
use erpgo_dr_core::repository::{CatalogueEntry, CatalogueProblem, Hold, VerifyLevel};
use serde::Serialize;

use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Align, Report, Table, age, bytes, ratio};

/// List the backups, oldest first
///
/// Without a key it works as well, and shows less.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only the newest so many
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<usize>,
    /// Only backups that hold this database
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
}

#[derive(Serialize)]
struct Listing {
    backups: Vec<Listed>,
    problems: Vec<CatalogueProblem>,
}

/// A backup as `list` shows it. What only a key can tell is null without one.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    id: String,
    kind: String,
    created: DateTime<Utc>,
    finished: DateTime<Utc>,
    plaintext_bytes: u64,
    stored_bytes: u64,
    objects: usize,
    scope: Option<Scope>,
    databases: Option<Vec<String>>,
    server_version: Option<String>,
    label: Option<String>,
    proven: Option<VerifyLevel>,
    proven_at: Option<DateTime<Utc>>,
    failed: bool,
    hold: Option<Hold>,
}

impl Listed {
    pub(super) fn new(entry: &CatalogueEntry) -> Self {
        let (summary, details) = (&entry.summary, entry.details.as_ref());
        Self {
            id: summary.id.to_string(),
            kind: summary.kind.clone(),
            created: summary.created,
            finished: summary.finished,
            plaintext_bytes: summary.plaintext_bytes,
            stored_bytes: summary.stored_bytes,
            objects: summary.objects.len(),
            scope: details.map(|details| details.scope),
            databases: details.map(|details| details.databases.clone()),
            server_version: details.map(|details| details.server_version.clone()),
            label: details.and_then(|details| details.label.clone()),
            proven: entry.proven().map(|(level, _)| level),
            proven_at: entry.proven().map(|(_, at)| at),
            failed: entry.verdicts.last().is_some_and(|verdict| !verdict.passed),
            hold: entry.hold.clone(),
        }
    }

    fn state(&self) -> String {
        match (self.failed, self.proven) {
            (true, _) => "FAILED".to_owned(),
            (false, Some(level)) => level.to_string(),
            (false, None) => "-".to_owned(),
        }
    }

    fn note(&self) -> String {
        let hold = self.hold.as_ref().map(|hold| format!("hold: {}", hold.reason));
        let scope =
            self.scope.filter(|scope| *scope != Scope::Full).map(|scope| format!("{} only", super::scope_name(scope)));
        [hold, scope, self.label.clone()].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

impl ListArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let places = context.places()?;
        let repository = context.open_at(&places, Access::KeysIfAtHand).await?;
        let catalogue = context.catalogue_at(&places, &repository).await?;
        let wanted = |entry: &&CatalogueEntry| match (&self.database, &entry.details) {
            (None, _) => true,
            (Some(name), details) => details.as_ref().is_some_and(|details| details.databases.contains(name)),
        };
        let mut backups: Vec<Listed> = catalogue.entries.iter().filter(wanted).map(Listed::new).collect();
        if let Some(last) = self.last {
            backups.drain(..backups.len().saturating_sub(last));
        }
        let now = repository.environment().clock.now();
        let listing = Listing { backups, problems: catalogue.problems };
        Report::new(&listing, render(&listing, now), listing.problems.is_empty())
    }
}

fn render(listing: &Listing, now: DateTime<Utc>) -> String {
    if listing.backups.is_empty() && listing.problems.is_empty() {
        return "no backups\n".to_owned();
    }
    let mut table = Table::new([
        ("BACKUP", Align::Left),
        ("AGE", Align::Right),
        ("DATA", Align::Right),
        ("STORED", Align::Right),
        ("RATIO", Align::Right),
        ("PROVEN", Align::Left),
        ("DATABASES", Align::Left),
        ("NOTE", Align::Left),
    ]);
    for backup in &listing.backups {
        table.row([
            backup.id.clone(),
            age(backup.created, now),
            bytes(backup.plaintext_bytes),
            bytes(backup.stored_bytes),
            ratio(backup.plaintext_bytes, backup.stored_bytes),
            backup.state(),
            backup.databases.as_ref().map_or_else(|| "(locked)".to_owned(), |names| names.join(",")),
            backup.note(),
        ]);
    }
    let mut text = table.render();
    text.push_str(&problems(&listing.problems));
    text
}

/// Says in words what is wrong with a catalogue.
pub(super) fn problems(problems: &[CatalogueProblem]) -> String {
    problems.iter().map(|found| format!("PROBLEM: {}: {}\n", found.subject, found.problem)).collect()
}
