//! Key epochs: which there are, which one seals today, and the slots through which each can be opened.
//!
//! An epoch's key is made once and wrapped once for each slot. Its record names the epoch it follows and
//! carries a MAC under that one's key, so that nobody without a key of the repository can begin an epoch
//! that others would seal with. An epoch of a single run, made by a host that holds only recipients,
//! follows none: it is read, and never sealed with again.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};

use super::keyring::Keyring;
use super::{RepositoryError, layout, record};
use crate::crypto::keys::{MAX_SLOT_LEN, SlotKind, SlotName, Unlocker, Wrapper, slot_kind};
use crate::crypto::{CryptoError, EpochKey, record_mac, record_mac_matches};
use crate::storage::{PutOptions, Storage, StorageExt as _};
use crate::types::{EpochId, ObjectKey};

pub(super) const DOMAIN: &str = "epoch";
const LINK: &str = "epoch-link";
const COMMITMENT: &str = "epoch-commitment";

/// How an epoch came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EpochRole {
    /// The first one.
    Root,
    /// Begun by someone who held the key of the one before.
    Successor {
        /// The epoch before.
        previous: EpochId,
        /// MAC over this epoch's key under the previous one's, in hexadecimal digits.
        link: String,
    },
    /// Made for a single run by a host without any key.
    Run,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct EpochRecord {
    created: DateTime<Utc>,
    #[serde(flatten)]
    role: EpochRole,
}

/// An epoch as the repository lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EpochInfo {
    /// The epoch.
    pub id: EpochId,
    /// How it came about; `None` while its record cannot be trusted for want of its key.
    pub role: Option<EpochRole>,
    /// Whether new backups are sealed with it.
    pub active: bool,
    /// Whether its key has been unlocked here.
    pub unlocked: bool,
    /// Its slots.
    pub slots: Vec<SlotInfo>,
}

/// A slot: one way to open an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SlotInfo {
    /// Its name, the same in every epoch that it opens.
    pub name: String,
    /// `age` for passphrases and recipients, `ext` for an external command.
    pub form: String,
    /// What opens it; `None` for a file that cannot be read as what it should be.
    pub kind: Option<SlotKind>,
}

/// What lies under `keys/`: for each epoch its slots' objects.
pub(super) type SlotTable = BTreeMap<EpochId, Vec<ObjectKey>>;

pub(super) async fn list_slots(storage: &dyn Storage) -> Result<SlotTable, RepositoryError> {
    let mut table = SlotTable::new();
    let mut objects = storage.list(layout::KEYS);
    while let Some(meta) = objects.try_next().await? {
        let Some(epoch) = meta.key.as_str().split('/').nth(1).and_then(|id| id.parse().ok()) else { continue };
        let slots: &mut Vec<ObjectKey> = table.entry(epoch).or_default();
        if matches!(split_slot(&meta.key), Some((_, "age" | "ext"))) {
            slots.push(meta.key);
        }
    }
    table.values_mut().for_each(|slots| slots.sort());
    Ok(table)
}

/// Splits a slot's object into its name and form.
pub(super) fn split_slot(object: &ObjectKey) -> Option<(&str, &str)> {
    object.file_name().rsplit_once('.')
}

/// Describes a slot by its object's name and header; `None` for what is no slot.
pub(super) async fn describe_slot(
    storage: &dyn Storage,
    object: &ObjectKey,
) -> Result<Option<SlotInfo>, RepositoryError> {
    let Some((name, form)) = split_slot(object) else { return Ok(None) };
    let kind = match form {
        "ext" => Some(SlotKind::Command),
        _ => slot_kind(&storage.read(object, MAX_SLOT_LEN).await?).ok(),
    };
    Ok(Some(SlotInfo { name: name.to_owned(), form: form.to_owned(), kind }))
}

/// Makes the key of an epoch, and stores its slots before its record: an epoch that shows can be opened.
pub(super) async fn begin(
    storage: &dyn Storage,
    now: DateTime<Utc>,
    previous: Option<(&EpochId, &EpochKey)>,
    run: bool,
    slots: &[(SlotName, Wrapper)],
) -> Result<(EpochId, EpochKey), RepositoryError> {
    if slots.is_empty() {
        return Err(RepositoryError::NoSlots);
    }
    let (id, key) = (EpochId::generate(in_order(now, previous.map(|(id, _)| id))), EpochKey::generate());
    for (name, wrapper) in slots {
        store_slot(storage, &id, &key, name, wrapper).await?;
    }
    let role = match previous {
        Some((previous, previous_key)) => {
            EpochRole::Successor { previous: previous.clone(), link: hex::encode(link(previous_key, &id, &key)) }
        }
        None if run => EpochRole::Run,
        None => EpochRole::Root,
    };
    let object = layout::epoch(&id);
    let record = record::encode(&object, DOMAIN, &id, &key, &EpochRecord { created: now, role });
    storage.create(&object, record).await?;
    Ok((id, key))
}

/// Removes an epoch with its slots: one that nothing was sealed with.
pub(super) async fn remove(storage: &dyn Storage, id: &EpochId) -> Result<(), RepositoryError> {
    let folder = format!("{}/{id}", layout::KEYS);
    let keys: Vec<ObjectKey> = storage.list(&folder).map_ok(|meta| meta.key).try_collect().await?;
    for key in &keys {
        storage.delete(key).await?;
    }
    Ok(())
}

/// Returns the time that an epoch's identifier says: later than the previous one's, so that their order is that of the chain
/// even within a second, or where a clock was set back.
fn in_order(now: DateTime<Utc>, previous: Option<&EpochId>) -> DateTime<Utc> {
    previous.map_or(now, |previous| now.max(previous.time() + TimeDelta::seconds(1)))
}

pub(super) async fn store_slot(
    storage: &dyn Storage,
    epoch: &EpochId,
    key: &EpochKey,
    name: &SlotName,
    wrapper: &Wrapper,
) -> Result<(), RepositoryError> {
    let wrapped = wrapper.wrap(epoch, key).await?;
    let object = layout::slot(epoch, name.as_str(), wrapper.kind().extension());
    storage.write(&object, wrapped.into(), &PutOptions::default()).await?;
    Ok(())
}

/// Opens what `unlocker` opens, and puts the keys on the ring. Slots that it cannot open are passed over.
pub(super) async fn unlock(
    storage: &dyn Storage,
    table: &SlotTable,
    unlocker: &Unlocker,
    keyring: &mut Keyring,
) -> Result<(), RepositoryError> {
    let wanted_form = if matches!(unlocker, Unlocker::Command(_)) { "ext" } else { "age" };
    let (mut opened, mut failures) = (0, Vec::new());
    for (epoch, slots) in table {
        for slot in slots.iter().filter(|slot| split_slot(slot).is_some_and(|(_, form)| form == wanted_form)) {
            let wrapped = storage.read(slot, MAX_SLOT_LEN).await?;
            match unlocker.unwrap(epoch, &wrapped).await {
                Ok(key) => {
                    keyring.insert(epoch.clone(), key);
                    opened += 1;
                    break;
                }
                Err(error) => failures.push((slot, error)),
            }
        }
    }
    if opened > 0 {
        return Ok(());
    }
    Err(refusal(failures))
}

/// One slot's failure speaks for itself; of several, each is named.
fn refusal(mut failures: Vec<(&ObjectKey, CryptoError)>) -> RepositoryError {
    if failures.len() == 1 {
        return RepositoryError::Crypto(failures.remove(0).1);
    }
    let detail = failures.iter().map(|(slot, error)| format!("{slot}: {error}")).collect::<Vec<_>>();
    let detail = if detail.is_empty() { "there is none of this kind".to_owned() } else { detail.join("; ") };
    RepositoryError::NoSlotOpened { detail }
}

/// Follows the epochs from `start` to the one that seals today, over records and links that are authentic.
///
/// # Errors
/// [`RepositoryError::NotAuthentic`] for a forged record, [`RepositoryError::EpochConflict`] for a fork.
pub(super) async fn active(
    storage: &dyn Storage,
    table: &SlotTable,
    keyring: &Keyring,
    start: &EpochId,
) -> Result<EpochId, RepositoryError> {
    let mut successors: BTreeMap<EpochId, EpochId> = BTreeMap::new();
    for id in table.keys() {
        let Some(EpochRole::Successor { previous, .. }) = role(storage, keyring, id).await? else { continue };
        if let Some(first) = successors.insert(previous.clone(), id.clone()) {
            return Err(RepositoryError::EpochConflict { previous, first, second: id.clone() });
        }
    }
    let mut current = start;
    // Ids are in order of time: following only later ones ends, whatever the records say.
    while let Some((_, next)) = successors.get_key_value(current).filter(|(_, next)| *next > current) {
        current = next;
    }
    Ok(current.clone())
}

/// Returns how an epoch came about, once its record and link have been checked; `None` without its key.
pub(super) async fn role(
    storage: &dyn Storage,
    keyring: &Keyring,
    id: &EpochId,
) -> Result<Option<EpochRole>, RepositoryError> {
    let Ok(key) = keyring.require(id) else { return Ok(None) };
    let object = layout::epoch(id);
    let Some(found) = record::load::<EpochRecord>(storage, &object).await? else { return Ok(None) };
    found.authenticate(DOMAIN, &key)?;
    if let EpochRole::Successor { previous, link: stored } = &found.value.role {
        let Ok(previous_key) = keyring.require(previous) else { return Ok(None) };
        let stored = hex::decode(stored).unwrap_or_default();
        let commitment = commitment(id, &key);
        if !record_mac_matches(&previous_key, LINK, id.as_str(), &commitment, &stored) {
            return Err(RepositoryError::NotAuthentic { record: object.to_string() });
        }
    }
    Ok(Some(found.value.role))
}

fn link(previous: &EpochKey, id: &EpochId, key: &EpochKey) -> [u8; 32] {
    record_mac(previous, LINK, id.as_str(), &commitment(id, key))
}

/// Names a key without telling it.
fn commitment(id: &EpochId, key: &EpochKey) -> [u8; 32] {
    record_mac(key, COMMITMENT, id.as_str(), b"")
}
