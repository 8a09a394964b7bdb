//! The object that an error is about.

use std::fmt;
use std::sync::Arc;

use super::{ContainerError, ObjectIdentity};
use crate::codec::CodecError;
use crate::crypto::CryptoError;

/// An object's kind and name as errors show them. Cloning shares the text.
#[derive(Clone)]
pub(super) struct Subject(Arc<str>);

impl Subject {
    pub(super) fn new(identity: &ObjectIdentity) -> Self {
        Self(identity.to_string().into())
    }

    pub(super) fn name(&self) -> String {
        self.0.to_string()
    }

    pub(super) fn malformed(&self, part: &'static str) -> ContainerError {
        ContainerError::Malformed { object: self.name(), part }
    }

    pub(super) fn not_authentic(&self, part: &'static str) -> ContainerError {
        ContainerError::NotAuthentic { object: self.name(), part }
    }

    pub(super) fn truncated(&self) -> ContainerError {
        ContainerError::Truncated { object: self.name() }
    }

    pub(super) fn too_large(&self) -> ContainerError {
        ContainerError::TooLarge { object: self.name() }
    }

    pub(super) fn unusable(&self) -> ContainerError {
        ContainerError::Unusable { object: self.name() }
    }

    pub(super) fn crypto(&self, source: CryptoError) -> ContainerError {
        ContainerError::Crypto { object: self.name(), source }
    }

    pub(super) fn codec(&self, source: CodecError) -> ContainerError {
        ContainerError::Codec { object: self.name(), source }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
