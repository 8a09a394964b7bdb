//! One frame: eight bytes that say how long it is, then the codec's output or the plaintext itself.

use bytes::Bytes;

use super::rope::Pieces;
use crate::codec::{Codec, CodecError};

/// Bytes before each frame, and of each frame's entry in the index.
pub(super) const FRAME_HEADER: usize = 8;

const RAW: u32 = 1 << 31;

/// How long a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Bytes behind the header.
    pub(super) stored_len: u32,
    /// Whether they are the plaintext itself.
    pub(super) raw: bool,
    /// Bytes that they decompress to.
    pub(super) plain_len: u32,
}

impl FrameHeader {
    pub(super) fn encode(self) -> [u8; FRAME_HEADER] {
        let stored = self.stored_len | if self.raw { RAW } else { 0 };
        (u64::from(self.plain_len) << 32 | u64::from(stored)).to_le_bytes()
    }

    /// Reads a header; `None` for one that no writer of frames up to `frame_len` makes.
    pub(super) fn decode(bytes: [u8; FRAME_HEADER], frame_len: usize) -> Option<Self> {
        let both = u64::from_le_bytes(bytes);
        let (stored, plain_len) = (both as u32, (both >> 32) as u32);
        let header = Self { stored_len: stored & !RAW, raw: stored & RAW != 0, plain_len };
        let fits = match header.raw {
            true => header.stored_len == plain_len,
            false => header.stored_len < plain_len,
        };
        (fits && plain_len > 0 && plain_len as usize <= frame_len).then_some(header)
    }

    /// Returns the bytes of the frame in the body, its header included.
    pub(super) fn total_len(self) -> usize {
        FRAME_HEADER + self.stored_len as usize
    }
}

/// A frame as it goes into the body.
#[derive(Debug)]
pub(super) struct EncodedFrame {
    pub(super) header: FrameHeader,
    pub(super) stored: Vec<Bytes>,
}

impl EncodedFrame {
    /// Compresses a frame, or keeps it as it is where that would not make it shorter.
    pub(super) fn encode(codec: Codec, plain: Pieces) -> Result<Self, CodecError> {
        let plain_len = plain.len();
        if codec != Codec::None {
            let mut out = vec![0; FRAME_HEADER];
            plain.with_slice(|plain| codec.compress(plain, &mut out))?;
            let stored_len = out.len() - FRAME_HEADER;
            if stored_len < plain_len {
                let header = FrameHeader { stored_len: stored_len as u32, raw: false, plain_len: plain_len as u32 };
                out[..FRAME_HEADER].copy_from_slice(&header.encode());
                return Ok(Self { header, stored: vec![out.into()] });
            }
        }
        let header = FrameHeader { stored_len: plain_len as u32, raw: true, plain_len: plain_len as u32 };
        let mut stored = vec![Bytes::copy_from_slice(&header.encode())];
        stored.extend(plain.into_vec());
        Ok(Self { header, stored })
    }
}

/// A frame as it comes out of the body.
#[derive(Debug)]
pub(super) struct StoredFrame {
    pub(super) header: FrameHeader,
    pub(super) stored: Pieces,
}

impl StoredFrame {
    /// Returns the plaintext: the pieces themselves where the frame is raw.
    pub(super) fn decode(self, codec: Codec) -> Result<Pieces, CodecError> {
        if self.header.raw {
            return Ok(self.stored);
        }
        let plain_len = self.header.plain_len as usize;
        let mut out = Vec::with_capacity(plain_len);
        self.stored.with_slice(|stored| codec.decompress(stored, plain_len, &mut out))?;
        Ok(Bytes::from(out).into())
    }
}
