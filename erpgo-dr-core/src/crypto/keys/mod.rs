//! Wraps epoch keys for those who may open a repository, and unwraps them again.
//!
//! A slot is one wrapped copy of one epoch's key: an armored age file that the `age` and `rage` programs
//! open by hand, or what an external command (a KMS) made of it. Everything here is a function from bytes
//! to bytes; where slots are kept is the repository's affair. What is wrapped names its epoch, so that a
//! slot that was moved to another epoch is found out.
//!
//! ```
//! use erpgo_dr_core::crypto::EpochKey;
//! use erpgo_dr_core::crypto::keys::{Identities, Unlocker, Wrapper, generate_identity};
//! use erpgo_dr_core::types::EpochId;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let operator = generate_identity();
//! let epoch = EpochId::generate(chrono::Utc::now());
//! let key = EpochKey::generate();
//!
//! let slot = Wrapper::Recipients(vec![operator.recipient]).wrap(&epoch, &key).await?;
//!
//! let identities = Identities::parse(operator.secret.into(), None).await?;
//! let opened = Unlocker::Identities(identities).unwrap(&epoch, &slot).await?;
//! assert_eq!(opened.expose(), key.expose());
//! # Ok(())
//! # }
//! ```

mod age_file;
mod command;
mod identity;
mod payload;
mod recipient;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};

use super::{CryptoError, EpochKey};
use crate::types::EpochId;

pub use age_file::{MAX_WORK_FACTOR, WORK_FACTOR, slot_kind};
pub use command::ExternalCommand;
pub use identity::{GeneratedIdentity, Identities, IdentityText, generate_identity};
pub use payload::parse_payload;
pub use recipient::Recipient;

/// The largest slot that is read or written, in bytes. A slot for a single recipient has about 600.
pub const MAX_SLOT_LEN: usize = 256 << 10;

/// The name of a slot within its epoch: 1 to 64 characters of `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotName(String);

impl SlotName {
    /// Returns the text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SlotName {
    type Err = CryptoError;

    fn from_str(text: &str) -> Result<Self, CryptoError> {
        let valid = |b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(valid) {
            return Ok(Self(text.to_owned()));
        }
        Err(CryptoError::SlotName(text.chars().take(80).collect()))
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How a slot is wrapped, and so what opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SlotKind {
    /// An age file that a passphrase opens.
    Passphrase,
    /// An age file that the identity of any of its recipients opens.
    Recipient,
    /// Opened by an external command.
    Command,
}

impl SlotKind {
    /// Returns the extension of such a slot's file: `age`, or `ext` for what only a command can read.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Passphrase | Self::Recipient => "age",
            Self::Command => "ext",
        }
    }
}

impl fmt::Display for SlotKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passphrase => "passphrase",
            Self::Recipient => "recipient",
            Self::Command => "command",
        })
    }
}

/// What an epoch key is wrapped with. One wrapper makes one slot.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Wrapper {
    /// A passphrase, stretched by scrypt.
    Passphrase {
        /// The passphrase. It may not be empty.
        passphrase: SecretString,
        /// Base-2 logarithm of scrypt's work and memory, 1 to [`MAX_WORK_FACTOR`]: 18 takes 256 MiB.
        work_factor: u8,
    },
    /// Public keys. The identity of any of them opens the slot.
    Recipients(Vec<Recipient>),
    /// A command that turns what it reads into what only its counterpart can open.
    Command(ExternalCommand),
}

impl Wrapper {
    /// Creates a wrapper for `passphrase` with the usual [`WORK_FACTOR`].
    pub fn passphrase(passphrase: SecretString) -> Self {
        Self::Passphrase { passphrase, work_factor: WORK_FACTOR }
    }

    /// Returns the kind of the slots it makes.
    pub fn kind(&self) -> SlotKind {
        match self {
            Self::Passphrase { .. } => SlotKind::Passphrase,
            Self::Recipients(_) => SlotKind::Recipient,
            Self::Command(_) => SlotKind::Command,
        }
    }

    /// Returns the bytes of a slot with the key of `epoch`. scrypt runs off the async threads.
    ///
    /// # Errors
    /// [`CryptoError::NoRecipients`], [`CryptoError::WrapFailed`], [`CryptoError::WorkFactorTooHigh`]; for a
    /// command [`CryptoError::CommandNotRun`], [`CryptoError::CommandFailed`],
    /// [`CryptoError::CommandTimedOut`], [`CryptoError::CommandOutput`].
    pub async fn wrap(&self, epoch: &EpochId, key: &EpochKey) -> Result<Vec<u8>, CryptoError> {
        let payload = payload::encode(epoch, key);
        match self {
            Self::Passphrase { passphrase, work_factor } => {
                let (passphrase, work_factor) = (passphrase.clone(), *work_factor);
                blocking(move || age_file::seal_for_passphrase(&payload, passphrase, work_factor)).await
            }
            Self::Recipients(recipients) => age_file::seal_for_recipients(&payload, recipients),
            Self::Command(command) => {
                let wrapped = command.run(&payload, MAX_SLOT_LEN).await?;
                command.check_wrapped(&wrapped, &payload)?;
                Ok(wrapped.to_vec())
            }
        }
    }
}

/// What opens slots.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Unlocker {
    /// The passphrase of a slot.
    Passphrase(SecretString),
    /// The private keys that belong to recipients.
    Identities(Identities),
    /// A command that turns a slot back into what was wrapped.
    Command(ExternalCommand),
}

impl Unlocker {
    /// Returns the key of `epoch` from the bytes of one of its slots. scrypt runs off the async threads.
    ///
    /// # Errors
    /// [`CryptoError::WrongPassphrase`], [`CryptoError::NoMatchingIdentity`]: try another slot or key.
    /// [`CryptoError::SlotCorrupt`], [`CryptoError::WrongSlot`], [`CryptoError::WorkFactorTooHigh`]: the file
    /// is not what was written; for a command also those of [`Wrapper::wrap`].
    pub async fn unwrap(&self, epoch: &EpochId, slot: &[u8]) -> Result<EpochKey, CryptoError> {
        if slot.len() > MAX_SLOT_LEN {
            return Err(CryptoError::SlotCorrupt { reason: "it is too long" });
        }
        let payload = match self {
            Self::Passphrase(passphrase) => {
                let (passphrase, slot) = (passphrase.clone(), slot.to_vec());
                blocking(move || age_file::open_with_passphrase(&slot, passphrase)).await?
            }
            Self::Identities(identities) => {
                let (identities, slot) = (identities.clone(), slot.to_vec());
                blocking(move || age_file::open_with_identities(&slot, &identities)).await?
            }
            Self::Command(command) => command.run(slot, payload::MAX_LEN).await?,
        };
        let (found, key) = parse_payload(&payload)?;
        if found != *epoch {
            return Err(CryptoError::WrongSlot { expected: epoch.clone(), found });
        }
        Ok(key)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

fn is_empty(secret: &SecretString) -> bool {
    secret.expose_secret().is_empty()
}
