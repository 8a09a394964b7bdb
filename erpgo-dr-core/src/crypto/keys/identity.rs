//! The private keys that open slots.

use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{Recipient, age_file, blocking};
use crate::crypto::CryptoError;

const SSH_KEYS: [&[u8]; 2] = [b"-----BEGIN OPENSSH PRIVATE KEY-----", b"-----BEGIN RSA PRIVATE KEY-----"];
const AGE_FILES: [&[u8]; 2] = [b"-----BEGIN AGE ENCRYPTED FILE-----", b"age-encryption.org/"];

/// The bytes of an identity file, not yet read. Zeroized on drop.
#[derive(Clone)]
pub struct IdentityText(Zeroizing<Vec<u8>>);

impl From<Vec<u8>> for IdentityText {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<SecretString> for IdentityText {
    fn from(text: SecretString) -> Self {
        text.expose_secret().as_bytes().to_vec().into()
    }
}

impl fmt::Debug for IdentityText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityText(redacted)")
    }
}

type AgeIdentity = Arc<dyn age::Identity + Send + Sync>;

/// Private keys, ready to open slots. Cloning shares them.
#[derive(Clone)]
pub struct Identities(Vec<AgeIdentity>);

impl Identities {
    /// Reads an identity file: `AGE-SECRET-KEY-1...` lines, one private key of SSH, or an age file with
    /// such lines that is encrypted with a passphrase. `passphrase` is for the last, and for SSH keys
    /// that have one.
    ///
    /// # Errors
    /// [`CryptoError::IdentityInvalid`], [`CryptoError::IdentityNeedsPassphrase`],
    /// [`CryptoError::WrongPassphrase`], [`CryptoError::WorkFactorTooHigh`].
    pub async fn parse(file: IdentityText, passphrase: Option<SecretString>) -> Result<Self, CryptoError> {
        // scrypt and bcrypt take up to seconds.
        blocking(move || read(&file.0, passphrase)).await.map(Self)
    }

    /// Adds the identities of another file: any of them may open a slot.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    pub(super) fn as_age(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| &**identity as &dyn age::Identity)
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({} redacted)", self.0.len())
    }
}

fn read(file: &[u8], passphrase: Option<SecretString>) -> Result<Vec<AgeIdentity>, CryptoError> {
    let start = file.trim_ascii_start();
    if SSH_KEYS.iter().any(|marker| start.starts_with(marker)) {
        return read_ssh(start, passphrase);
    }
    if AGE_FILES.iter().any(|marker| start.starts_with(marker)) {
        let passphrase = passphrase.ok_or(CryptoError::IdentityNeedsPassphrase)?;
        return match age_file::open_with_passphrase(start, passphrase) {
            Ok(text) => read_age(&text),
            Err(CryptoError::SlotCorrupt { .. }) => Err(invalid("the encrypted identity file is damaged")),
            Err(CryptoError::NoMatchingIdentity) => Err(invalid("it is encrypted, and not with a passphrase")),
            Err(other) => Err(other),
        };
    }
    read_age(file)
}

fn read_age(text: &[u8]) -> Result<Vec<AgeIdentity>, CryptoError> {
    let identities = age::IdentityFile::from_buffer(text)
        .ok()
        .and_then(|file| file.into_identities().ok())
        .ok_or(invalid("a line of it is neither AGE-SECRET-KEY-1... nor a comment"))?;
    if identities.is_empty() {
        return Err(invalid("there is no identity in it"));
    }
    Ok(identities.into_iter().map(AgeIdentity::from).collect())
}

fn read_ssh(text: &[u8], passphrase: Option<SecretString>) -> Result<Vec<AgeIdentity>, CryptoError> {
    use age::ssh::Identity;

    let identity = match Identity::from_buffer(text, None) {
        Ok(Identity::Encrypted(key)) => {
            let passphrase = passphrase.ok_or(CryptoError::IdentityNeedsPassphrase)?;
            Identity::from(key.decrypt(passphrase).map_err(|_| CryptoError::WrongPassphrase)?)
        }
        Ok(identity @ Identity::Unencrypted(_)) => identity,
        Ok(Identity::Unsupported(_)) => return Err(invalid("this type of SSH key cannot decrypt")),
        Err(_) => return Err(invalid("it is no private key of SSH that is known")),
    };
    Ok(vec![Arc::new(identity)])
}

fn invalid(reason: &'static str) -> CryptoError {
    CryptoError::IdentityInvalid { reason }
}

/// A new key pair of age's own kind.
#[derive(Debug)]
pub struct GeneratedIdentity {
    /// The text of an identity file with its one line, `AGE-SECRET-KEY-1...`.
    pub secret: SecretString,
    /// Its public key. Its text is `age1...`.
    pub recipient: Recipient,
}

/// Draws an X25519 identity from the operating system's generator.
pub fn generate_identity() -> GeneratedIdentity {
    let identity = age::x25519::Identity::generate();
    GeneratedIdentity { secret: identity.to_string(), recipient: Recipient::from_x25519(identity.to_public()) }
}
