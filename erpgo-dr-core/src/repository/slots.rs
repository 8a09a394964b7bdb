//! Who may open the repository: slots and epochs as an operator manages them.
//!
//! All of these rewrite small files under `keys/`; no data is written anew.

use super::epoch::{self, EpochInfo};
use super::{Repository, RepositoryError, layout, record, settings};
use crate::crypto::keys::{SlotName, Wrapper};
use crate::storage::{PutOptions, StorageExt as _};
use crate::types::EpochId;

impl Repository {
    /// Lists epochs and their slots, oldest first.
    ///
    /// # Errors
    /// [`RepositoryError::NotAuthentic`] when an epoch's record was forged.
    pub async fn epochs(&self) -> Result<Vec<EpochInfo>, RepositoryError> {
        let storage = self.storage.as_ref();
        let table = epoch::list_slots(storage).await?;
        let active = epoch::active(storage, &table, &self.keyring, &self.settings.epoch).await?;
        let mut infos = Vec::with_capacity(table.len());
        for (id, objects) in &table {
            let mut slots = Vec::with_capacity(objects.len());
            for object in objects {
                slots.extend(epoch::describe_slot(storage, object).await?);
            }
            infos.push(EpochInfo {
                role: epoch::role(storage, &self.keyring, id).await?,
                active: *id == active,
                unlocked: self.keyring.require(id).is_ok(),
                id: id.clone(),
                slots,
            });
        }
        Ok(infos)
    }

    /// Adds a slot to every epoch that is unlocked, so that its owner can read all there is.
    ///
    /// # Errors
    /// [`RepositoryError::SlotExists`] when an epoch has a slot of this name; none has been added then.
    pub async fn add_slot(&self, name: &SlotName, wrapper: &Wrapper) -> Result<(), RepositoryError> {
        for info in self.epochs().await? {
            if info.unlocked && has_slot(&info, name) {
                return Err(RepositoryError::SlotExists { epoch: info.id, slot: name.to_string() });
            }
        }
        self.wrap_epochs(name, wrapper, |_| true).await
    }

    /// Replaces what opens a slot, in every epoch that has it: a new passphrase, other recipients.
    ///
    /// An interrupted rotation is repeated; until then some epochs open with the old one.
    ///
    /// # Errors
    /// [`RepositoryError::NoSuchSlot`]; [`RepositoryError::Locked`] for an epoch that has the slot and is
    /// locked; nothing has been changed then.
    pub async fn rotate_slot(&self, name: &SlotName, wrapper: &Wrapper) -> Result<(), RepositoryError> {
        let infos: Vec<EpochInfo> = self.epochs().await?.into_iter().filter(|info| has_slot(info, name)).collect();
        if infos.is_empty() {
            return Err(RepositoryError::NoSuchSlot { slot: name.to_string() });
        }
        if let Some(locked) = infos.iter().find(|info| !info.unlocked) {
            return Err(RepositoryError::Locked { epoch: locked.id.clone() });
        }
        let affected: Vec<EpochId> = infos.iter().map(|info| info.id.clone()).collect();
        self.wrap_epochs(name, wrapper, |id| affected.contains(id)).await?;
        let form = wrapper.kind().extension();
        for info in &infos {
            for slot in info.slots.iter().filter(|slot| slot.name == name.as_str() && slot.form != form) {
                self.storage.delete(&layout::slot(&info.id, &slot.name, &slot.form)).await?;
            }
        }
        Ok(())
    }

    /// Removes a slot from every epoch.
    ///
    /// Who has seen an epoch's key keeps what it opens: after a breach begin a new epoch as well.
    ///
    /// # Errors
    /// [`RepositoryError::NoSuchSlot`]; [`RepositoryError::LastSlot`] when an epoch has no other; nothing
    /// has been removed then.
    pub async fn remove_slot(&self, name: &SlotName) -> Result<(), RepositoryError> {
        let infos: Vec<EpochInfo> = self.epochs().await?.into_iter().filter(|info| has_slot(info, name)).collect();
        if infos.is_empty() {
            return Err(RepositoryError::NoSuchSlot { slot: name.to_string() });
        }
        if let Some(info) = infos.iter().find(|info| info.slots.iter().all(|slot| slot.name == name.as_str())) {
            return Err(RepositoryError::LastSlot { epoch: info.id.clone(), slot: name.to_string() });
        }
        for info in &infos {
            for slot in info.slots.iter().filter(|slot| slot.name == name.as_str()) {
                self.storage.delete(&layout::slot(&info.id, &slot.name, &slot.form)).await?;
            }
        }
        Ok(())
    }

    /// Begins a new epoch: what is backed up from now on is sealed with a new key, which only `slots` open.
    ///
    /// # Errors
    /// [`RepositoryError::Locked`] without the key of the epoch that is active.
    pub async fn begin_epoch(&mut self, slots: &[(SlotName, Wrapper)]) -> Result<EpochId, RepositoryError> {
        let current = self.sealing_key()?;
        let now = self.environment.clock.now();
        let previous = Some((&current.epoch, current.key.as_ref()));
        let (id, key) = epoch::begin(self.storage.as_ref(), now, previous, false, slots).await?;
        let key = self.keyring.insert(id.clone(), key);
        self.keyring.seal_with(id.clone());
        // From here on the chain starts at the new epoch, so that it can be followed without the old one's key.
        self.settings.epoch = id.clone();
        let place = layout::settings();
        let stored = record::encode(&place, settings::DOMAIN, &id, &key, &self.settings);
        self.storage.write(&place, stored, &PutOptions::default()).await?;
        Ok(id)
    }

    async fn wrap_epochs(
        &self,
        name: &SlotName,
        wrapper: &Wrapper,
        wanted: impl Fn(&EpochId) -> bool,
    ) -> Result<(), RepositoryError> {
        for id in self.keyring.epochs().filter(|id| wanted(id)) {
            let key = self.keyring.require(id)?;
            epoch::store_slot(self.storage.as_ref(), id, &key, name, wrapper).await?;
        }
        Ok(())
    }
}

fn has_slot(info: &EpochInfo, name: &SlotName) -> bool {
    info.slots.iter().any(|slot| slot.name == name.as_str())
}
