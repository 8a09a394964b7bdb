//! Slots as armored age files (<https://age-encryption.org/v1>).

use std::io::{Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{Identities, MAX_SLOT_LEN, Recipient, SlotKind, is_empty};
use crate::crypto::CryptoError;

/// The scrypt work factor (base-2 logarithm) of new passphrase slots: 256 MiB of memory, as `age -p` takes.
pub const WORK_FACTOR: u8 = 18;

/// The largest work factor that is accepted: 1 GiB. A slot is not authenticated before this work is done.
pub const MAX_WORK_FACTOR: u8 = 20;

/// Returns what opens an age file, from its header alone. Nothing in it is authenticated.
///
/// # Errors
/// [`CryptoError::SlotCorrupt`] when it is no age file.
pub fn slot_kind(slot: &[u8]) -> Result<SlotKind, CryptoError> {
    let passphrase = decryptor(slot)?.is_scrypt();
    Ok(if passphrase { SlotKind::Passphrase } else { SlotKind::Recipient })
}

pub(super) fn seal_for_passphrase(
    payload: &[u8],
    passphrase: SecretString,
    work_factor: u8,
) -> Result<Vec<u8>, CryptoError> {
    if is_empty(&passphrase) {
        return Err(CryptoError::WrapFailed { reason: "the passphrase is empty" });
    }
    if work_factor > MAX_WORK_FACTOR {
        return Err(CryptoError::WorkFactorTooHigh { required: work_factor, limit: MAX_WORK_FACTOR });
    }
    let mut recipient = age::scrypt::Recipient::new(passphrase);
    recipient.set_work_factor(work_factor.max(1));
    seal(payload, [&recipient as &dyn age::Recipient].into_iter())
}

pub(super) fn seal_for_recipients(payload: &[u8], recipients: &[Recipient]) -> Result<Vec<u8>, CryptoError> {
    if recipients.is_empty() {
        return Err(CryptoError::NoRecipients);
    }
    seal(payload, recipients.iter().map(Recipient::as_age))
}

fn seal<'a>(payload: &[u8], recipients: impl Iterator<Item = &'a dyn age::Recipient>) -> Result<Vec<u8>, CryptoError> {
    let failed = |reason| CryptoError::WrapFailed { reason };
    let encryptor = Encryptor::with_recipients(recipients).map_err(|_| failed("age refused the recipients"))?;
    let slot = (|| {
        let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(payload)?;
        writer.finish()?.finish()
    })()
    .map_err(|_: std::io::Error| failed("age could not write"))?;
    if slot.len() > MAX_SLOT_LEN { Err(failed("there are too many recipients")) } else { Ok(slot) }
}

pub(super) fn open_with_passphrase(slot: &[u8], passphrase: SecretString) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let decryptor = decryptor(slot)?;
    if !decryptor.is_scrypt() {
        return Err(CryptoError::NoMatchingIdentity);
    }
    let mut identity = age::scrypt::Identity::new(passphrase);
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    let opened = decryptor.decrypt([&identity as &dyn age::Identity].into_iter());
    read_all(opened.map_err(|failure| match failure {
        DecryptError::DecryptionFailed => CryptoError::WrongPassphrase,
        other => refused(&other),
    })?)
}

pub(super) fn open_with_identities(slot: &[u8], identities: &Identities) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let opened = decryptor(slot)?.decrypt(identities.as_age());
    read_all(opened.map_err(|failure| refused(&failure))?)
}

fn decryptor(slot: &[u8]) -> Result<Decryptor<ArmoredReader<std::io::BufReader<&[u8]>>>, CryptoError> {
    if slot.len() > MAX_SLOT_LEN {
        return Err(CryptoError::SlotCorrupt { reason: "it is too long" });
    }
    Decryptor::new(ArmoredReader::new(slot)).map_err(|failure| refused(&failure))
}

fn read_all(mut reader: impl Read) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    // Reserved once, so that no copy of the secret is left behind by growth.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(MAX_SLOT_LEN));
    match reader.read_to_end(&mut plaintext) {
        Ok(_) => Ok(plaintext),
        Err(_) => Err(CryptoError::SlotCorrupt { reason: "its payload is not authentic, or cut" }),
    }
}

fn refused(failure: &DecryptError) -> CryptoError {
    let reason = match failure {
        DecryptError::NoMatchingKeys => return CryptoError::NoMatchingIdentity,
        DecryptError::ExcessiveWork { required, .. } => {
            return CryptoError::WorkFactorTooHigh { required: *required, limit: MAX_WORK_FACTOR };
        }
        DecryptError::InvalidMac => "its header is not authentic",
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => "a recipient's part of it is damaged",
        DecryptError::UnknownFormat => "it has a format of age that is not known",
        _ => "it is no age file, or cut",
    };
    CryptoError::SlotCorrupt { reason }
}
