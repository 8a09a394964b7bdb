//! Finds the segments, and then the trailer, in the bytes of an object as they arrive. Does no I/O.

use std::sync::Arc;

use bytes::Bytes;

use super::ContainerError;
use super::header::Opened;
use super::layout::{BODY, INDEX, Layout};
use super::rope::{Pieces, Rope};
use super::subject::Subject;
use super::trailer::{TRAILER_LEN, Trailer};
use crate::crypto::{CryptoError, SEGMENT_PREFIX, SegmentCipher, SegmentPrefix, SegmentRun};

/// Segments that were found together and are opened together. Nothing of them is authentic yet.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) run: SegmentRun,
    pub(super) sealed: Pieces,
}

impl Batch {
    /// Checks and decrypts the segments.
    pub(super) fn open(&self, subject: &Subject, cipher: &dyn SegmentCipher) -> Result<Bytes, ContainerError> {
        let mut out = Vec::with_capacity(self.sealed.len());
        self.sealed
            .with_slice(|sealed| cipher.open(self.run, sealed, &mut out))
            .map_err(|source| subject.crypto(source))?;
        Ok(out.into())
    }
}

/// What a [`Scanner`] found.
#[derive(Debug)]
pub(super) enum Found {
    /// The next segments.
    Batch(Batch),
    /// The trailer, whose tag matches, and the bytes of the object up to its end.
    Trailer(Trailer, u64),
    /// Nothing before more bytes have been pushed.
    NeedMore,
    /// All that was looked for; nothing follows it.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// This many bytes of a header, which has been read before.
    Header(usize),
    Segments(u8),
    Trailer,
    End,
}

/// Cuts an object, or a run of its segments, into batches.
#[derive(Debug)]
pub(super) struct Scanner {
    subject: Subject,
    layout: Layout,
    cipher: Arc<dyn SegmentCipher>,
    rope: Rope,
    ended: bool,
    phase: Phase,
    /// Number of the segment that `rope` begins with.
    first: u32,
    /// Full segments at the front of `rope` whose prefixes have been looked at.
    scanned: usize,
    /// When only a run of segments was fetched: how many are still due, and whether the layer ends with them.
    run: Option<(u32, bool)>,
    /// Bytes of the object that have left `rope`.
    consumed: u64,
}

impl Scanner {
    /// Reads a whole object; its header, which has been checked, is passed over.
    pub(super) fn whole(subject: Subject, opened: &Opened) -> Self {
        Self {
            subject,
            layout: opened.layout,
            cipher: Arc::clone(&opened.cipher),
            rope: Rope::default(),
            ended: false,
            phase: Phase::Header(opened.stored_len),
            first: 0,
            scanned: 0,
            run: None,
            consumed: 0,
        }
    }

    /// Reads `count` of the `total` segments of `layer`, from number `first` on, and nothing behind them.
    pub(super) fn run(subject: Subject, opened: &Opened, layer: u8, first: u32, (count, total): (u32, u32)) -> Self {
        let phase = Phase::Segments(layer);
        let ends_layer = u64::from(first) + u64::from(count) == u64::from(total);
        Self { phase, first, run: Some((count, ends_layer)), ..Self::whole(subject, opened) }
    }

    pub(super) fn push(&mut self, data: Bytes) {
        self.rope.push(data);
    }

    /// Says that no more bytes will come.
    pub(super) fn end_input(&mut self) {
        self.ended = true;
    }

    /// Returns the next thing that all bytes are there for.
    pub(super) fn next(&mut self) -> Result<Found, ContainerError> {
        if let Phase::Header(len) = self.phase
            && self.rope.len() >= len
        {
            self.rope.take(len);
            self.consumed += len as u64;
            self.phase = Phase::Segments(BODY);
        }
        let found = match self.phase {
            Phase::Header(_) => None,
            Phase::Segments(layer) => self.next_batch(layer)?.map(Found::Batch),
            Phase::Trailer => self.trailer()?,
            Phase::End if !self.rope.is_empty() => {
                return Err(ContainerError::TrailingBytes { object: self.subject.name() });
            }
            Phase::End => self.ended.then_some(Found::End),
        };
        match found {
            Some(found) => Ok(found),
            None if self.ended => Err(self.subject.truncated()),
            None => Ok(Found::NeedMore),
        }
    }

    fn next_batch(&mut self, layer: u8) -> Result<Option<Batch>, ContainerError> {
        let full = self.layout.full_segment();
        let wanted = self.run.map_or(usize::MAX, |(left, _)| left as usize).min(self.layout.batch_segments());
        while self.scanned < wanted {
            let at = self.scanned * full;
            let Some(prefix) = self.rope.peek::<SEGMENT_PREFIX>(at) else { return Ok(None) };
            let number = u64::from(self.first) + self.scanned as u64;
            let malformed = || self.subject.crypto(CryptoError::SegmentMalformed { number });
            let prefix = SegmentPrefix::decode(&prefix).map_err(|source| self.subject.crypto(source))?;
            let stored = SEGMENT_PREFIX + prefix.length as usize;
            if stored > full || (stored < full && !prefix.last) || stored < self.layout.sealed_len(0) {
                return Err(malformed());
            }
            if at + stored > self.rope.len() {
                return Ok(None);
            }
            if prefix.last {
                return self.take_batch(layer, at + stored, self.scanned + 1, true).map(Some);
            }
            self.scanned += 1;
        }
        self.take_batch(layer, wanted * full, wanted, false).map(Some)
    }

    fn take_batch(&mut self, layer: u8, bytes: usize, count: usize, last: bool) -> Result<Batch, ContainerError> {
        let run = SegmentRun { layer, first: self.first, segment_len: self.layout.segment_len, last };
        let sealed = self.rope.take(bytes);
        self.scanned = 0;
        self.consumed += bytes as u64;
        if let Some((left, ends_layer)) = &mut self.run {
            *left -= count as u32;
            if last != (*left == 0 && *ends_layer) {
                return Err(self.subject.malformed("body"));
            }
        }
        let run_is_over = self.run.is_some_and(|(left, _)| left == 0);
        if last || run_is_over {
            self.first = 0;
            self.phase = match layer {
                _ if run_is_over => Phase::End,
                BODY => Phase::Segments(INDEX),
                _ => Phase::Trailer,
            };
        } else {
            self.first = self.first.checked_add(count as u32).ok_or_else(|| self.subject.malformed("body"))?;
        }
        Ok(Batch { run, sealed })
    }

    fn trailer(&mut self) -> Result<Option<Found>, ContainerError> {
        let Some(stored) = self.rope.peek::<TRAILER_LEN>(0) else { return Ok(None) };
        let trailer = Trailer::open(&self.subject, &stored, &*self.cipher)?;
        self.rope.take(TRAILER_LEN);
        self.consumed += TRAILER_LEN as u64;
        self.phase = Phase::End;
        Ok(Some(Found::Trailer(trailer, self.consumed)))
    }
}
