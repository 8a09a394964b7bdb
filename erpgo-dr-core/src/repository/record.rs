//! The form of records that are public but must not be forged: JSON, and a MAC over its exact bytes.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::RepositoryError;
use crate::crypto::{EpochKey, record_mac, record_mac_matches};
use crate::storage::{Storage, StorageError, StorageExt as _};
use crate::types::{EpochId, ObjectKey};

/// Records are small; anything larger is not one.
const LIMIT: usize = 16 << 20;

#[derive(Serialize, Deserialize)]
struct Envelope {
    epoch: EpochId,
    mac: String,
    record: Box<RawValue>,
}

/// A record as it was read: parsed, and not yet trusted.
#[derive(Debug, Clone)]
pub(crate) struct Record<T> {
    /// Its content.
    pub(crate) value: T,
    /// The epoch whose key its MAC is made with.
    pub(crate) epoch: EpochId,
    /// Its stored bytes.
    pub(crate) stored: Bytes,
    key: ObjectKey,
    text: String,
    mac: Vec<u8>,
}

impl<T> Record<T> {
    /// Checks the MAC. `domain` says what kind of record is expected; its name is its object key.
    pub(crate) fn authenticate(&self, domain: &str, key: &EpochKey) -> Result<(), RepositoryError> {
        if record_mac_matches(key, domain, self.key.as_str(), self.text.as_bytes(), &self.mac) {
            return Ok(());
        }
        Err(RepositoryError::NotAuthentic { record: self.key.to_string() })
    }
}

/// Returns the stored form of a record.
pub(crate) fn encode<T: Serialize>(
    object: &ObjectKey,
    domain: &str,
    epoch: &EpochId,
    key: &EpochKey,
    value: &T,
) -> Bytes {
    let text = serde_json::to_string(value).expect("records hold nothing that JSON cannot");
    let mac = hex::encode(record_mac(key, domain, object.as_str(), text.as_bytes()));
    let record = RawValue::from_string(text).expect("serde_json wrote it");
    let envelope = Envelope { epoch: epoch.clone(), mac, record };
    serde_json::to_vec(&envelope).expect("an envelope is plain JSON").into()
}

/// Parses a record without trusting it.
pub(crate) fn decode<T: DeserializeOwned>(object: &ObjectKey, stored: Bytes) -> Result<Record<T>, RepositoryError> {
    let damaged = |reason: String| RepositoryError::Damaged { record: object.to_string(), reason };
    let envelope: Envelope = serde_json::from_slice(&stored).map_err(|e| damaged(e.to_string()))?;
    let mac = hex::decode(&envelope.mac).map_err(|e| damaged(e.to_string()))?;
    let text = envelope.record.get().to_owned();
    let value = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
    Ok(Record { value, epoch: envelope.epoch, key: object.clone(), text, mac, stored })
}

/// Reads a record, if it is there.
pub(crate) async fn load<T: DeserializeOwned>(
    storage: &dyn Storage,
    object: &ObjectKey,
) -> Result<Option<Record<T>>, RepositoryError> {
    match storage.read(object, LIMIT).await {
        Ok(stored) => decode(object, stored).map(Some),
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_bound_to_its_name_domain_and_text() {
        let key = EpochKey::from_bytes([1; 32]);
        let epoch = EpochId::generate(chrono::Utc::now());
        let object = ObjectKey::new("state/holds/a").unwrap();
        let stored = encode(&object, "hold", &epoch, &key, &"because");
        let record: Record<String> = decode(&object, stored.clone()).unwrap();
        record.authenticate("hold", &key).unwrap();
        assert!(record.authenticate("verdict", &key).is_err());

        let moved: Record<String> = decode(&ObjectKey::new("state/holds/b").unwrap(), stored.clone()).unwrap();
        assert!(moved.authenticate("hold", &key).is_err());

        let altered = String::from_utf8(stored.to_vec()).unwrap().replace("because", "whatever");
        let altered: Record<String> = decode(&object, altered.into()).unwrap();
        assert!(altered.authenticate("hold", &key).is_err());
    }
}
