//! Where each frame of an object lies, for reading ranges of it.

use std::ops::Range;

use super::frame::{FRAME_HEADER, FrameHeader};

/// The frames of an object, by their ends in plaintext and in the body.
#[derive(Debug, Default)]
pub(super) struct FrameIndex {
    ends: Vec<(u64, u64)>,
}

impl FrameIndex {
    /// Reads the plaintext of an index layer; `None` when an entry cannot be.
    pub(super) fn parse(bytes: &[u8], frame_len: usize) -> Option<Self> {
        let (entries, rest) = bytes.as_chunks::<FRAME_HEADER>();
        let mut ends = Vec::with_capacity(entries.len());
        let (mut plain, mut body) = (0u64, 0u64);
        for entry in entries {
            let header = FrameHeader::decode(*entry, frame_len)?;
            plain += u64::from(header.plain_len);
            body += header.total_len() as u64;
            ends.push((plain, body));
        }
        rest.is_empty().then_some(Self { ends })
    }

    pub(super) fn frames(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn plaintext_len(&self) -> u64 {
        self.ends.last().map_or(0, |end| end.0)
    }

    pub(super) fn body_len(&self) -> u64 {
        self.ends.last().map_or(0, |end| end.1)
    }

    /// Returns the numbers of the frames that hold `range` of the plaintext, which is not empty and lies in it.
    pub(super) fn frames_of(&self, range: &Range<u64>) -> Range<usize> {
        let first = self.ends.partition_point(|end| end.0 <= range.start);
        let last = self.ends.partition_point(|end| end.0 < range.end);
        first..last + 1
    }

    /// Returns where frame `number` begins in the plaintext and in the body.
    pub(super) fn start(&self, number: usize) -> (u64, u64) {
        number.checked_sub(1).map_or((0, 0), |before| self.ends[before])
    }

    /// Returns the header that frame `number` must have.
    pub(super) fn header(&self, number: usize) -> FrameHeader {
        let (start, end) = (self.start(number), self.ends[number]);
        // Both differences came from 32-bit fields.
        let (plain_len, total) = ((end.0 - start.0) as u32, (end.1 - start.1) as u32);
        let stored_len = total - FRAME_HEADER as u32;
        FrameHeader { stored_len, raw: stored_len == plain_len, plain_len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(frames: &[(u32, u32)]) -> FrameIndex {
        let entries = frames.iter().flat_map(|&(stored_len, plain_len)| {
            FrameHeader { stored_len, raw: stored_len == plain_len, plain_len }.encode()
        });
        FrameIndex::parse(&entries.collect::<Vec<_>>(), 4096).unwrap()
    }

    #[test]
    fn a_range_is_found_in_the_frames_that_hold_it() {
        let index = index(&[(10, 100), (50, 50), (7, 4096)]);
        assert_eq!((index.frames(), index.plaintext_len(), index.body_len()), (3, 4246, 91));
        for (range, frames) in
            [(0..1, 0..1), (0..100, 0..1), (99..101, 0..2), (100..150, 1..2), (150..151, 2..3), (0..4246, 0..3)]
        {
            assert_eq!(index.frames_of(&range), frames, "{range:?}");
        }
        assert_eq!(index.start(2), (150, 76));
        assert_eq!(index.header(1), FrameHeader { stored_len: 50, raw: true, plain_len: 50 });
    }

    #[test]
    fn entries_that_no_writer_makes_are_refused() {
        let entry = |stored_len, raw, plain_len| FrameHeader { stored_len, raw, plain_len }.encode();
        for bad in [entry(10, false, 10), entry(9, true, 10), entry(0, true, 0), entry(5, false, 4097)] {
            assert!(FrameIndex::parse(&bad, 4096).is_none());
        }
        assert!(FrameIndex::parse(&[0; 7], 4096).is_none());
        assert_eq!(FrameIndex::parse(&[], 4096).unwrap().plaintext_len(), 0);
    }
}
