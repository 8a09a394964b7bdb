//! The recovery window: to which moments a cluster can be brought back, and to which it cannot.
//!
//! Behind the end of each physical backup the log of its cluster is followed, segment by segment and from timeline to timeline, as far
//! as it is archived without a gap. Only names are looked at: that the segments are sound is what [`wal_check`](super::wal::wal_check) with
//! its option to verify, and restore tests, prove.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::{Error, ErrorKind, Result};
use crate::postgres::wal::{TimelineHistory, TimelineSwitch};
use crate::repository::{Catalogue, CatalogueEntry, PhysicalContents, Repository, RepositoryError, Summary, WalObject};
use crate::storage::StorageError;
use crate::types::{BackupId, Lsn, TimelineId, WalFileName, WalSegmentName, WalSegmentSize};

/// Manifests that are read at once.
const AT_ONCE: usize = 8;

/// The moments that a cluster can be brought back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecoveryWindow {
    /// The cluster.
    pub system_identifier: u64,
    /// Whether any of its log is archived: without it, only the moments of the backups can be had.
    pub archived: bool,
    /// Stretches of time of which every moment can be had, the oldest first; they do not touch one another.
    pub spans: Vec<RecoverySpan>,
}

/// A stretch of time, of which every moment can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecoverySpan {
    /// When its first backup was complete.
    pub from: DateTime<Utc>,
    /// When the last segment was archived that follows without a gap, by the clock of the storage place: commits of a few moments
    /// before may already lie in the next one.
    pub until: DateTime<Utc>,
    /// The backups that it can begin from, the oldest first.
    pub backups: Vec<BackupId>,
}

impl RecoveryWindow {
    /// Returns the stretches between the spans, no moment of which can be had although the log is archived.
    pub fn gaps(&self) -> impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)> {
        self.spans.windows(2).filter(|_| self.archived).map(|pair| (pair[0].until, pair[1].from))
    }
}

/// Finds the recovery window of each cluster of which there is a physical backup, in order of their system identifiers.
///
/// Reads the manifest of each physical backup, the histories of timelines, and the names of the archive. Backups of epochs that are
/// locked are left out.
///
/// # Errors
/// Of the storage place; [`RepositoryError`] for a manifest that cannot be trusted.
pub async fn recovery_windows(repository: &Repository, catalogue: &Catalogue) -> Result<Vec<RecoveryWindow>> {
    let is_candidate = |entry: &&CatalogueEntry| entry.summary.is_physical() && entry.details.is_some();
    let summaries: Vec<Summary> =
        catalogue.entries.iter().filter(is_candidate).map(|entry| entry.summary.clone()).collect();
    let starts = futures::stream::iter(summaries).map(|summary| async move { start(repository, &summary).await });
    let starts: Vec<Option<Start>> = starts.buffered(AT_ONCE).try_collect().await?;
    let mut of_cluster: BTreeMap<u64, Vec<Start>> = BTreeMap::new();
    for start in starts.into_iter().flatten() {
        of_cluster.entry(start.system_identifier).or_default().push(start);
    }
    let mut windows = Vec::new();
    for (system_identifier, starts) in of_cluster {
        let archive = Archive::read(repository, system_identifier).await?;
        let spans = merged(starts.into_iter().map(|start| archive.span_behind(start)).collect());
        windows.push(RecoveryWindow { system_identifier, archived: !archive.segments.is_empty(), spans });
    }
    Ok(windows)
}

/// What a recovery can begin from.
#[derive(Debug, Clone)]
struct Start {
    backup: BackupId,
    system_identifier: u64,
    complete: DateTime<Utc>,
    timeline: TimelineId,
    /// The number of the segment that the backup ends in, which it has in itself.
    segment: u64,
    size: WalSegmentSize,
    stop: Lsn,
}

async fn start(repository: &Repository, summary: &Summary) -> Result<Option<Start>> {
    let manifest = match repository.manifest(summary).await {
        Ok(manifest) => manifest,
        // Removed since the catalogue was read.
        Err(RepositoryError::Storage(StorageError::NotFound { .. })) => return Ok(None),
        Err(error) => match Error::from(error) {
            error if error.kind() == ErrorKind::Integrity => {
                tracing::warn!(backup = %summary.id, %error, "nothing can be brought back from a backup whose manifest is damaged");
                return Ok(None);
            }
            error => return Err(error),
        },
    };
    let system_identifier = manifest.contents.server.system_identifier;
    let found = manifest.physical.as_ref().zip(system_identifier);
    Ok(found.and_then(|(physical, system)| Start::new(summary, system, physical)))
}

impl Start {
    fn new(summary: &Summary, system_identifier: u64, physical: &PhysicalContents) -> Option<Self> {
        let size = WalSegmentSize::new(physical.wal_segment_bytes)?;
        let segment = WalSegmentName::containing(physical.timeline, physical.stop_lsn, size).number(size)?;
        let (backup, complete) = (summary.id.clone(), summary.finished);
        let (timeline, stop) = (physical.timeline, physical.stop_lsn);
        Some(Self { backup, system_identifier, complete, timeline, segment, size, stop })
    }
}

/// What is archived of a cluster.
#[derive(Debug, Default)]
struct Archive {
    segments: BTreeMap<WalSegmentName, DateTime<Utc>>,
    histories: BTreeMap<TimelineId, TimelineHistory>,
}

impl Archive {
    async fn read(repository: &Repository, system_identifier: u64) -> Result<Self> {
        let mut archive = Self::default();
        for WalObject { name, archived, .. } in repository.wal_objects(Some(system_identifier)).await? {
            match name {
                WalFileName::Segment(segment) => {
                    archive.segments.insert(segment, archived);
                }
                WalFileName::History(timeline) => {
                    let Some(bytes) = repository.small_wal_file(system_identifier, name).await? else { continue };
                    match TimelineHistory::parse(timeline, &bytes) {
                        Ok(history) => {
                            archive.histories.insert(timeline, history);
                        }
                        Err(error) => tracing::warn!(%timeline, %error, "a history is passed over"),
                    }
                }
                _ => {}
            }
        }
        Ok(archive)
    }

    /// Follows the log behind a backup, on the latest timeline that descends from it.
    fn span_behind(&self, start: Start) -> RecoverySpan {
        let (path, latest) = self.path(&start);
        let archived = |number: u64| {
            // The segment in which a timeline is left is whole only as the first one of the next.
            let left = path.iter().find(|left| number < left.position.0 / start.size.bytes());
            let timeline = left.map_or(latest, |left| left.timeline);
            self.segments.get(&WalSegmentName::numbered(timeline, number, start.size))
        };
        let last = (start.segment..).skip(1).map_while(archived).last().copied();
        // What came late to a place, by a repair, has a late time; what came before the backup's end adds no moment.
        let until = last.unwrap_or(start.complete).max(start.complete);
        RecoverySpan { from: start.complete, until, backups: vec![start.backup] }
    }

    /// Returns the timelines that are left on the way from a backup to the latest one, and that one.
    fn path(&self, start: &Start) -> (&[TimelineSwitch], TimelineId) {
        let leaves = |left: &TimelineSwitch| left.timeline == start.timeline && left.position >= start.stop;
        let on_the_way = |history: &'_ TimelineHistory| history.ancestors.iter().position(leaves);
        let found = self.histories.values().rev().find_map(|history| Some((history, on_the_way(history)?)));
        found.map_or((&[], start.timeline), |(history, own)| (&history.ancestors[own..], history.timeline))
    }
}

/// Joins spans that overlap.
fn merged(mut spans: Vec<RecoverySpan>) -> Vec<RecoverySpan> {
    spans.sort_by_key(|span| (span.from, span.until));
    let mut joined: Vec<RecoverySpan> = Vec::new();
    for span in spans {
        match joined.last_mut().filter(|last| span.from <= last.until) {
            Some(last) => {
                last.until = last.until.max(span.until);
                last.backups.extend(span.backups);
            }
            None => joined.push(span),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 16 << 20;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + 60 * minute, 0).unwrap()
    }

    fn timeline(number: u32) -> TimelineId {
        TimelineId::new(number).unwrap()
    }

    /// Segments (timeline, number, minute when archived), histories (timeline, those it left and the segments where).
    fn archive(segments: &[(u32, u64, i64)], histories: &[(u32, &[(u32, u64)])]) -> Archive {
        let name = |line: u32, number| WalSegmentName::numbered(timeline(line), number, WalSegmentSize::DEFAULT);
        let left = |&(line, segment): &(u32, u64)| TimelineSwitch {
            timeline: timeline(line),
            position: Lsn(segment * SIZE + 100),
        };
        let history = |&(line, ancestors): &(u32, &[(u32, u64)])| {
            let ancestors = ancestors.iter().map(left).collect();
            (timeline(line), TimelineHistory { timeline: timeline(line), ancestors })
        };
        Archive {
            segments: segments.iter().map(|&(line, number, minute)| (name(line, number), at(minute))).collect(),
            histories: histories.iter().map(history).collect(),
        }
    }

    fn start(name: &str, line: u32, segment: u64, minute: i64) -> Start {
        Start {
            backup: format!("20270115T0800{name}Z-01234567").parse().unwrap(),
            system_identifier: 7,
            complete: at(minute),
            timeline: timeline(line),
            segment,
            size: WalSegmentSize::DEFAULT,
            stop: Lsn(segment * SIZE + 10),
        }
    }

    fn minutes(archive: &Archive, starts: &[Start]) -> Vec<(i64, i64, usize)> {
        let spans = merged(starts.iter().cloned().map(|start| archive.span_behind(start)).collect());
        let minute = |moment: DateTime<Utc>| (moment - at(0)).num_minutes();
        spans.iter().map(|span| (minute(span.from), minute(span.until), span.backups.len())).collect()
    }

    #[test]
    fn a_window_ends_at_a_gap_and_begins_anew_with_the_next_backup() {
        let archive = archive(&[(1, 3, 4), (1, 4, 5), (1, 5, 6), (1, 7, 8), (1, 9, 20), (1, 10, 21)], &[]);
        assert_eq!(minutes(&archive, &[start("01", 1, 3, 4)]), [(4, 6, 1)]);
        assert_eq!(minutes(&archive, &[start("01", 1, 3, 4), start("02", 1, 4, 5)]), [(4, 6, 2)], "one stretch");
        assert_eq!(
            minutes(&archive, &[start("03", 1, 8, 15), start("01", 1, 3, 4)]),
            [(4, 6, 1), (15, 21, 1)],
            "from 6 to 15 there is nothing"
        );
        assert_eq!(minutes(&archive, &[start("04", 1, 12, 30)]), [(30, 30, 1)], "the moment of the backup itself");
    }

    #[test]
    fn the_log_is_followed_onto_the_timeline_that_replaced_it() {
        // The old primary went on to archive after the standby had been promoted in segment 5.
        let both = [(1, 4, 4), (1, 5, 5), (1, 6, 50), (1, 7, 60), (2, 5, 7), (2, 6, 8)];
        let archive_of = |histories: &[(u32, &[(u32, u64)])]| archive(&both, histories);
        assert_eq!(minutes(&archive_of(&[]), &[start("01", 1, 3, 3)]), [(3, 60, 1)]);
        let promoted = archive_of(&[(2, &[(1, 5)])]);
        assert_eq!(minutes(&promoted, &[start("01", 1, 3, 3)]), [(3, 8, 1)]);
        assert_eq!(minutes(&promoted, &[start("01", 2, 5, 7)]), [(7, 8, 1)], "a backup of the new timeline");
        assert_eq!(minutes(&promoted, &[start("01", 1, 6, 51)]), [(51, 60, 1)], "one that was taken behind the switch");
    }

    #[test]
    fn what_was_copied_late_makes_no_span_end_before_it_begins() {
        let archive = archive(&[(1, 4, 1)], &[]);
        assert_eq!(minutes(&archive, &[start("01", 1, 3, 3)]), [(3, 3, 1)]);
    }
}
