//! Which stretches of a timeline are archived, and what is missing between them.

use serde::Serialize;

use crate::types::{TimelineId, WalSegmentName, WalSegmentSize};

/// Segments that follow one another without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SegmentRange {
    /// The first one.
    pub first: WalSegmentName,
    /// The last one.
    pub last: WalSegmentName,
    /// How many there are.
    pub segments: u64,
}

/// Segments that are missing between, before or behind those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SegmentGap {
    /// The first one that is missing.
    pub first: WalSegmentName,
    /// The last one that is missing.
    pub last: WalSegmentName,
    /// How many are missing.
    pub segments: u64,
}

impl SegmentGap {
    /// Names the segments of `timeline` from number `first` to before number `end`; `None` if there are none.
    pub(crate) fn between(timeline: TimelineId, first: u64, end: u64, size: WalSegmentSize) -> Option<Self> {
        let name = |number| WalSegmentName::numbered(timeline, number, size);
        (first < end).then(|| Self { first: name(first), last: name(end - 1), segments: end - first })
    }
}

/// Sorts the numbers of a timeline's segments into ranges, and finds the gaps between them.
///
/// Names that segments of this size never have are left out.
pub fn segment_ranges(
    timeline: TimelineId,
    names: impl IntoIterator<Item = WalSegmentName>,
    size: WalSegmentSize,
) -> (Vec<SegmentRange>, Vec<SegmentGap>) {
    let names = names.into_iter().filter(|name| name.timeline() == timeline);
    let mut numbers: Vec<u64> = names.filter_map(|name| name.number(size)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let stretches: Vec<(u64, u64)> = numbers
        .chunk_by(|one, next| one + 1 == *next)
        .filter_map(|stretch| Some((*stretch.first()?, *stretch.last()?)))
        .collect();
    let name = |number| WalSegmentName::numbered(timeline, number, size);
    let ranges = stretches.iter().map(|&(first, last)| SegmentRange {
        first: name(first),
        last: name(last),
        segments: last - first + 1,
    });
    let gaps = stretches.windows(2).filter_map(|pair| SegmentGap::between(timeline, pair[0].1 + 1, pair[1].0, size));
    (ranges.collect(), gaps.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_lie_between_ranges_also_across_the_middle_digits() {
        let names = ["FE", "FF"].map(|low| format!("0000000100000000000000{low}"));
        let names = names.into_iter().chain(["01", "01", "03", "04"].map(|low| format!("0000000100000001000000{low}")));
        let names = names.chain(["000000020000000100000005".to_owned(), "000000010000000100000FFF".to_owned()]);
        let names = names.map(|name| name.parse::<WalSegmentName>().unwrap());
        let (ranges, gaps) = segment_ranges(TimelineId::FIRST, names, WalSegmentSize::DEFAULT);
        let shown = |first: WalSegmentName, last: WalSegmentName, segments: u64| {
            format!("{}-{} {segments}", &first.to_string()[15..], &last.to_string()[15..])
        };
        let shown_ranges: Vec<_> = ranges.iter().map(|range| shown(range.first, range.last, range.segments)).collect();
        assert_eq!(shown_ranges, ["0000000FE-0000000FF 2", "100000001-100000001 1", "100000003-100000004 2"]);
        let shown_gaps: Vec<_> = gaps.iter().map(|gap| shown(gap.first, gap.last, gap.segments)).collect();
        assert_eq!(shown_gaps, ["100000000-100000000 1", "100000002-100000002 1"]);
        assert_eq!(segment_ranges(TimelineId::FIRST, [], WalSegmentSize::DEFAULT), (vec![], vec![]));
    }
}
