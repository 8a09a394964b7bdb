//! Cuts a layer's plaintext into runs of segments and seals them.

use bytes::Bytes;

use super::ContainerError;
use super::layout::Layout;
use super::rope::{Pieces, Rope};
use super::subject::Subject;
use crate::crypto::{SegmentCipher, SegmentRun};

/// Collects the plaintext of one layer.
#[derive(Debug)]
pub(super) struct Batcher {
    layout: Layout,
    layer: u8,
    next: u32,
    pending: Rope,
    plaintext_len: u64,
}

/// Segments that are ready to be sealed.
#[derive(Debug)]
pub(super) struct PlainBatch {
    run: SegmentRun,
    plain: Pieces,
    sealed_len: usize,
}

impl Batcher {
    pub(super) fn new(layout: Layout, layer: u8) -> Self {
        Self { layout, layer, next: 0, pending: Rope::default(), plaintext_len: 0 }
    }

    pub(super) fn push(&mut self, plain: Bytes) {
        self.plaintext_len += plain.len() as u64;
        self.pending.push(plain);
    }

    pub(super) fn plaintext_len(&self) -> u64 {
        self.plaintext_len
    }

    /// Returns a whole batch as soon as it is known that its last segment is not the layer's last.
    pub(super) fn full_batch(&mut self, subject: &Subject) -> Result<Option<PlainBatch>, ContainerError> {
        let segments = self.layout.batch_segments();
        let bytes = segments * self.layout.segment_len;
        if self.pending.len() <= bytes {
            return Ok(None);
        }
        let run = self.run(false);
        self.next = self.next.checked_add(segments as u32).ok_or_else(|| subject.too_large())?;
        let sealed_len = segments * self.layout.full_segment();
        Ok(Some(PlainBatch { run, plain: self.pending.take(bytes), sealed_len }))
    }

    /// Returns what is left, once all full batches have been taken: the end of the layer.
    pub(super) fn last_batch(&mut self) -> PlainBatch {
        let plain = self.pending.take(usize::MAX);
        let full = self.layout.segments(plain.len() as u64) as usize - 1;
        let last = plain.len() - full * self.layout.segment_len;
        let sealed_len = full * self.layout.full_segment() + self.layout.sealed_len(last);
        PlainBatch { run: self.run(true), plain, sealed_len }
    }

    fn run(&self, last: bool) -> SegmentRun {
        SegmentRun { layer: self.layer, first: self.next, segment_len: self.layout.segment_len, last }
    }
}

impl PlainBatch {
    pub(super) fn seal(&self, cipher: &dyn SegmentCipher) -> Bytes {
        let mut out = Vec::with_capacity(self.sealed_len);
        self.plain.with_slice(|plain| cipher.seal(self.run, plain, &mut out));
        out.into()
    }
}
