//! How long recovery would take today, by what restores took that were measured.

use serde::Serialize;

use super::Scenario;
use crate::ops::Result;
use crate::ops::physical::archived_behind;
use crate::repository::{Catalogue, CatalogueEntry, DrillRecord, Repository, VerifyLevel};
use crate::types::BackupId;

/// How many of the newest measurements count.
const SAMPLES: usize = 10;

/// How long a recovery would take that began now.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Forecast {
    /// What would be restored: the newest proven backup of the cluster, or of databases where there is none.
    pub backup: BackupId,
    /// Whether it is one of a cluster.
    pub cluster: bool,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes a second that restores of its kind made, the median of the newest.
    pub restore_rate: f64,
    /// How many restores that is from.
    pub restores: usize,
    /// Bytes of the write-ahead log that are archived behind it, and would be replayed; 0 where none would be.
    pub replay_bytes: u64,
    /// Bytes a second at which drills replayed the log; absent where none did.
    pub replay_rate: Option<f64>,
    /// Seconds that recovery would take, as far as that can be told: without the replay where no drill has measured it.
    pub rto_seconds: f64,
}

/// Predicts how long recovery would take now; `None` where no restore was ever measured, or there is nothing to restore.
///
/// # Errors
/// Of the repository.
pub async fn forecast(
    repository: &Repository,
    catalogue: &Catalogue,
    drills: &[DrillRecord],
) -> Result<Option<Forecast>> {
    let Some(newest) = newest_proven(catalogue) else { return Ok(None) };
    let is_physical = newest.summary.is_physical();
    let rates = restore_rates(catalogue, drills, is_physical);
    let Some(restore_rate) = median(&rates) else { return Ok(None) };
    let replay_bytes = match is_physical {
        true => archived_behind(repository, newest.id()).await?,
        false => 0,
    };
    let full = drills.iter().rev().filter(|drill| drill.scenario == Scenario::FullRecovery.as_str());
    let replay_rates: Vec<f64> = full.filter_map(replay_rate).take(SAMPLES).collect();
    let replay_rate = median(&replay_rates);
    let bytes = newest.summary.plaintext_bytes;
    let replay_seconds = replay_rate.map_or(0.0, |rate| replay_bytes as f64 / rate);
    Ok(Some(Forecast {
        backup: newest.id().clone(),
        cluster: is_physical,
        bytes,
        restore_rate,
        restores: rates.len(),
        replay_bytes,
        replay_rate,
        rto_seconds: bytes as f64 / restore_rate + replay_seconds,
    }))
}

/// Returns the newest proven backup of a cluster, which is what brings everything back; of databases only where there is none.
fn newest_proven(catalogue: &Catalogue) -> Option<&CatalogueEntry> {
    let newest = |physical: bool| {
        let proven = |entry: &&CatalogueEntry| entry.summary.is_physical() == physical && entry.proven().is_some();
        catalogue.entries.iter().filter(proven).max_by_key(|entry| entry.summary.created)
    };
    newest(true).or_else(|| newest(false))
}

/// Returns the rates of restores of a kind, the newest first: of drills that tell the replay apart, and else of restore tests.
fn restore_rates(catalogue: &Catalogue, drills: &[DrillRecord], is_physical: bool) -> Vec<f64> {
    let of_drill = |drill: &DrillRecord| rate(drill.restored_bytes?, drill.restore_seconds?);
    let measured: Vec<f64> = match is_physical {
        true => drills.iter().rev().filter_map(of_drill).take(SAMPLES).collect(),
        false => Vec::new(),
    };
    if !measured.is_empty() {
        return measured;
    }
    let of_kind = catalogue.entries.iter().filter(|entry| entry.summary.is_physical() == is_physical);
    let mut tests: Vec<_> = of_kind.flat_map(restore_tests).collect();
    tests.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    tests.into_iter().map(|(_, rate)| rate).take(SAMPLES).collect()
}

fn restore_tests(entry: &CatalogueEntry) -> impl Iterator<Item = (chrono::DateTime<chrono::Utc>, f64)> {
    // What was replayed behind a backup took its time too, and no verdict says how much of it.
    let tests = entry
        .verdicts
        .iter()
        .filter(|verdict| verdict.level == VerifyLevel::Restore && verdict.passed && verdict.replayed_to.is_none());
    tests.filter_map(|verdict| Some((verdict.at, rate(entry.summary.plaintext_bytes, verdict.restore_seconds?)?)))
}

fn replay_rate(drill: &DrillRecord) -> Option<f64> {
    rate(drill.replayed_bytes?, drill.replay_seconds?)
}

/// Returns bytes a second; none where there is nothing to divide.
fn rate(bytes: u64, seconds: f64) -> Option<f64> {
    (bytes > 0 && seconds > 0.0).then(|| bytes as f64 / seconds)
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_measurement_out_of_line_does_not_move_the_median_far() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[5.0]), Some(5.0));
        assert_eq!(median(&[1.0, 3.0]), Some(2.0));
        assert_eq!(median(&[100.0, 2.0, 3.0]), Some(3.0));
        assert_eq!(rate(0, 3.0), None);
        assert_eq!(rate(30, 0.0), None);
        assert_eq!(rate(30, 3.0), Some(10.0));
    }
}
