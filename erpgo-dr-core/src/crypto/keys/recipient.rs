//! The public keys for whom a slot is wrapped.

use std::fmt;
use std::str::FromStr;

use age::ssh::ParseRecipientKeyError;

use crate::crypto::CryptoError;

/// A public key: age's own (`age1...`), or one of SSH (`ssh-ed25519 ...`, `ssh-rsa ...` of 2048 to 4096 bits).
#[derive(Debug, Clone)]
pub struct Recipient(Key);

#[derive(Debug, Clone)]
enum Key {
    X25519(age::x25519::Recipient),
    Ssh(Box<age::ssh::Recipient>),
}

impl Recipient {
    /// Reads a recipients file: one a line; empty lines and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// [`CryptoError::RecipientInvalid`] with the line; [`CryptoError::NoRecipients`].
    pub fn parse_list(text: &str) -> Result<Vec<Self>, CryptoError> {
        let entries = text.lines().map(str::trim).enumerate();
        let recipients = entries
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(index, line)| parse(line, index + 1))
            .collect::<Result<Vec<_>, _>>()?;
        if recipients.is_empty() { Err(CryptoError::NoRecipients) } else { Ok(recipients) }
    }

    pub(super) fn from_x25519(recipient: age::x25519::Recipient) -> Self {
        Self(Key::X25519(recipient))
    }

    pub(super) fn as_age(&self) -> &dyn age::Recipient {
        match &self.0 {
            Key::X25519(key) => key,
            Key::Ssh(key) => key.as_ref(),
        }
    }
}

fn parse(text: &str, line: usize) -> Result<Recipient, CryptoError> {
    let invalid = |reason| CryptoError::RecipientInvalid { line, reason };
    if text.starts_with("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY") {
        return Err(invalid("it is a private key, not a public one"));
    }
    if text.starts_with("age1") {
        let key = text.parse().map_err(|_| invalid("it is no X25519 public key of age"))?;
        return Ok(Recipient::from_x25519(key));
    }
    // The parser of keys wants to see where the base64 ends: a key without a comment ends at a space too.
    match format!("{text} ").parse::<age::ssh::Recipient>() {
        Ok(key) => Ok(Recipient(Key::Ssh(Box::new(key)))),
        Err(ParseRecipientKeyError::RsaModulusTooSmall) => Err(invalid("the RSA key is shorter than 2048 bits")),
        Err(ParseRecipientKeyError::RsaModulusTooLarge) => Err(invalid("the RSA key is longer than 4096 bits")),
        Err(ParseRecipientKeyError::Unsupported(_)) => Err(invalid("this type of SSH key cannot encrypt")),
        Err(_) => Err(invalid("it is no public key that is known")),
    }
}

impl FromStr for Recipient {
    type Err = CryptoError;

    fn from_str(text: &str) -> Result<Self, CryptoError> {
        parse(text.trim(), 1)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Key::X25519(key) => write!(f, "{key}"),
            Key::Ssh(key) => write!(f, "{key}"),
        }
    }
}
