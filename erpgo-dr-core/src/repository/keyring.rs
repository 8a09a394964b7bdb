//! The epoch keys that have been unlocked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RepositoryError;
use crate::container::{KeySource, SealingKey};
use crate::crypto::EpochKey;
use crate::types::EpochId;

/// Epoch keys in memory, by epoch.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: BTreeMap<EpochId, Arc<EpochKey>>,
    sealing: Option<EpochId>,
}

impl Keyring {
    /// Returns whether no key has been unlocked.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Lists the epochs that are unlocked, oldest first.
    pub fn epochs(&self) -> impl Iterator<Item = &EpochId> {
        self.keys.keys()
    }

    pub(super) fn insert(&mut self, epoch: EpochId, key: EpochKey) -> Arc<EpochKey> {
        let key = Arc::new(key);
        self.keys.insert(epoch, Arc::clone(&key));
        key
    }

    pub(super) fn seal_with(&mut self, epoch: EpochId) {
        self.sealing = Some(epoch);
    }

    /// Returns the key that new objects are sealed with: that of `settled` unless another has been chosen.
    pub(super) fn sealing_key(&self, settled: &EpochId) -> Result<SealingKey, RepositoryError> {
        let epoch = self.sealing.as_ref().unwrap_or(settled);
        Ok(SealingKey { epoch: epoch.clone(), key: self.require(epoch)? })
    }

    pub(super) fn require(&self, epoch: &EpochId) -> Result<Arc<EpochKey>, RepositoryError> {
        self.epoch_key(epoch).ok_or_else(|| RepositoryError::Locked { epoch: epoch.clone() })
    }
}

impl KeySource for Keyring {
    fn epoch_key(&self, epoch: &EpochId) -> Option<Arc<EpochKey>> {
        self.keys.get(epoch).cloned()
    }
}
