//! The WAL that belongs to a backup itself.

use crate::types::{Lsn, TimelineId, WalSegmentName, WalSegmentSize};

/// Names the segments that hold the WAL from `start` up to `stop`, which lies behind its last byte.
pub(super) fn segments_between(
    timeline: TimelineId,
    start: Lsn,
    stop: Lsn,
    size: WalSegmentSize,
) -> impl Iterator<Item = WalSegmentName> {
    let first = start.0 / size.bytes();
    let last = stop.0.saturating_sub(1).max(start.0) / size.bytes();
    (first..=last).map(move |number| WalSegmentName::numbered(timeline, number, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_only_begins_at_the_end_is_not_needed() {
        let names = |start: &str, stop: &str| -> Vec<String> {
            let (start, stop) = (start.parse().unwrap(), stop.parse().unwrap());
            segments_between(TimelineId::FIRST, start, stop, WalSegmentSize::DEFAULT)
                .map(|name| name.to_string())
                .collect()
        };
        assert_eq!(names("0/2000028", "0/2000100"), ["000000010000000000000002"]);
        assert_eq!(names("0/2000028", "0/3000000"), ["000000010000000000000002"]);
        assert_eq!(names("0/2000028", "0/3000001"), ["000000010000000000000002", "000000010000000000000003"]);
        assert_eq!(names("0/FE000028", "1/1").len(), 3);
    }
}
