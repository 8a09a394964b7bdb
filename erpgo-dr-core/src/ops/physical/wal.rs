//! The WAL that belongs to a backup itself.

use crate::types::{ContentHash, ContentHasher, Lsn, TimelineId, WalSegmentName, WalSegmentSize};

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

/// Hashes a stretch of the log, whose bytes come in order, with others before and behind them.
#[derive(Debug)]
pub(super) struct WalHasher {
    from: Lsn,
    to: Lsn,
    hasher: ContentHasher,
}

impl WalHasher {
    pub(super) fn new(from: Lsn, to: Lsn) -> Self {
        Self { from, to, hasher: ContentHasher::new() }
    }

    /// Takes in what the bytes at a position have of the stretch. Returns the hash once that has been taken in whole.
    pub(super) fn update(&mut self, at: Lsn, bytes: &[u8]) -> Option<ContentHash> {
        if self.is_complete() {
            return None;
        }
        let offset =
            |position: Lsn| usize::try_from(position.0.saturating_sub(at.0)).unwrap_or(usize::MAX).min(bytes.len());
        let (begin, end) = (offset(self.from), offset(self.to));
        self.hasher.update(&bytes[begin..end]);
        self.from = Lsn(self.from.0.max(at.0 + end as u64));
        self.is_complete().then(|| self.hasher.finish())
    }

    /// Sets where the stretch ends, which was not known before.
    pub(super) fn end_at(&mut self, to: Lsn) {
        self.to = to;
    }

    pub(super) fn is_complete(&self) -> bool {
        self.from >= self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_of_the_stretch_alone() {
        let log: Vec<u8> = (0..1000_u32).map(|at| (at * 7) as u8).collect();
        let wanted = Some(ContentHash::of(&log[100..707]));
        for piece in [1, 100, 333, 1000] {
            let mut hasher = WalHasher::new(Lsn(5100), Lsn(5707));
            let hashes: Vec<_> = log
                .chunks(piece)
                .enumerate()
                .map(|(number, bytes)| hasher.update(Lsn(5000 + (number * piece) as u64), bytes))
                .collect();
            assert_eq!(hashes.iter().flatten().count(), 1);
            assert_eq!(hashes[706 / piece], wanted, "{piece}");
        }
        let mut hasher = WalHasher::new(Lsn(5100), Lsn(5707));
        assert_eq!(hasher.update(Lsn(5000), &log[..600]), None);
        assert!(!hasher.is_complete());
    }

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
