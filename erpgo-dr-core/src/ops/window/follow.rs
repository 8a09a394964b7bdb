//! What of the archive can be reached from a backup.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::RecoverySpan;
use crate::ops::Result;
use crate::postgres::wal::{TimelineHistory, TimelineSwitch};
use crate::repository::{PhysicalContents, Repository, Summary, WalObject};
use crate::types::{BackupId, Lsn, TimelineId, WalFileName, WalSegmentName, WalSegmentSize};

/// Segments in which the newest commit is looked for.
const LOOKED_THROUGH: usize = 8;

/// What a recovery can begin from.
#[derive(Debug, Clone)]
pub(super) struct Start {
    backup: BackupId,
    pub(super) system_identifier: u64,
    complete: DateTime<Utc>,
    timeline: TimelineId,
    /// The number of the segment that the backup ends in, which it has in itself.
    segment: u64,
    size: WalSegmentSize,
    stop: Lsn,
}

impl Start {
    pub(super) fn new(summary: &Summary, system_identifier: u64, physical: &PhysicalContents) -> Option<Self> {
        let size = WalSegmentSize::new(physical.wal_segment_bytes)?;
        let segment = WalSegmentName::containing(physical.timeline, physical.stop_lsn, size).number(size)?;
        let (backup, complete) = (summary.id.clone(), summary.finished);
        let (timeline, stop) = (physical.timeline, physical.stop_lsn);
        Some(Self { backup, system_identifier, complete, timeline, segment, size, stop })
    }
}

/// What is archived of a cluster.
#[derive(Debug, Default)]
pub(super) struct Archive {
    segments: BTreeMap<WalSegmentName, DateTime<Utc>>,
    histories: BTreeMap<TimelineId, TimelineHistory>,
}

impl Archive {
    pub(super) async fn read(repository: &Repository, system_identifier: u64) -> Result<Self> {
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

    pub(super) fn has_segments(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Follows the log behind a backup, on the latest timeline that descends from it.
    pub(super) fn stretch_behind(&self, start: Start) -> Stretch {
        let (path, latest) = self.path(&start);
        let name = |number: u64| {
            // The segment in which a timeline is left is whole only as the first one of the next.
            let left = path.iter().find(|left| number < left.position.0 / start.size.bytes());
            WalSegmentName::numbered(left.map_or(latest, |left| left.timeline), number, start.size)
        };
        let follows = (start.segment..).skip(1).map(name);
        let follows: Vec<(WalSegmentName, DateTime<Utc>)> =
            follows.map_while(|name| Some((name, *self.segments.get(&name)?))).collect();
        let last = follows.last().copied();
        // What came late to a place, by a repair, has a late time; what came before the backup's end adds no moment.
        let until = last.map_or(start.complete, |(_, archived)| archived).max(start.complete);
        let behind = last.map(|(name, _)| name).unwrap_or_else(|| name(start.segment));
        let newest = self.segments.keys().rev().find(|segment| segment.timeline() == latest);
        Stretch {
            newest_segments: follows.iter().rev().map(|(name, _)| *name).take(LOOKED_THROUGH).collect(),
            goes_on_behind_a_gap: newest.is_some_and(|newest| *newest > behind),
            span: RecoverySpan {
                from: start.complete,
                until,
                last_segment: last.map(|(name, _)| name),
                backups: vec![start.backup],
            },
        }
    }

    /// Returns the timelines that are left on the way from a backup to the latest one, and that one.
    fn path(&self, start: &Start) -> (&[TimelineSwitch], TimelineId) {
        let leaves = |left: &TimelineSwitch| left.timeline == start.timeline && left.position >= start.stop;
        let on_the_way = |history: &'_ TimelineHistory| history.ancestors.iter().position(leaves);
        let found = self.histories.values().rev().find_map(|history| Some((history, on_the_way(history)?)));
        found.map_or((&[], start.timeline), |(history, own)| (&history.ancestors[own..], history.timeline))
    }
}

/// A span, and what it ends with.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) span: RecoverySpan,
    /// Its last segments, the newest first.
    pub(super) newest_segments: Vec<WalSegmentName>,
    /// Whether more of the log is archived, behind a gap.
    pub(super) goes_on_behind_a_gap: bool,
}

/// Joins stretches that overlap.
pub(super) fn merged(mut stretches: Vec<Stretch>) -> Vec<Stretch> {
    stretches.sort_by_key(|stretch| (stretch.span.from, stretch.span.until));
    let mut joined: Vec<Stretch> = Vec::new();
    for stretch in stretches {
        match joined.last_mut().filter(|last| stretch.span.from <= last.span.until) {
            Some(last) => {
                let mut backups = std::mem::take(&mut last.span.backups);
                backups.extend(stretch.span.backups.iter().cloned());
                let from = last.span.from;
                // The end is that of the one that goes farther.
                if stretch.span.until >= last.span.until {
                    *last = stretch;
                }
                last.span.from = from;
                last.span.backups = backups;
            }
            None => joined.push(stretch),
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
        let spans = merged(starts.iter().cloned().map(|start| archive.stretch_behind(start)).collect());
        let minute = |moment: DateTime<Utc>| (moment - at(0)).num_minutes();
        spans.iter().map(|one| (minute(one.span.from), minute(one.span.until), one.span.backups.len())).collect()
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
    fn log_behind_a_gap_is_told() {
        let whole = archive(&[(1, 3, 4), (1, 4, 5), (1, 5, 6)], &[]);
        let cut = archive(&[(1, 3, 4), (1, 4, 5), (1, 6, 7)], &[]);
        for (archive, last, is_cut) in [(&whole, Some(5), false), (&cut, Some(4), true)] {
            let stretch = archive.stretch_behind(start("01", 1, 3, 4));
            let number = stretch.span.last_segment.and_then(|name| name.number(WalSegmentSize::DEFAULT));
            assert_eq!((number, stretch.goes_on_behind_a_gap), (last, is_cut));
        }
        let nothing = archive(&[(1, 2, 3), (1, 3, 4)], &[]).stretch_behind(start("01", 1, 3, 4));
        assert_eq!((nothing.span.last_segment, nothing.goes_on_behind_a_gap), (None, false));
        assert!(archive(&[(1, 5, 3)], &[]).stretch_behind(start("01", 1, 3, 4)).goes_on_behind_a_gap);
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
