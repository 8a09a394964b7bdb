//! Compares figures of the business with what they were in earlier backups: data that is wrong without being damaged shows there first.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Result;
use crate::postgres::{ConnectionSettings, Figure, FigureValue, ServerInspector};
use crate::repository::Repository;
use crate::types::BackupId;

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
    /// How much it changed since the newest of them that is a number, as a share of what it was: -0.5 is half of it. Absent where one of the two is not there or
    /// is no number, and where it was zero.
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
    for figure in figures {
        let now = inspector.read_figure(&figure.database, &figure.name, &figure.query).await?;
        let is_it = |database: &str, told: &FigureValue| {
            (database, &told.name, &told.query) == (figure.database.as_str(), &figure.name, &figure.query)
        };
        let told = earlier.iter().filter(|(_, database, told)| is_it(database, told)).take(backups);
        compared.push(compare(figure, now, told.map(|(backup, _, told)| backup.with(told)).collect()));
    }
    Ok(FiguresReport { figures: compared })
}

/// A backup that has figures.
#[derive(Debug, Clone)]
struct Moment {
    backup: BackupId,
    created: DateTime<Utc>,
}

impl Moment {
    fn with(&self, told: &FigureValue) -> EarlierFigure {
        EarlierFigure { backup: self.backup.clone(), created: self.created, value: told.value.clone() }
    }
}

/// Reads what the newest backups have of figures, by their databases, until each of `figures` was found in so many.
async fn earlier(
    repository: &Repository,
    figures: &[Figure],
    backups: usize,
) -> Result<Vec<(Moment, String, FigureValue)>> {
    let catalogue = repository.catalogue().await?;
    let mut summaries: Vec<_> = catalogue.entries.iter().map(|entry| &entry.summary).collect();
    summaries.sort_by_key(|summary| Reverse(summary.created));
    let mut found: Vec<(Moment, String, FigureValue)> = Vec::new();
    for summary in summaries {
        let count = |figure: &Figure| {
            let is_it = |(_, database, told): &&(Moment, String, FigureValue)| {
                (database, &told.name, &told.query) == (&figure.database, &figure.name, &figure.query)
            };
            found.iter().filter(is_it).count()
        };
        if figures.iter().all(|figure| count(figure) >= backups) {
            break;
        }
        let manifest = match repository.manifest(summary).await {
            Ok(manifest) => manifest,
            // Of an epoch that is locked, say: that is for `verify` to find.
            Err(error) => {
                tracing::warn!(backup = %summary.id, %error, "what it has of figures cannot be read");
                continue;
            }
        };
        let moment = Moment { backup: summary.id.clone(), created: summary.created };
        let databases = manifest.contents.databases.into_iter();
        let told = databases
            .flat_map(|one| one.figures.into_iter().map(move |figure| (one.database.clone(), figure)))
            .map(|(database, figure)| (moment.clone(), database, figure));
        found.extend(told);
    }
    Ok(found)
}

fn compare(figure: &Figure, now: FigureValue, earlier: Vec<EarlierFigure>) -> FigureComparison {
    let number =
        |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<f64>().ok()).filter(|n| n.is_finite());
    let last = earlier.iter().find_map(|earlier| number(&earlier.value));
    let (change, finding) = match (number(&now.value), last) {
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
        let told = FigureValue { name, query, value: now.map(str::to_owned), failed: None };
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
