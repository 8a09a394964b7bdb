//! Signatures that who has no key of the repository can check (Ed25519, RFC 8032).

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey as Ed25519Key, VerifyingKey};
use hkdf::Hkdf;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::EpochKey;

const INFO: &[u8] = b"erpgo-dr/v1/evidence-signing";

/// Signs for whoever holds an epoch's key. The key is derived from it (HKDF-SHA-256), and kept nowhere.
pub struct SigningKey(Ed25519Key);

/// What a signature is checked with: 32 bytes, as text 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Text that is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a public key: it has 64 hexadecimal digits, of a point of the curve")]
pub struct PublicKeyError;

impl SigningKey {
    /// Derives the key that signs for an epoch.
    pub fn of_epoch(epoch: &EpochKey) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, epoch.expose())
            .expand(INFO, &mut *seed)
            .expect("HKDF-SHA-256 gives up to 8160 bytes");
        Self(Ed25519Key::from_bytes(&seed))
    }

    /// Signs a message, and returns the signature's 64 bytes.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// Returns what its signatures are checked with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}

impl PublicKey {
    /// Returns whether a signature is one of this key over a message. Weak keys and malleable signatures are refused.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }

    /// Returns the key as a PEM file of the form that `openssl pkeyutl` reads (RFC 8410).
    pub fn to_pem(&self) -> String {
        // SubjectPublicKeyInfo of id-Ed25519, all of which but the key is the same for every key.
        let mut der = hex::decode("302a300506032b6570032100").expect("a literal");
        der.extend_from_slice(self.0.as_bytes());
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", data_encoding::BASE64.encode(&der))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0.as_bytes()))
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let bytes = hex::decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok()).map(Self).ok_or(PublicKeyError)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_known_again_and_nothing_else_is() {
        let key = SigningKey::of_epoch(&EpochKey::from_bytes([7; 32]));
        let (message, public) = (b"the manifest", key.public());
        let mut signature = key.sign(message);
        assert!(public.has_signed(message, &signature));
        assert!(!public.has_signed(b"the manifesT", &signature));
        assert!(!SigningKey::of_epoch(&EpochKey::from_bytes([8; 32])).public().has_signed(message, &signature));
        assert!(!public.has_signed(message, &signature[..63]));
        signature[10] ^= 1;
        assert!(!public.has_signed(message, &signature));
        assert_eq!(public.to_string().parse(), Ok(public));
        assert!("00".parse::<PublicKey>().is_err());
    }

    /// RFC 8032, 7.1, test 1: the library underneath signs as the standard says.
    #[test]
    fn the_published_vector_holds() {
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SigningKey(Ed25519Key::from_bytes(&seed.try_into().unwrap()));
        assert_eq!(key.public().to_string(), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(
            hex::encode(key.sign(b"")),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
    }
}
