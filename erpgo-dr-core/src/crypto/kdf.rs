//! Derives the keys of one object from the key of its epoch (HKDF-SHA-256, RFC 5869).

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{EpochKey, ObjectBinding};

const INFO: &[u8] = b"erpgo-dr/v1/object-keys";
const KEY: usize = 32;

/// The four keys of an object. Zeroized on drop.
pub(super) struct ObjectKeys {
    okm: Zeroizing<[u8; 4 * KEY]>,
}

impl ObjectKeys {
    /// Derives the keys that `object` has under `epoch`: input key `epoch`, salt the object's, info
    /// [`INFO`] and the object's context.
    pub(super) fn derive(epoch: &EpochKey, object: &ObjectBinding) -> Self {
        let mut okm = Zeroizing::new([0; 4 * KEY]);
        Hkdf::<Sha256>::new(Some(&object.salt), epoch.expose())
            .expand_multi_info(&[INFO, &object.context], &mut *okm)
            .expect("HKDF-SHA-256 gives up to 8160 bytes");
        Self { okm }
    }

    /// Lends the key of the block cipher.
    pub(super) fn cipher(&self) -> &[u8; KEY] {
        self.part(0)
    }

    /// Lends the key of the segments' MACs.
    pub(super) fn mac(&self) -> &[u8; KEY] {
        self.part(1)
    }

    /// Lends the key under which a segment's number becomes its IV.
    pub(super) fn iv(&self) -> &[u8; KEY] {
        self.part(2)
    }

    /// Lends the key of the MACs over an object's metadata.
    pub(super) fn metadata(&self) -> &[u8; KEY] {
        self.part(3)
    }

    fn part(&self, index: usize) -> &[u8; KEY] {
        let (keys, _) = self.okm.as_chunks();
        &keys[index]
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};

    use super::*;

    /// RFC 5869 written out, to check the arguments' order and the cut into keys.
    #[test]
    fn the_keys_are_those_of_rfc_5869_in_the_documented_order() {
        let epoch = EpochKey::from_bytes([7; 32]);
        let object = ObjectBinding { salt: [8; 32], context: [9; 32] };
        let hmac = |key: &[u8], parts: &[&[u8]]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().to_vec()
        };
        let prk = hmac(&object.salt, &[epoch.expose()]);
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for counter in 1..=4 {
            let previous = expected.last().cloned().unwrap_or_default();
            expected.push(hmac(&prk, &[&previous, b"erpgo-dr/v1/object-keys", &object.context, &[counter]]));
        }
        let keys = ObjectKeys::derive(&epoch, &object);
        assert_eq!([keys.cipher(), keys.mac(), keys.iv(), keys.metadata()].map(Vec::from).as_slice(), expected);
    }

    /// RFC 5869, appendix A.1.
    #[test]
    fn the_hkdf_underneath_passes_the_published_vector() {
        let mut okm = [0; 42];
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        Hkdf::<Sha256>::new(Some(&salt), &[0x0b; 22]).expand_multi_info(&[&info[..3], &info[3..]], &mut okm).unwrap();
        assert_eq!(
            hex::encode(okm),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
    }
}
