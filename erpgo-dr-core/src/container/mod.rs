//! The framed stream that every encrypted object is: codec and crypto, seekable, in bounded memory.
//!
//! `docs/format.md` specifies every byte. A container is header · body · index · trailer: the body is
//! codec frames cut into cipher segments, the index says where each frame lies, the trailer where the
//! index lies. Nothing is released before the MAC of the segment it came in has been checked.
//!
//! [`ContainerWriter`] writes, [`ContainerReader`] reads front to back, [`SeekableContainer`] any range;
//! [`seal_bytes`] and [`open_bytes`] are for what fits in memory.

mod assemble;
mod batcher;
mod error;
mod frame;
mod header;
mod index;
mod layout;
mod ordered;
mod pipeline;
mod reader;
mod rope;
mod scan;
mod seekable;
mod small;
mod subject;
mod trailer;
mod writer;

pub use error::ContainerError;
pub use header::{FORMAT_VERSION, MAGIC};
pub use reader::ContainerReader;
pub use seekable::SeekableContainer;
pub use small::{open_bytes, seal_bytes};
pub use writer::ContainerWriter;

use std::fmt;
use std::sync::Arc;

use crate::codec::Codec;
use crate::crypto::EpochKey;
use crate::storage::ObjectMeta;
use crate::types::{ContentHash, EpochId};

/// What an object is, as its header and MACs say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ObjectKind {
    /// The map of a backup.
    Manifest,
    /// A part of a logical dump's stream.
    Dump,
    /// Frames of physical backups.
    Pack,
    /// A WAL segment, history file or partial segment.
    Wal,
    /// The private part of a catalogue entry.
    Summary,
    /// A file of the user's own (`encrypt` and `decrypt`).
    File,
    /// An entry of the journal of a runbook's run.
    Journal,
    /// A part of a bundle of evidence.
    Evidence,
}

impl ObjectKind {
    /// Returns the number in the header.
    pub fn code(self) -> u8 {
        match self {
            Self::Manifest => 1,
            Self::Dump => 2,
            Self::Pack => 3,
            Self::Wal => 4,
            Self::Summary => 5,
            Self::File => 6,
            Self::Journal => 7,
            Self::Evidence => 8,
        }
    }

    /// Returns the kind of a header's number, if it is known.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Manifest,
            2 => Self::Dump,
            3 => Self::Pack,
            4 => Self::Wal,
            5 => Self::Summary,
            6 => Self::File,
            7 => Self::Journal,
            8 => Self::Evidence,
            _ => return None,
        })
    }
}

/// Kind and name of an object: what a reader expects, and what the MACs bind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectIdentity {
    /// The kind.
    pub kind: ObjectKind,
    /// The name, at most 255 bytes: the object's key for all but packs, whose key is their hash.
    pub name: String,
}

impl ObjectIdentity {
    /// Names an object.
    pub fn new(kind: ObjectKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ObjectIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

/// The epoch key that new objects are sealed with.
#[derive(Debug, Clone)]
pub struct SealingKey {
    /// The epoch, which the header names.
    pub epoch: EpochId,
    /// Its key.
    pub key: Arc<EpochKey>,
}

/// Finds the key of the epoch that a header names.
pub trait KeySource: Send + Sync + fmt::Debug {
    /// Returns the key, if it has been unlocked.
    fn epoch_key(&self, epoch: &EpochId) -> Option<Arc<EpochKey>>;
}

/// How a container is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerOptions {
    /// How frames are compressed.
    pub codec: Codec,
    /// Plaintext bytes of a frame: 4 KiB to 1 MiB.
    pub frame_len: usize,
    /// Plaintext bytes of a cipher segment: a multiple of 16, 1 KiB to 1 MiB.
    pub segment_len: usize,
    /// For how many threads of the pool it keeps work ready, which bounds its memory; 0 means all of them.
    pub threads: usize,
}

impl Default for ContainerOptions {
    fn default() -> Self {
        Self { codec: Codec::default(), frame_len: 1 << 20, segment_len: 16 * 1024 - 16, threads: 0 }
    }
}

impl ContainerOptions {
    /// Sets the codec.
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Sets the segment length in bytes.
    pub fn with_segment_len(mut self, bytes: usize) -> Self {
        self.segment_len = bytes;
        self
    }

    /// Sets for how many threads of the pool it keeps work ready; 0 means all of them.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets the frame length in bytes.
    pub fn with_frame_len(mut self, bytes: usize) -> Self {
        self.frame_len = bytes;
        self
    }
}

/// What a finished container amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerReport {
    /// What the storage place says of it.
    pub object: ObjectMeta,
    /// Bytes that were written into it.
    pub plaintext_bytes: u64,
    /// Bytes that are stored.
    pub stored_bytes: u64,
    /// Frames in its body.
    pub frames: u64,
    /// Hash of the stored bytes.
    pub content_hash: ContentHash,
}

/// What a container that was read to its end amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerSummary {
    /// Bytes that were written into it.
    pub plaintext_bytes: u64,
    /// Bytes that are stored.
    pub stored_bytes: u64,
    /// Frames in its body.
    pub frames: u64,
    /// Hash of the stored bytes.
    pub content_hash: ContentHash,
}
