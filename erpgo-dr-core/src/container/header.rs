//! The first bytes of a container: what it is, how it is written, which key opens it.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::layout::{self, Layout};
use super::subject::Subject;
use super::{ContainerError, ContainerOptions, KeySource, ObjectIdentity, ObjectKind, SealingKey};
use crate::codec::Codec;
use crate::crypto::{CipherAlgorithm, EpochKey, ObjectBinding, SegmentCipher};
use crate::types::EpochId;

/// The first eight bytes of every container.
pub const MAGIC: [u8; 8] = *b"ERPGODR\x01";

/// The format version that this build writes, and the newest that it reads.
pub const FORMAT_VERSION: u16 = 1;

/// Bytes of a header before its name.
pub(super) const FIXED_LEN: usize = 82;
/// Bytes of a tag behind a header or trailer.
pub(super) const TAG_LEN: usize = 32;
/// The most bytes that a header takes, its tag included.
pub(super) const MAX_STORED_LEN: usize = FIXED_LEN + 255 + TAG_LEN;

const EPOCH_LEN: usize = 25;

#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) identity: ObjectIdentity,
    pub(super) cipher: CipherAlgorithm,
    pub(super) codec: Codec,
    pub(super) frame_len: usize,
    pub(super) segment_len: usize,
    pub(super) salt: [u8; 32],
    pub(super) epoch: EpochId,
}

/// A header that has been checked, and what follows from it.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub(super) header: Header,
    pub(super) layout: Layout,
    pub(super) cipher: Arc<dyn SegmentCipher>,
    /// Bytes of the header and its tag.
    pub(super) stored_len: usize,
}

impl Header {
    pub(super) fn new(identity: ObjectIdentity, epoch: EpochId, options: &ContainerOptions, salt: [u8; 32]) -> Self {
        Self {
            identity,
            cipher: CipherAlgorithm::Aes256CbcHmacSha256,
            codec: options.codec,
            frame_len: options.frame_len,
            segment_len: options.segment_len,
            salt,
            epoch,
        }
    }

    /// Returns the header with its tag, and the cipher that follows from it.
    pub(super) fn seal(&self, key: &SealingKey) -> (Bytes, Arc<dyn SegmentCipher>) {
        let mut bytes = self.encode();
        let cipher = self.derive(&key.key, &bytes);
        let tag = cipher.tag(b"header", &bytes);
        bytes.extend_from_slice(&tag);
        (bytes.into(), cipher)
    }

    /// Returns how many bytes header and tag take, from the first [`FIXED_LEN`] bytes of an object.
    fn stored_len(subject: &Subject, first: &[u8]) -> Result<usize, ContainerError> {
        let magic = first.get(..MAGIC.len()).unwrap_or(first);
        if !MAGIC.starts_with(magic) {
            return Err(ContainerError::NotAContainer { object: subject.name() });
        }
        if first.len() < FIXED_LEN {
            return Err(subject.truncated());
        }
        let version = u16::from_le_bytes([first[8], first[9]]);
        if version != FORMAT_VERSION {
            return Err(ContainerError::UnsupportedVersion { object: subject.name(), version });
        }
        let header_len = usize::from(u16::from_le_bytes([first[10], first[11]]));
        if header_len != FIXED_LEN + usize::from(first[FIXED_LEN - 1]) {
            return Err(subject.malformed("header"));
        }
        Ok(header_len + TAG_LEN)
    }

    /// Checks the header that `object` begins with against what was asked for and the keys at hand.
    ///
    /// `object` is the first [`MAX_STORED_LEN`] bytes of an object, or more, or all that there are.
    pub(super) fn open(
        subject: &Subject,
        object: &[u8],
        expected: &ObjectIdentity,
        keys: &dyn KeySource,
    ) -> Result<Opened, ContainerError> {
        let stored_len = Self::stored_len(subject, object)?;
        let stored = object.get(..stored_len).ok_or_else(|| subject.truncated())?;
        let (bytes, tag) = stored.split_last_chunk::<TAG_LEN>().ok_or_else(|| subject.truncated())?;
        let header = Self::decode(subject, bytes)?;
        if header.identity != *expected {
            let found = header.identity.to_string();
            return Err(ContainerError::WrongObject { expected: expected.to_string(), found });
        }
        let Some(key) = keys.epoch_key(&header.epoch) else {
            return Err(ContainerError::NoKey { object: subject.name(), epoch: header.epoch });
        };
        let cipher = header.derive(&key, bytes);
        if !bool::from(cipher.tag(b"header", bytes).ct_eq(tag)) {
            return Err(ContainerError::HeaderNotAuthentic { object: subject.name() });
        }
        let layout = Layout::new(header.cipher, header.frame_len, header.segment_len);
        Ok(Opened { header, layout, cipher, stored_len })
    }

    fn encode(&self) -> Vec<u8> {
        let name = self.identity.name.as_bytes();
        let length = FIXED_LEN + name.len();
        let mut out = Vec::with_capacity(length + TAG_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&(length as u16).to_le_bytes());
        out.extend_from_slice(&[self.identity.kind.code(), self.cipher.code(), self.codec.code(), 0]);
        out.extend_from_slice(&(self.frame_len as u32).to_le_bytes());
        out.extend_from_slice(&(self.segment_len as u32).to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(self.epoch.as_str().as_bytes());
        out.push(name.len() as u8);
        out.extend_from_slice(name);
        out
    }

    fn decode(subject: &Subject, bytes: &[u8]) -> Result<Self, ContainerError> {
        let malformed = || subject.malformed("header");
        let (fixed, name) = bytes.split_first_chunk::<FIXED_LEN>().ok_or_else(malformed)?;
        let [kind, cipher, codec, flags] = [fixed[12], fixed[13], fixed[14], fixed[15]];
        let word = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]) as usize;
        let (frame_len, segment_len) = (word(16), word(20));
        let epoch = str::from_utf8(&fixed[56..56 + EPOCH_LEN]).ok().and_then(|text| text.parse().ok());
        let name = str::from_utf8(name).map_err(|_| malformed())?;
        let sane = flags == 0 && layout::is_frame_len(frame_len) && layout::is_segment_len(segment_len);
        let codec = Codec::from_code(codec).map_err(|source| subject.codec(source))?;
        let kind = ObjectKind::from_code(kind).filter(|_| sane).ok_or_else(malformed)?;
        Ok(Self {
            identity: ObjectIdentity::new(kind, name),
            cipher: CipherAlgorithm::from_code(cipher).ok_or_else(malformed)?,
            codec,
            frame_len,
            segment_len,
            salt: fixed[24..56].try_into().map_err(|_| malformed())?,
            epoch: epoch.ok_or_else(malformed)?,
        })
    }

    fn derive(&self, key: &EpochKey, bytes: &[u8]) -> Arc<dyn SegmentCipher> {
        let binding = ObjectBinding { salt: self.salt, context: Sha256::digest(bytes).into() };
        layout::encryptor(self.cipher).for_object(key, &binding).into()
    }
}
