//! Bytes in several pieces, taken from the front in other pieces, copied only where one slice is needed.

use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Pieces shorter than this are copied together: keeping them apart costs more.
const COALESCE_BELOW: usize = 4096;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A queue of bytes.
#[derive(Debug, Default)]
pub(super) struct Rope {
    pieces: VecDeque<Bytes>,
    /// What is behind `pieces`: short pieces that were copied together.
    tail: BytesMut,
    len: usize,
}

impl Rope {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, data: Bytes) {
        self.len += data.len();
        if data.len() < COALESCE_BELOW {
            self.tail.extend_from_slice(&data);
        } else {
            self.close_tail();
            self.pieces.push_back(data);
        }
    }

    /// Copies the `N` bytes at `offset`, if that many are there.
    pub(super) fn peek<const N: usize>(&self, mut offset: usize) -> Option<[u8; N]> {
        if offset.checked_add(N)? > self.len {
            return None;
        }
        let mut found = [0; N];
        let mut filled = 0;
        for piece in self.pieces.iter().map(Bytes::as_ref).chain([self.tail.as_ref()]) {
            if offset >= piece.len() {
                offset -= piece.len();
                continue;
            }
            let here = (piece.len() - offset).min(N - filled);
            found[filled..filled + here].copy_from_slice(&piece[offset..offset + here]);
            filled += here;
            offset = 0;
            if filled == N {
                break;
            }
        }
        Some(found)
    }

    /// Takes the first `count` bytes, or all when there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Pieces {
        let mut wanted = count.min(self.len);
        self.len -= wanted;
        let mut taken = Vec::new();
        while wanted > 0 {
            let Some(front) = self.pieces.front_mut() else {
                taken.push(self.tail.split_to(wanted).freeze());
                break;
            };
            if front.len() > wanted {
                taken.push(front.split_to(wanted));
                break;
            }
            wanted -= front.len();
            taken.extend(self.pieces.pop_front());
        }
        Pieces(taken)
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}

/// Bytes that belong together and may lie apart.
#[derive(Debug, Clone)]
pub(super) struct Pieces(Vec<Bytes>);

impl Pieces {
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter()
    }

    pub(super) fn into_vec(self) -> Vec<Bytes> {
        self.0
    }

    /// Calls `work` with all bytes as one slice, joined in a buffer of the thread if need be.
    pub(super) fn with_slice<T>(&self, work: impl FnOnce(&[u8]) -> T) -> T {
        match self.0.as_slice() {
            [] => work(&[]),
            [single] => work(single),
            several => SCRATCH.with_borrow_mut(|scratch| {
                scratch.clear();
                several.iter().for_each(|piece| scratch.extend_from_slice(piece));
                work(scratch)
            }),
        }
    }
}

impl From<Bytes> for Pieces {
    fn from(data: Bytes) -> Self {
        Self(vec![data])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_however_they_were_cut() {
        let whole: Vec<u8> = (0..60_000u32).map(|n| (n % 251) as u8).collect();
        for cut in [1, 7, 4095, 4096, 5000, 60_000] {
            for take in [3, 1000, 4096, 10_001, 60_000] {
                let mut rope = Rope::default();
                whole.chunks(cut).for_each(|chunk| rope.push(Bytes::copy_from_slice(chunk)));
                assert_eq!(rope.peek::<8>(41_000).unwrap(), whole[41_000..41_008]);
                assert_eq!(rope.peek::<8>(59_993), None);
                let mut back = Vec::new();
                while !rope.is_empty() {
                    rope.take(take).with_slice(|slice| back.extend_from_slice(slice));
                }
                assert!(back == whole, "cut {cut} take {take}");
            }
        }
    }

    #[test]
    fn short_and_long_pieces_keep_their_order() {
        let mut rope = Rope::default();
        for (byte, len) in [(1u8, 10), (2, 5000), (3, 20), (4, 20), (5, 9000)] {
            rope.push(vec![byte; len].into());
        }
        assert_eq!(rope.peek::<4>(5008), Some([2, 2, 3, 3]));
        assert_eq!(rope.len(), 14_050);
        let all = rope.take(usize::MAX);
        assert_eq!(
            all.with_slice(|slice| (slice[9], slice[10], slice[5010], slice[5030], slice[14_049])),
            (1, 2, 3, 4, 5)
        );
    }
}
