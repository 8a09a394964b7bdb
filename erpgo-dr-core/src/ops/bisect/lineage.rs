//! Along which timelines the log goes from a restore point to a later one.

use crate::ops::Result;
use crate::postgres::wal::TimelineHistory;
use crate::repository::{PhysicalContents, Repository};
use crate::types::{Lsn, TimelineId, WalFileName, WalSegmentSize};

/// The log behind a restore point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lineage {
    pub(super) system_identifier: u64,
    pub(super) segment_size: WalSegmentSize,
    /// The timeline of the restore point, and those that follow it, with where each begins.
    timelines: Vec<(TimelineId, Lsn)>,
}

impl Lineage {
    /// Finds the way to `bad`; without one, to the end of the newest timeline that comes from `good`. `None` where there is no way, as when
    /// `bad` is of another branch.
    pub(super) async fn find(
        repository: &Repository,
        system_identifier: u64,
        good: &PhysicalContents,
        bad: Option<&PhysicalContents>,
    ) -> Result<Option<Self>> {
        let Some(segment_size) = WalSegmentSize::new(good.wal_segment_bytes) else { return Ok(None) };
        let own = (good.timeline, Lsn(0));
        let made = |timelines| Some(Self { system_identifier, segment_size, timelines });
        let wanted: Vec<TimelineId> = match bad {
            Some(bad) if bad.stop_lsn < good.stop_lsn => return Ok(None),
            Some(bad) if bad.timeline == good.timeline => return Ok(made(vec![own])),
            Some(bad) => vec![bad.timeline],
            None => later(repository, system_identifier, good.timeline).await?,
        };
        for timeline in wanted {
            let bytes = repository.small_wal_file(system_identifier, WalFileName::History(timeline)).await?;
            let Some(bytes) = bytes else { continue };
            if let Some(timelines) = follow(&TimelineHistory::parse(timeline, &bytes)?, good) {
                return Ok(made(timelines));
            }
        }
        Ok(if bad.is_none() { made(vec![own]) } else { None })
    }

    /// Returns the timeline whose segment of this number has the log: of a switch within it, that which was switched to.
    pub(super) fn timeline_of(&self, segment: u64) -> TimelineId {
        let end = (segment + 1).saturating_mul(self.segment_size.bytes());
        let begun = self.timelines.iter().rev().find(|(_, begin)| begin.0 < end);
        begun.map_or(self.timelines[0].0, |(timeline, _)| *timeline)
    }
}

/// Lists later timelines of the archive, the newest first.
async fn later(repository: &Repository, system: u64, own: TimelineId) -> Result<Vec<TimelineId>> {
    let objects = repository.wal_objects(Some(system)).await?;
    let histories = objects.iter().filter_map(|object| match object.name {
        WalFileName::History(timeline) if timeline > own => Some(timeline),
        _ => None,
    });
    let mut timelines: Vec<TimelineId> = histories.collect();
    timelines.sort_unstable();
    timelines.reverse();
    Ok(timelines)
}

/// Returns the timelines from that of a restore point on, if the history goes through it.
fn follow(history: &TimelineHistory, good: &PhysicalContents) -> Option<Vec<(TimelineId, Lsn)>> {
    let own = history.ancestors.iter().position(|left| left.timeline == good.timeline)?;
    if history.ancestors[own].position < good.stop_lsn {
        return None;
    }
    let mut timelines = vec![(good.timeline, Lsn(0))];
    for (at, left) in history.ancestors.iter().enumerate().skip(own) {
        let next = history.ancestors.get(at + 1).map_or(history.timeline, |next| next.timeline);
        timelines.push((next, left.position));
    }
    Some(timelines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(number: u32) -> TimelineId {
        TimelineId::new(number).unwrap()
    }

    #[test]
    fn a_segment_is_of_the_timeline_that_was_switched_to_within_it() {
        let size = WalSegmentSize::DEFAULT;
        let at = |segment: u64, offset: u64| Lsn(segment * size.bytes() + offset);
        let timelines = vec![(timeline(1), Lsn(0)), (timeline(2), at(5, 100)), (timeline(4), at(8, 0))];
        let lineage = Lineage { system_identifier: 1, segment_size: size, timelines };
        for (segment, expected) in [(0, 1), (4, 1), (5, 2), (7, 2), (8, 4), (100, 4)] {
            assert_eq!(lineage.timeline_of(segment), timeline(expected), "{segment}");
        }
    }
}
