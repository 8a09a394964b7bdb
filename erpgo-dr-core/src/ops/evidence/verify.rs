//! Checks that a bundle is what was collected.

use futures::TryStreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::custody::{Custodian, CustodyAction, CustodyEntry, append, chain};
use super::manifest::{EvidenceItem, EvidenceManifest, stored};
use crate::ops::{Error, ErrorKind, Result};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::Repository;
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
}

impl EvidenceVerdict {
    /// Returns whether all is as it was collected.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Reads a bundle to its last byte, and compares it with its manifest, that with its signature, and the backups that belong to it with
/// the catalogue. The outcome is written into the chain of custody.
///
/// # Errors
/// [`RepositoryError::NoSuchEvidence`](crate::repository::RepositoryError::NoSuchEvidence); when the repository cannot be read or
/// written. That something was altered is a finding.
pub async fn verify_evidence(
    repository: &Repository,
    id: &EvidenceId,
    by: &Custodian,
    progress: &dyn Progress,
) -> Result<EvidenceVerdict> {
    let mut verdict = EvidenceVerdict {
        id: id.clone(),
        sound: 0,
        findings: Vec::new(),
        custody: Vec::new(),
        signed_by: String::new(),
    };
    match stored(repository, id).await {
        Ok((text, report)) => {
            let manifest = report.manifest;
            verdict.signed_by = format!("the epoch {}", manifest.epoch);
            let signer = repository.evidence_signer_of(&manifest.epoch)?.public();
            if signer != manifest.public_key {
                verdict.findings.push("the manifest names another key than that of its epoch".to_owned());
            }
            let signature = hex::decode(&text.signature).unwrap_or_default();
            if !signer.has_signed(text.manifest.as_bytes(), &signature) {
                verdict.findings.push("the signature is not one of the manifest".to_owned());
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
            verdict.custody.push(append(repository, id, by, action, note).await?);
        }
        Err(error) => verdict.findings.push(finding("the chain of custody", error)?),
    }
    Ok(verdict)
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
