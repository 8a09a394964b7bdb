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

    /// Follows the log behind each backup, and joins what hangs together, the oldest first.
    pub(super) fn stretches(&self, starts: Vec<Start>) -> Vec<Stretch> {
        let mut of_line: BTreeMap<TimelineId, Vec<Start>> = BTreeMap::new();
        let mut lines: BTreeMap<TimelineId, Line<'_>> = BTreeMap::new();
        for start in starts {
            let (path, latest) = self.path(&start);
            // Of two ways to one timeline, the longer one tells of more segments.
            let line = lines.entry(latest).or_insert(Line { path, latest, size: start.size });
            if path.len() > line.path.len() {
                line.path = path;
            }
            of_line.entry(latest).or_default().push(start);
        }
        let joined = of_line.into_iter().flat_map(|(latest, starts)| self.joined(&lines[&latest], starts));
        let mut stretches: Vec<Stretch> = joined.collect();
        stretches.sort_by_key(|stretch| stretch.span.from);
        stretches
    }

    /// Joins the backups of a line from the end of one of which to that of the next the log is archived. Times tell nothing of that: a place that was
    /// repaired has late ones.
    fn joined(&self, line: &Line<'_>, mut starts: Vec<Start>) -> Vec<Stretch> {
        let numbers: Vec<u64> = self.segments.keys().filter_map(|name| line.number(*name)).collect();
        let runs = runs(numbers);
        let newest = runs.last().map(|run| run.1);
        starts.sort_by_key(|start| (start.segment, start.complete));
        let mut joined: Vec<(Stretch, Option<u64>)> = Vec::new();
        for start in starts {
            let next = start.segment + 1;
            let reached = runs.iter().find(|(first, last)| (*first..=*last).contains(&next)).map(|run| run.1);
            match joined.last_mut().filter(|(_, reached)| reached.is_some_and(|reached| start.segment <= reached)) {
                Some((stretch, known)) => {
                    stretch.span.from = stretch.span.from.min(start.complete);
                    stretch.span.until = stretch.span.until.max(start.complete);
                    stretch.span.backups.push(start.backup);
                    *known = (*known).max(reached);
                }
                None => {
                    let span = RecoverySpan {
                        from: start.complete,
                        until: start.complete,
                        last_segment: None,
                        backups: vec![start.backup],
                    };
                    let stretch = Stretch {
                        span,
                        line: line.latest,
                        newest_segments: Vec::new(),
                        goes_on_behind_a_gap: newest.is_some_and(|newest| newest > reached.unwrap_or(start.segment)),
                    };
                    joined.push((stretch, reached));
                }
            }
        }
        let finished = joined.into_iter().map(|(mut stretch, reached)| {
            if let Some(reached) = reached {
                let names = (0..=reached).rev().map(|number| line.name(number));
                let names = names.take_while(|name| self.segments.contains_key(name));
                stretch.newest_segments = names.take(LOOKED_THROUGH).collect();
                stretch.span.last_segment = stretch.newest_segments.first().copied();
                let archived = stretch.span.last_segment.and_then(|name| self.segments.get(&name).copied());
                // What came before the backup's end adds no moment.
                stretch.span.until = stretch.span.until.max(archived.unwrap_or(stretch.span.until));
                stretch.goes_on_behind_a_gap = newest.is_some_and(|newest| newest > reached);
            }
            stretch
        });
        finished.collect()
    }

    /// Returns the timelines that are left on the way from a backup to the latest one, and that one.
    fn path(&self, start: &Start) -> (&[TimelineSwitch], TimelineId) {
        let leaves = |left: &TimelineSwitch| left.timeline == start.timeline && left.position >= start.stop;
        let on_the_way = |history: &'_ TimelineHistory| history.ancestors.iter().position(leaves);
        let found = self.histories.values().rev().find_map(|history| Some((history, on_the_way(history)?)));
        found.map_or((&[], start.timeline), |(history, own)| (&history.ancestors[own..], history.timeline))
    }
}

/// The way of the log to a timeline.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    /// The timelines that are left for others.
    path: &'a [TimelineSwitch],
    latest: TimelineId,
    size: WalSegmentSize,
}

impl Line<'_> {
    /// Names a segment. That in which a timeline is left is whole only as the first one of the next.
    fn name(&self, number: u64) -> WalSegmentName {
        let left = self.path.iter().find(|left| number < left.position.0 / self.size.bytes());
        WalSegmentName::numbered(left.map_or(self.latest, |left| left.timeline), number, self.size)
    }

    /// Returns the number of a segment that lies on the way.
    fn number(&self, name: WalSegmentName) -> Option<u64> {
        name.number(self.size).filter(|number| self.name(*number) == name)
    }
}

/// Returns the first and the last of numbers that follow one another.
fn runs(mut numbers: Vec<u64>) -> Vec<(u64, u64)> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers.chunk_by(|one, next| one + 1 == *next).filter_map(|run| Some((*run.first()?, *run.last()?))).collect()
}

/// A span, and what it ends with.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) span: RecoverySpan,
    /// The timeline that it leads to.
    pub(super) line: TimelineId,
    /// Its last segments, the newest first.
    pub(super) newest_segments: Vec<WalSegmentName>,
    /// Whether more of the log is archived, behind a gap.
    pub(super) goes_on_behind_a_gap: bool,
}

/// Makes spans of stretches, the oldest first, that do not touch one another. Where one of another timeline begins before the end of the one before, both
/// together have every moment; one of the same begins behind a gap, whatever the times say.
pub(super) fn spans(stretches: Vec<Stretch>) -> Vec<RecoverySpan> {
    let mut spans: Vec<(RecoverySpan, TimelineId)> = Vec::new();
    for Stretch { span, line, .. } in stretches {
        match spans.last_mut().filter(|(last, _)| span.from <= last.until) {
            Some((last, known)) if *known != line => {
                if span.until >= last.until {
                    (last.until, last.last_segment, *known) = (span.until, span.last_segment, line);
                }
                last.backups.extend(span.backups);
            }
            Some((last, _)) => {
                last.until = span.from;
                spans.push((span, line));
            }
            None => spans.push((span, line)),
        }
    }
    spans.into_iter().map(|(span, _)| span).collect()
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
        let minute = |moment: DateTime<Utc>| (moment - at(0)).num_minutes();
        let spans = spans(archive.stretches(starts.to_vec()));
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
    fn log_behind_a_gap_is_told() {
        let whole = archive(&[(1, 3, 4), (1, 4, 5), (1, 5, 6)], &[]);
        let cut = archive(&[(1, 3, 4), (1, 4, 5), (1, 6, 7)], &[]);
        for (archive, last, is_cut) in [(&whole, Some(5), false), (&cut, Some(4), true)] {
            let stretch = archive.stretches(vec![start("01", 1, 3, 4)]).remove(0);
            let number = stretch.span.last_segment.and_then(|name| name.number(WalSegmentSize::DEFAULT));
            assert_eq!((number, stretch.goes_on_behind_a_gap), (last, is_cut));
        }
        let behind = |archive: Archive| archive.stretches(vec![start("01", 1, 3, 4)]).remove(0);
        let nothing = behind(archive(&[(1, 2, 3), (1, 3, 4)], &[]));
        assert_eq!((nothing.span.last_segment, nothing.goes_on_behind_a_gap), (None, false));
        assert!(behind(archive(&[(1, 5, 3)], &[])).goes_on_behind_a_gap);
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
    fn what_was_copied_late_hides_no_gap() {
        // Segment 5 is missing, and a repair brought 4 back long after the next backup.
        let archive = archive(&[(1, 4, 90), (1, 6, 7), (1, 7, 8)], &[]);
        assert_eq!(minutes(&archive, &[start("01", 1, 3, 3), start("02", 1, 6, 7)]), [(3, 7, 1), (7, 8, 1)]);
    }

    #[test]
    fn a_backup_whose_last_segment_is_not_archived_yet_stands_alone() {
        let archive_of = |segments: &[(u32, u64, i64)]| archive(segments, &[]);
        let starts = [start("01", 1, 3, 3), start("02", 1, 5, 7)];
        assert_eq!(minutes(&archive_of(&[(1, 4, 4)]), &starts), [(3, 4, 1), (7, 7, 1)]);
        assert_eq!(minutes(&archive_of(&[(1, 4, 4), (1, 5, 8)]), &starts), [(3, 8, 2)]);
    }

    #[test]
    fn what_was_copied_late_makes_no_span_end_before_it_begins() {
        let archive = archive(&[(1, 4, 1)], &[]);
        assert_eq!(minutes(&archive, &[start("01", 1, 3, 3)]), [(3, 3, 1)]);
    }
}
