//! Keys: what opens a repository's slots, and keys for files of the user's own.

use std::sync::Arc;

use chrono::Utc;
use erpgo_dr_core::container::{KeySource, SealingKey};
use erpgo_dr_core::crypto::EpochKey;
use erpgo_dr_core::crypto::keys::{
    ExternalCommand, Identities, IdentityText, Recipient, SlotName, Unlocker, Wrapper, generate_identity as generate,
};
use erpgo_dr_core::repository::Cleanups;
use erpgo_dr_core::types::EpochId;
use pyo3::prelude::*;
use pyo3::types::PyString;
use secrecy::{ExposeSecret as _, SecretString};

use crate::arguments::parsed;
use crate::errors::{Failure, checked, invalid};
use crate::operation::Operation;
use crate::report::Outcome;

/// Makes wrappers of what was given, each with the name of its kind: `passphrase`, `recipients`, `command`.
pub(crate) fn wrappers(
    py: Python<'_>,
    passphrase: Option<String>,
    recipients: Option<Vec<String>>,
    command: Option<Vec<String>>,
    work_factor: Option<u8>,
) -> PyResult<Vec<(SlotName, Wrapper)>> {
    let mut slots = Vec::new();
    if let Some(passphrase) = passphrase {
        let passphrase = SecretString::from(passphrase);
        let wrapper = match work_factor {
            Some(work_factor) => Wrapper::Passphrase { passphrase, work_factor },
            None => Wrapper::passphrase(passphrase),
        };
        slots.push((parsed(py, "passphrase")?, wrapper));
    }
    if let Some(recipients) = recipients.filter(|recipients| !recipients.is_empty()) {
        let recipients = recipients.iter().map(|text| checked(py, text.parse::<Recipient>()));
        slots.push((parsed(py, "recipients")?, Wrapper::Recipients(recipients.collect::<PyResult<_>>()?)));
    }
    if let Some(command) = command {
        slots.push((parsed(py, "command")?, Wrapper::Command(external(py, command)?)));
    }
    Ok(slots)
}

/// As [`wrappers`], where exactly one is wanted.
pub(crate) fn wrapper(
    py: Python<'_>,
    passphrase: Option<String>,
    recipients: Option<Vec<String>>,
    command: Option<Vec<String>>,
    work_factor: Option<u8>,
) -> PyResult<Wrapper> {
    let mut slots = wrappers(py, passphrase, recipients, command, work_factor)?;
    match (slots.pop(), slots.is_empty()) {
        (Some((_, wrapper)), true) => Ok(wrapper),
        _ => Err(invalid(py, &"give one of passphrase, recipients and command")),
    }
}

/// What was given to open slots with, not yet read.
pub(crate) enum Opener {
    Unlocker(Unlocker),
    Identity(IdentityText, Option<SecretString>),
}

impl Opener {
    /// Reads identities, which may take a second, off the calling thread.
    pub(crate) async fn read(self) -> Result<Unlocker, Failure> {
        match self {
            Self::Unlocker(unlocker) => Ok(unlocker),
            Self::Identity(text, passphrase) => Ok(Unlocker::Identities(Identities::parse(text, passphrase).await?)),
        }
    }
}

/// Takes everything that was given to open slots with.
pub(crate) fn openers(
    py: Python<'_>,
    passphrase: Option<String>,
    identity: Option<Bound<'_, PyAny>>,
    identity_passphrase: Option<String>,
    command: Option<Vec<String>>,
) -> PyResult<Vec<Opener>> {
    let mut openers = Vec::new();
    if let Some(passphrase) = passphrase {
        openers.push(Opener::Unlocker(Unlocker::Passphrase(SecretString::from(passphrase))));
    }
    if let Some(identity) = identity {
        let text: Vec<u8> = match identity.cast::<PyString>() {
            Ok(text) => text.to_cow()?.as_bytes().to_vec(),
            Err(_) => identity.extract()?,
        };
        openers.push(Opener::Identity(text.into(), identity_passphrase.map(SecretString::from)));
    }
    if let Some(command) = command {
        openers.push(Opener::Unlocker(Unlocker::Command(external(py, command)?)));
    }
    Ok(openers)
}

fn external(py: Python<'_>, command: Vec<String>) -> PyResult<ExternalCommand> {
    let mut words = command.into_iter();
    let program = words.next().ok_or_else(|| invalid(py, &"command is empty"))?;
    Ok(ExternalCommand::new(program, words))
}

/// A new key pair of age's own kind.
#[pyclass(frozen, module = "erpgo_dr")]
pub struct GeneratedIdentity {
    secret: SecretString,
    recipient: String,
}

#[pymethods]
impl GeneratedIdentity {
    /// The private key: the text of an identity file, `AGE-SECRET-KEY-1...`.
    #[getter]
    fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    /// The public key, `age1...`.
    #[getter]
    fn recipient(&self) -> &str {
        &self.recipient
    }

    fn __repr__(&self) -> String {
        format!("<GeneratedIdentity of {}>", self.recipient)
    }
}

/// Draws a new key pair from the operating system's generator.
#[pyfunction]
pub fn generate_identity() -> GeneratedIdentity {
    let generated = generate();
    GeneratedIdentity { secret: generated.secret, recipient: generated.recipient.to_string() }
}

/// A key for files, and the name that files carry of it. The key itself is never shown.
///
/// Keep it wrapped: `wrap_key` gives an age file (or what a command made of it), and `unwrap_key` takes it back.
#[pyclass(frozen, module = "erpgo_dr")]
#[derive(Debug, Clone)]
pub struct FileKey {
    epoch: EpochId,
    key: Arc<EpochKey>,
}

impl FileKey {
    /// Lends the key for sealing.
    pub(crate) fn sealing_key(&self) -> SealingKey {
        SealingKey { epoch: self.epoch.clone(), key: Arc::clone(&self.key) }
    }
}

impl KeySource for FileKey {
    fn epoch_key(&self, epoch: &EpochId) -> Option<Arc<EpochKey>> {
        (*epoch == self.epoch).then(|| Arc::clone(&self.key))
    }
}

#[pymethods]
impl FileKey {
    /// Draws a new key from the operating system's generator.
    #[staticmethod]
    fn generate() -> Self {
        Self { epoch: EpochId::generate(Utc::now()), key: Arc::new(EpochKey::generate()) }
    }

    /// The name by which files tell which key they are sealed with. It is no secret.
    #[getter]
    fn id(&self) -> &str {
        self.epoch.as_str()
    }

    fn __repr__(&self) -> String {
        format!("<FileKey {}>", self.epoch)
    }
}

/// Wraps a key for a passphrase, for recipients or by a command, and returns the bytes to keep.
#[pyfunction]
#[pyo3(signature = (key, *, passphrase = None, recipients = None, command = None, work_factor = None))]
pub fn wrap_key(
    py: Python<'_>,
    key: Bound<'_, FileKey>,
    passphrase: Option<String>,
    recipients: Option<Vec<String>>,
    command: Option<Vec<String>>,
    work_factor: Option<u8>,
) -> PyResult<Operation> {
    let wrapper = wrapper(py, passphrase, recipients, command, work_factor)?;
    let key = key.get().clone();
    Ok(Operation::new(None, Cleanups::default(), |_| async move {
        Ok(Outcome::Bytes(wrapper.wrap(&key.epoch, &key.key).await?))
    }))
}

/// Takes a key back from what `wrap_key` made; `id` is the key's name.
#[pyfunction]
#[pyo3(signature = (id, wrapped, *, passphrase = None, identity = None, identity_passphrase = None, command = None))]
pub fn unwrap_key(
    py: Python<'_>,
    id: &str,
    wrapped: Vec<u8>,
    passphrase: Option<String>,
    identity: Option<Bound<'_, PyAny>>,
    identity_passphrase: Option<String>,
    command: Option<Vec<String>>,
) -> PyResult<Operation> {
    let epoch: EpochId = parsed(py, id)?;
    let mut openers = openers(py, passphrase, identity, identity_passphrase, command)?;
    let (Some(opener), true) = (openers.pop(), openers.is_empty()) else {
        return Err(invalid(py, &"give one of passphrase, identity and command"));
    };
    Ok(Operation::new(None, Cleanups::default(), |_| async move {
        let key = Arc::new(opener.read().await?.unwrap(&epoch, &wrapped).await?);
        Ok(Outcome::FileKey(FileKey { epoch, key }))
    }))
}
