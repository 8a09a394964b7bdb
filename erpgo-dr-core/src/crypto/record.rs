//! MACs of the small records that stay readable without a key: settings, catalogue entries, verdicts.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::EpochKey;

const INFO: &[u8] = b"erpgo-dr/v1/record-mac";

/// Computes the HMAC-SHA-256 of `record` under the epoch's record key.
///
/// The record key is HKDF-SHA-256 of the epoch key (RFC 5869). `domain` says what kind of record it is
/// and `name` which one, so that no record passes for another: the message is each of the two behind its
/// length (u32, little-endian), then the record.
pub fn record_mac(key: &EpochKey, domain: &str, name: &str, record: &[u8]) -> [u8; 32] {
    let mut record_key = Zeroizing::new([0_u8; 32]);
    hkdf::Hkdf::<Sha256>::new(None, key.expose())
        .expand(INFO, record_key.as_mut_slice())
        .expect("32 bytes are far below HKDF's limit");
    let mut mac = Hmac::<Sha256>::new_from_slice(record_key.as_slice()).expect("HMAC takes a key of any length");
    for part in [domain, name] {
        mac.update(&(part.len() as u32).to_le_bytes());
        mac.update(part.as_bytes());
    }
    mac.update(record);
    mac.finalize().into_bytes().into()
}

/// Returns whether `tag` is the record's MAC, in constant time.
#[must_use]
pub fn record_mac_matches(key: &EpochKey, domain: &str, name: &str, record: &[u8], tag: &[u8]) -> bool {
    record_mac(key, domain, name, record).ct_eq(tag).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_name_and_record_all_count() {
        let key = EpochKey::from_bytes([7; 32]);
        let tag = record_mac(&key, "summary", "a", b"text");
        assert!(record_mac_matches(&key, "summary", "a", b"text", &tag));
        assert!(!record_mac_matches(&key, "summar", "ya", b"text", &tag));
        assert!(!record_mac_matches(&key, "summary", "b", b"text", &tag));
        assert!(!record_mac_matches(&key, "summary", "a", b"texts", &tag));
        assert!(!record_mac_matches(&EpochKey::from_bytes([8; 32]), "summary", "a", b"text", &tag));
        assert!(!record_mac_matches(&key, "summary", "a", b"text", &tag[..31]));
    }
}
