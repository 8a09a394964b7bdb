//! Cuts tables into segments of about one size, which the connections take one after the other.

use super::tables::Table;

/// A segment is an object of its own: not too many, and not so large that one connection reads while the others have no more.
const SMALLEST_SEGMENT: u64 = 16 << 20;
const LARGEST_SEGMENT: u64 = 1 << 30;
const SEGMENTS_A_JOB: u64 = 8;
/// Smaller tables are not worth a lock in each session.
const SMALLEST_TABLE: u64 = 256 << 10;

/// Some pages of a table, or all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its place among the tables.
    pub(super) table: usize,
    /// The first page.
    pub(super) first: u64,
    /// The page behind the last one; `None` for the rest of the table.
    pub(super) end: Option<u64>,
}

impl Part {
    /// Returns whether the table begins with it.
    pub(super) fn is_first(&self) -> bool {
        self.first == 0
    }

    /// Returns whether the table ends with it.
    pub(super) fn is_last(&self) -> bool {
        self.end.is_none()
    }
}

/// What is read by one connection and stored together.
pub(super) type Segment = Vec<Part>;

/// Returns from which size on a table is read beside pg_dump.
pub(super) fn smallest_table(segment_bytes: Option<u64>) -> u64 {
    segment_bytes.map_or(SMALLEST_TABLE, |bytes| bytes.min(SMALLEST_TABLE))
}

/// Cuts the tables, in their order, into segments.
pub(super) fn segments(tables: &[Table], jobs: usize, segment_bytes: Option<u64>) -> Vec<Segment> {
    let total: u64 = tables.iter().map(|table| table.bytes).sum();
    let even = total / (jobs as u64 * SEGMENTS_A_JOB);
    let wanted = segment_bytes.unwrap_or(even.clamp(SMALLEST_SEGMENT, LARGEST_SEGMENT)).max(1);
    let mut segments: Vec<Segment> = Vec::new();
    let mut gathered = 0;
    for (place, table) in tables.iter().enumerate() {
        let slices = (table.bytes / wanted).min(table.pages);
        if table.is_heap && slices > 1 {
            segments.extend(cut(place, table.pages, slices));
            gathered = wanted;
        } else {
            let whole = Part { table: place, first: 0, end: None };
            match segments.last_mut() {
                Some(last) if gathered < wanted => last.push(whole),
                _ => {
                    segments.push(vec![whole]);
                    gathered = 0;
                }
            }
            gathered += table.bytes;
        }
    }
    segments
}

fn cut(table: usize, pages: u64, slices: u64) -> impl Iterator<Item = Segment> {
    let bound = move |slice: u64| pages * slice / slices;
    (0..slices).map(move |slice| {
        let end = (slice + 1 < slices).then(|| bound(slice + 1));
        vec![Part { table, first: bound(slice), end }]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(bytes: u64, is_heap: bool) -> Table {
        let mut table = Table::default();
        (table.bytes, table.pages, table.is_heap) = (bytes, bytes / 8192, is_heap);
        table
    }

    #[test]
    fn every_page_is_in_one_segment_and_small_tables_share_theirs() {
        let (mb, gb) = (1 << 20, 1 << 30);
        let tables = [table(200 * mb, true), table(20 * mb, true), table(5 * mb, true), table(2 * mb, true)];
        let segments = segments(&tables, 2, None);
        let of_first: Vec<&Part> = segments.iter().flatten().filter(|part| part.table == 0).collect();
        assert_eq!(of_first.len(), 12);
        assert!(of_first[0].is_first() && of_first[11].is_last());
        assert!(of_first.windows(2).all(|pair| pair[0].end == Some(pair[1].first) && pair[0].first < pair[1].first));
        let rest: Vec<Vec<usize>> =
            segments[12..].iter().map(|segment| segment.iter().map(|part| part.table).collect()).collect();
        assert_eq!(rest, [vec![1], vec![2, 3]]);
        assert_eq!(super::segments(&[table(100 * gb, false)], 4, None).len(), 1);
        assert_eq!(super::segments(&[table(100 * gb, true)], 4, None).len(), 100);
    }
}
