//! `repo.json`: what a repository is. Public, and MACed; written anew only when a key epoch begins.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::RepositoryError;
use crate::codec::Codec;
use crate::container::ContainerOptions;
use crate::types::{EpochId, RepositoryId};

/// The version of the repository format that this build writes.
pub const REPOSITORY_FORMAT: u32 = 1;

pub(super) const DOMAIN: &str = "repository";

/// The identity of a repository and the parameters that its objects are written with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RepositorySettings {
    /// The format version.
    pub format: u32,
    /// The repository's own identifier.
    pub id: RepositoryId,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// The epoch from which the chain of epochs is followed to the one that seals today.
    pub epoch: EpochId,
    /// How frames are compressed unless a backup says otherwise.
    pub codec: Codec,
    /// Plaintext bytes of a frame.
    pub frame_len: u32,
    /// Plaintext bytes of a cipher segment.
    pub segment_len: u32,
    /// Plaintext bytes after which a dump stream goes on in a new object.
    pub part_bytes: u64,
}

impl RepositorySettings {
    pub(super) fn new(id: RepositoryId, created: DateTime<Utc>, epoch: EpochId, options: &InitOptions) -> Self {
        let container = ContainerOptions::default();
        Self {
            format: REPOSITORY_FORMAT,
            id,
            created,
            epoch,
            codec: options.codec,
            frame_len: container.frame_len as u32,
            segment_len: container.segment_len as u32,
            part_bytes: options.part_bytes,
        }
    }

    pub(super) fn check_format(&self) -> Result<(), RepositoryError> {
        if self.format > REPOSITORY_FORMAT {
            return Err(RepositoryError::UnsupportedFormat { format: self.format });
        }
        Ok(())
    }

    /// Returns how containers are written, with another codec where one is given.
    pub fn container_options(&self, codec: Option<Codec>) -> ContainerOptions {
        let mut options = ContainerOptions::default().with_codec(codec.unwrap_or(self.codec));
        options.frame_len = self.frame_len as usize;
        options.segment_len = self.segment_len as usize;
        options
    }
}

/// What is chosen when a repository is made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InitOptions {
    /// How frames are compressed unless a backup says otherwise.
    pub codec: Codec,
    /// Plaintext bytes after which a dump stream goes on in a new object.
    pub part_bytes: u64,
}

impl Default for InitOptions {
    fn default() -> Self {
        // Well below what any provider takes as one object, and an index of 128 KiB.
        Self { codec: Codec::default(), part_bytes: 16 << 30 }
    }
}

impl InitOptions {
    /// Sets the codec.
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Sets the plaintext bytes of a part.
    pub fn with_part_bytes(mut self, bytes: u64) -> Self {
        self.part_bytes = bytes.max(1);
        self
    }
}
