//! Compares figures of the business with what they were in earlier backups: data that is wrong without being damaged shows there first.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Result;
use crate::postgres::{ConnectionSettings, Figure, FigureValue, ServerInspector, number};
use crate::repository::{Manifest, Repository, Summary};
use crate::types::BackupId;

/// Backups of its database that are looked through for a figure at most: one that is new is in none of them.
const LOOKED_THROUGH: usize = 50;

/// What figures are now, and were.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FiguresReport {
    /// The figures, in the order that they were asked for.
    pub figures: Vec<FigureComparison>,
}

/// A figure, now and in earlier backups.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FigureComparison {
    /// Its name.
    pub name: String,
    /// The database.
    pub database: String,
    /// The number, as PostgreSQL writes it.
    pub now: Option<String>,
    /// What it was, the newest backup first. Backups that were asked by another query are left out.
    pub earlier: Vec<EarlierFigure>,
    /// How much it changed since the newest of them that is a number, as a share of what it was: -0.5 is half of it. Absent where there is
    /// none, where it is no number now, and where it was zero.
    pub change: Option<f64>,
    /// The most that it may.
    pub max_change: Option<f64>,
    /// What is wrong with it.
    pub finding: Option<String>,
}

/// A figure as a backup has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EarlierFigure {
    /// The backup.
    pub backup: BackupId,
    /// When it began.
    pub created: DateTime<Utc>,
    /// The number.
    pub value: Option<String>,
}

impl FiguresReport {
    /// Returns whether all could be told, and none has changed by more than it may.
    pub fn passed(&self) -> bool {
        self.figures.iter().all(|figure| figure.finding.is_none())
    }
}

/// Asks a server for figures, and compares them with those of the newest `backups` backups.
///
/// # Errors
/// When the server cannot be asked, or the catalogue cannot be read. What is wrong with a figure is in the report, and a backup whose manifest
/// cannot be read is left out.
pub async fn check_figures(
    repository: &Repository,
    settings: &ConnectionSettings,
    figures: &[Figure],
    backups: usize,
) -> Result<FiguresReport> {
    let earlier = earlier(repository, figures, backups).await?;
    let inspector = ServerInspector::new(settings.clone());
    let mut compared = Vec::with_capacity(figures.len());
    for (figure, earlier) in figures.iter().zip(earlier) {
        let now = inspector.read_figure(&figure.database, &figure.name, &figure.query).await?;
        compared.push(compare(figure, now, earlier));
    }
    Ok(FiguresReport { figures: compared })
}

/// Reads what each figure was in the newest backups that have it.
async fn earlier(repository: &Repository, figures: &[Figure], backups: usize) -> Result<Vec<Vec<EarlierFigure>>> {
    let catalogue = repository.catalogue().await?;
    let dumps = catalogue.entries.iter().filter(|entry| !entry.summary.is_physical());
    let mut dumps: Vec<_> = dumps.filter_map(|entry| Some((&entry.summary, entry.details.as_ref()?))).collect();
    dumps.sort_by_key(|(summary, _)| Reverse(summary.created));
    let mut searches: Vec<Search<'_>> = figures.iter().map(Search::of).collect();
    for (summary, details) in dumps {
        let is_asked =
            |search: &Search<'_>| details.databases.contains(&search.figure.database) && search.goes_on(backups);
        if !searches.iter().any(is_asked) {
            continue;
        }
        match repository.manifest(summary).await {
            Ok(manifest) => {
                searches
                    .iter_mut()
                    .filter(|search| is_asked(search))
                    .for_each(|search| search.look(&manifest, summary));
            }
            // That is for `verify` to find.
            Err(error) => tracing::warn!(backup = %summary.id, %error, "what it has of figures cannot be read"),
        }
    }
    Ok(searches.into_iter().map(|search| search.found).collect())
}

/// The search for what a figure was.
struct Search<'f> {
    figure: &'f Figure,
    found: Vec<EarlierFigure>,
    looked_through: usize,
}

impl<'f> Search<'f> {
    fn of(figure: &'f Figure) -> Self {
        Self { figure, found: Vec::new(), looked_through: 0 }
    }

    fn goes_on(&self, backups: usize) -> bool {
        self.found.len() < backups && self.looked_through < LOOKED_THROUGH.max(backups)
    }

    fn look(&mut self, manifest: &Manifest, summary: &Summary) {
        self.looked_through += 1;
        let of_database = manifest.contents.databases.iter().filter(|one| one.database == self.figure.database);
        let told = of_database
            .flat_map(|one| &one.figures)
            .find(|told| (&told.name, &told.query) == (&self.figure.name, &self.figure.query));
        self.found.extend(told.map(|told| EarlierFigure {
            backup: summary.id.clone(),
            created: summary.created,
            value: told.value.clone(),
        }));
    }
}

fn compare(figure: &Figure, now: FigureValue, earlier: Vec<EarlierFigure>) -> FigureComparison {
    let last = earlier.iter().find_map(|earlier| number(earlier.value.as_deref()));
    let (change, finding) = match (now.number(), last) {
        (None, _) => {
            let said =
                now.failed.unwrap_or_else(|| format!("it is no number: {}", now.value.as_deref().unwrap_or("null")));
            (None, Some(said))
        }
        (Some(_), None) => (None, None),
        (Some(now), Some(0.0)) => {
            let moved =
                (now != 0.0 && figure.max_change.is_some()).then(|| "it was zero, and is not any more".to_owned());
            (None, moved)
        }
        (Some(now), Some(last)) => {
            let change = (now - last) / last.abs();
            let beyond = figure.max_change.filter(|most| change.abs() > *most);
            let told = beyond
                .map(|most| format!("it changed by {:+.1} %, and may change by {:.1} %", change * 100.0, most * 100.0));
            (Some(change), told)
        }
    };
    let (name, database) = (figure.name.clone(), figure.database.clone());
    FigureComparison { name, database, now: now.value, earlier, change, max_change: figure.max_change, finding }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(now: Option<&str>, last: Option<&str>, max_change: Option<f64>) -> FigureComparison {
        let (name, query) = ("orders".to_owned(), "SELECT 1".to_owned());
        let figure = Figure { name: name.clone(), database: "erp".to_owned(), query: query.clone(), max_change };
        let told = FigureValue { name, query, value: now.map(str::to_owned), failed: None, is_float: false };
        let earlier = last.map(|value| {
            let created = DateTime::UNIX_EPOCH;
            EarlierFigure { backup: BackupId::generate(created), created, value: Some(value.to_owned()) }
        });
        compare(&figure, told, earlier.into_iter().collect())
    }

    #[test]
    fn a_change_beyond_the_bound_is_found_in_both_directions() {
        for (now, change, found) in [("80", -0.2, false), ("79", -0.21, true), ("120", 0.2, false), ("121", 0.21, true)]
        {
            let compared = compared(Some(now), Some("100"), Some(0.2));
            assert!((compared.change.unwrap() - change).abs() < 1e-9, "{compared:?}");
            assert_eq!(compared.finding.is_some(), found, "{compared:?}");
        }
        assert!(compared(Some("-90"), Some("-100"), Some(0.05)).change.unwrap() > 0.0, "less negative is more");
        assert!(compared(Some("1"), Some("100"), None).finding.is_none(), "no bound, no finding");
    }

    #[test]
    fn what_cannot_be_compared_says_so() {
        assert_eq!(compared(Some("5"), None, Some(0.1)).finding, None, "the first one has nothing to be compared with");
        assert!(compared(Some("5"), Some("0"), Some(0.1)).finding.unwrap().contains("was zero"));
        assert_eq!(compared(Some("0"), Some("0"), Some(0.1)).finding, None);
        assert!(compared(Some("many"), Some("1"), None).finding.unwrap().contains("no number: many"));
        assert!(compared(None, Some("1"), None).finding.unwrap().contains("no number: null"));
    }
}
