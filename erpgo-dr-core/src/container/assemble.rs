//! Puts the frames of a whole object together from its opened segments, and holds what was read against
//! the index and the trailer. Does no I/O.

use bytes::Bytes;

use super::ContainerError;
use super::frame::{FRAME_HEADER, FrameHeader, StoredFrame};
use super::layout::{INDEX, Layout};
use super::rope::Rope;
use super::subject::Subject;
use super::trailer::Trailer;
use crate::types::ContentHasher;

/// Reads frames from the body as it is opened, front to back.
#[derive(Debug)]
pub(super) struct Assembler {
    subject: Subject,
    layout: Layout,
    header_len: u64,
    body: Rope,
    body_len: u64,
    frames: u64,
    plaintext_len: u64,
    /// Hashes of the index as it should be and as it is: it may be long, and is needed for this only.
    index_due: ContentHasher,
    index_found: ContentHasher,
    index_len: u64,
}

impl Assembler {
    pub(super) fn new(subject: Subject, layout: Layout, header_len: usize) -> Self {
        Self {
            subject,
            layout,
            header_len: header_len as u64,
            body: Rope::default(),
            body_len: 0,
            frames: 0,
            plaintext_len: 0,
            index_due: ContentHasher::new(),
            index_found: ContentHasher::new(),
            index_len: 0,
        }
    }

    /// Takes the plaintext of the next segments of `layer`. Frames must have been taken before.
    pub(super) fn push(&mut self, layer: u8, opened: Bytes) -> Result<(), ContainerError> {
        if layer == INDEX {
            if !self.body.is_empty() {
                return Err(self.subject.malformed("frame"));
            }
            self.index_len += opened.len() as u64;
            self.index_found.update(&opened);
        } else {
            self.body_len += opened.len() as u64;
            self.body.push(opened);
        }
        Ok(())
    }

    /// Returns the next frame whose bytes are all there.
    pub(super) fn next_frame(&mut self) -> Result<Option<StoredFrame>, ContainerError> {
        let Some(bytes) = self.body.peek::<FRAME_HEADER>(0) else { return Ok(None) };
        let header =
            FrameHeader::decode(bytes, self.layout.frame_len).ok_or_else(|| self.subject.malformed("frame"))?;
        if self.body.len() < header.total_len() {
            return Ok(None);
        }
        self.body.take(FRAME_HEADER);
        self.index_due.update(&bytes);
        self.frames += 1;
        self.plaintext_len += u64::from(header.plain_len);
        Ok(Some(StoredFrame { header, stored: self.body.take(header.stored_len as usize) }))
    }

    /// Checks the index and the trailer against what was read.
    pub(super) fn check(&self, trailer: &Trailer) -> Result<(), ContainerError> {
        if self.index_found.finish() != self.index_due.finish() {
            return Err(self.subject.not_authentic("index"));
        }
        let lengths = self.layout.layer_len(self.body_len).zip(self.layout.layer_len(self.index_len));
        let (body_stored, index_stored) = lengths.ok_or_else(|| self.subject.too_large())?;
        let due = Trailer {
            index_offset: self.header_len + body_stored,
            index_len: index_stored,
            body_segments: self.layout.segments(self.body_len) as u32,
            index_segments: self.layout.segments(self.index_len) as u32,
            frames: self.frames,
            plaintext_len: self.plaintext_len,
        };
        if *trailer != due {
            return Err(self.subject.not_authentic("trailer"));
        }
        Ok(())
    }
}
