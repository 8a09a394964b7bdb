//! Checks that a bundle is what was collected.

use futures::TryStreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::custody::{Custodian, CustodyAction, CustodyEntry, append, chain};
use super::manifest::{EvidenceItem, EvidenceManifest, stored};
use crate::crypto::PublicKey;
use crate::ops::{Error, ErrorKind, Result};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{EpochRole, Repository};
use crate::types::EvidenceId;

/// What a check of a bundle found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EvidenceVerdict {
    /// The bundle.
    pub id: EvidenceId,
    /// Items whose bytes are those that were collected.
    pub sound: u64,
    /// What is not as it was, in words.
    pub findings: Vec<String>,
    /// The chain of custody, as far as it holds; of plain files, none.
    pub custody: Vec<CustodyEntry>,
    /// Who could have signed it: what the signature was checked against.
    pub signed_by: String,
    /// The key that it was checked with, to be compared with the one that was printed when it was collected.
    pub public_key: Option<PublicKey>,
    /// Why the outcome could not be written into the chain of custody.
    pub unrecorded: Option<String>,
}

impl EvidenceVerdict {
    pub(super) fn of(id: &EvidenceId) -> Self {
        Self {
            id: id.clone(),
            sound: 0,
            findings: Vec::new(),
            custody: Vec::new(),
            signed_by: String::new(),
            public_key: None,
            unrecorded: None,
        }
    }

    /// Returns whether all is as it was collected.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Reads a bundle to its last byte, and compares it with its manifest, that with its signature, and the backups that belong to it with
/// the catalogue. The outcome is written into the chain of custody.
///
/// `public_key` is the key that was printed when it was collected. Without it, the signature is checked with the key of the epoch that the
/// manifest names: who had that epoch's key could have made the bundle later, and dated it back.
///
/// # Errors
/// [`RepositoryError::NoSuchEvidence`](crate::repository::RepositoryError::NoSuchEvidence); when the repository cannot be read or
/// written. That something was altered is a finding.
pub async fn verify_evidence(
    repository: &Repository,
    id: &EvidenceId,
    public_key: Option<PublicKey>,
    by: &Custodian,
    progress: &dyn Progress,
) -> Result<EvidenceVerdict> {
    let mut verdict = EvidenceVerdict::of(id);
    match stored(repository, id).await {
        Ok((text, report)) => {
            let manifest = report.manifest;
            let signer = repository.evidence_signer_of(&manifest.epoch)?.public();
            let key = public_key.unwrap_or(signer);
            verdict.signed_by = format!("the key {key} of the epoch {}", manifest.epoch);
            verdict.public_key = Some(key);
            if signer != manifest.public_key || key != signer {
                verdict.findings.push("it is signed by another key than that".to_owned());
            }
            let signature = hex::decode(&text.signature).unwrap_or_default();
            if !key.has_signed(text.manifest.as_bytes(), &signature) {
                verdict.findings.push("the signature is not one of the manifest".to_owned());
            }
            if had_ended(repository, &manifest).await? {
                verdict.findings.push(format!("the epoch {} had ended when it was collected", manifest.epoch));
            }
            if manifest.id != *id || manifest.repository != repository.settings().id {
                verdict.findings.push("the manifest is that of another bundle".to_owned());
            }
            check_items(repository, &manifest, &mut verdict, progress).await?;
            check_backups(repository, &manifest, &mut verdict).await?;
        }
        Err(error) => verdict.findings.push(finding("the manifest", error)?),
    }
    match chain(repository, id).await {
        Ok((custody, _)) => {
            if repository.custody_length(id).await? != custody.len() {
                verdict.findings.push("entries are missing from the chain of custody".to_owned());
            } else if custody.first().map(|entry| entry.action) != Some(CustodyAction::Collected) {
                verdict.findings.push("the chain of custody does not begin with the collection".to_owned());
            }
            verdict.custody = custody;
            let action = if verdict.is_sound() { CustodyAction::Verified } else { CustodyAction::FoundAltered };
            let note = (!verdict.is_sound()).then(|| verdict.findings.join("; "));
            match append(repository, id, by, action, note).await {
                Ok(entry) => verdict.custody.push(entry),
                // What was found is to be known also where nothing can be written.
                Err(error) => verdict.unrecorded = Some(crate::causes::chain(&error)),
            }
        }
        Err(error) => verdict.findings.push(finding("the chain of custody", error)?),
    }
    Ok(verdict)
}

/// Returns whether another epoch had begun when a bundle was collected: then the key that signs it may be known to others. Of the epochs
/// that hosts without a secret make for one run, none follows another.
async fn had_ended(repository: &Repository, manifest: &EvidenceManifest) -> Result<bool> {
    let epochs = repository.epochs().await?;
    let is_run = epochs.iter().any(|epoch| epoch.id == manifest.epoch && epoch.role == Some(EpochRole::Run));
    let mut later = epochs.iter().filter(|epoch| matches!(epoch.role, Some(EpochRole::Successor { .. })));
    Ok(!is_run && later.any(|epoch| epoch.id > manifest.epoch && epoch.id.time() <= manifest.began))
}

async fn check_items(
    repository: &Repository,
    manifest: &EvidenceManifest,
    verdict: &mut EvidenceVerdict,
    progress: &dyn Progress,
) -> Result<()> {
    for item in &manifest.items {
        let phase = PhaseGuard::start(progress, Phase::Evidence, &item.name, Some(item.bytes));
        match check_item(repository, &manifest.id, item, &phase).await {
            Ok(None) => verdict.sound += 1,
            Ok(Some(wrong)) => verdict.findings.push(wrong),
            Err(error) => verdict.findings.push(finding(&item.name, error)?),
        }
        phase.finish();
    }
    Ok(())
}

async fn check_item(
    repository: &Repository,
    id: &EvidenceId,
    item: &EvidenceItem,
    phase: &PhaseGuard<'_>,
) -> Result<Option<String>> {
    let mut pieces = repository.evidence_item(id, item.number).await?;
    let (mut sum, mut bytes) = (Sha256::new(), 0);
    while let Some(piece) = pieces.try_next().await? {
        sum.update(&piece);
        bytes += piece.len() as u64;
        phase.advance(piece.len() as u64);
    }
    let same = bytes == item.bytes && hex::encode(sum.finalize()) == item.sha256;
    Ok((!same).then(|| format!("{}: its bytes are not those that were collected", item.name)))
}

async fn check_backups(
    repository: &Repository,
    manifest: &EvidenceManifest,
    verdict: &mut EvidenceVerdict,
) -> Result<()> {
    if manifest.backups.is_empty() {
        return Ok(());
    }
    let catalogue = repository.catalogue().await?;
    for backup in &manifest.backups {
        match catalogue.find(&backup.id) {
            None => verdict.findings.push(format!("the backup {} is gone", backup.id)),
            Some(entry) if entry.summary.manifest.hash != backup.manifest => {
                verdict.findings.push(format!("the backup {} is another one than it was", backup.id));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Turns what was found altered into words; anything else is an error of the check.
fn finding(what: &str, error: Error) -> Result<String> {
    match error.kind() {
        ErrorKind::Integrity | ErrorKind::NotFound
            if !matches!(error, Error::Repository(crate::repository::RepositoryError::NoSuchEvidence(_))) =>
        {
            Ok(format!("{what}: {}", crate::causes::chain(&error)))
        }
        _ => Err(error),
    }
}
