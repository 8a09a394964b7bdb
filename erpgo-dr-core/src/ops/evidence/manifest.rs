//! What a bundle holds, and how that is signed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Custodian;
use crate::crypto::{PublicKey, SigningKey};
use crate::ops::{Error, ErrorKind, Result};
use crate::repository::{Repository, RepositoryError};
use crate::types::{BackupId, ContentHash, EpochId, EvidenceId, RepositoryId};

/// The version of the manifest's form.
pub const EVIDENCE_FORMAT: u32 = 1;

/// What a bundle of evidence holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EvidenceManifest {
    /// The version of this form: 1.
    pub format: u32,
    /// The bundle.
    pub id: EvidenceId,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The repository that it lies in.
    pub repository: RepositoryId,
    /// Who collected it, and where.
    pub by: Custodian,
    /// When the collection began.
    pub began: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// The server that it was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<EvidenceServer>,
    /// What was collected.
    pub items: Vec<EvidenceItem>,
    /// Backups that belong to it.
    pub backups: Vec<EvidenceBackup>,
    /// The epoch whose key signs it.
    pub epoch: EpochId,
    /// What the signature is checked with.
    pub public_key: PublicKey,
}

/// A server that evidence was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EvidenceServer {
    /// How it was reached, without password.
    pub address: String,
    /// Why it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
}

/// An item of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EvidenceItem {
    /// Its number, counted from 1.
    pub number: u32,
    /// Its name as a file.
    pub name: String,
    /// What it is, for people.
    pub what: String,
    /// When its reading began.
    pub began: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes that are stored.
    pub stored_bytes: u64,
    /// The SHA-256 sum of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// Why it is not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A backup that belongs to a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EvidenceBackup {
    /// The backup.
    pub id: BackupId,
    /// When it began.
    pub created: DateTime<Utc>,
    /// The hash of its manifest, which names and hashes all that it is made of.
    pub manifest: ContentHash,
}

/// A bundle, and the signature of its manifest.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EvidenceReport {
    /// What the bundle holds.
    #[serde(flatten)]
    pub manifest: EvidenceManifest,
    /// The Ed25519 signature of the manifest's text, in hexadecimal digits.
    pub signature: String,
}

impl EvidenceReport {
    /// Returns whether every item is whole.
    pub fn is_complete(&self) -> bool {
        self.manifest.items.iter().all(|item| item.error.is_none())
    }
}

/// A manifest as it is stored: its exact text, which is what is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SignedText {
    pub(super) manifest: String,
    pub(super) signature: String,
}

/// Signs a manifest, and returns what is stored of it.
pub(super) fn sealed(manifest: EvidenceManifest, signer: &SigningKey) -> (Vec<u8>, EvidenceReport) {
    let text = serde_json::to_string_pretty(&manifest).expect("a manifest is plain JSON");
    let signature = hex::encode(signer.sign(text.as_bytes()));
    let stored = SignedText { manifest: text, signature: signature.clone() };
    let document = serde_json::to_vec(&stored).expect("two texts are plain JSON");
    (document, EvidenceReport { manifest, signature })
}

/// Reads the manifest of a bundle.
///
/// # Errors
/// [`RepositoryError::NoSuchEvidence`]; [`RepositoryError::Damaged`], or of its container, where it was altered. Its signature is
/// checked by [`verify_evidence`](super::verify_evidence) alone.
pub async fn evidence(repository: &Repository, id: &EvidenceId) -> Result<EvidenceReport> {
    let (_, report) = stored(repository, id).await?;
    Ok(report)
}

/// The bundles of a repository.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EvidenceListing {
    /// Those that can be read, the oldest first.
    pub evidence: Vec<EvidenceReport>,
    /// Those that cannot, and why.
    pub unreadable: Vec<UnreadableEvidence>,
}

/// A bundle whose manifest cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnreadableEvidence {
    /// The bundle.
    pub id: EvidenceId,
    /// Why: it was altered, or its epoch is locked.
    pub reason: String,
}

/// Lists the bundles that were collected to their end.
///
/// # Errors
/// When the repository cannot be read. That a bundle was altered is in the listing.
pub async fn list_evidence(repository: &Repository) -> Result<EvidenceListing> {
    let mut listing = EvidenceListing::default();
    for id in repository.evidence_ids().await? {
        match evidence(repository, &id).await {
            Ok(report) => listing.evidence.push(report),
            // Cut off before its manifest: it is no bundle.
            Err(Error::Repository(RepositoryError::NoSuchEvidence(_))) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Integrity | ErrorKind::Locked) => {
                listing.unreadable.push(UnreadableEvidence { id, reason: crate::causes::chain(&error) });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(listing)
}

/// Reads a manifest and its text.
pub(super) async fn stored(repository: &Repository, id: &EvidenceId) -> Result<(SignedText, EvidenceReport)> {
    let bytes = repository.evidence(id).await?.ok_or_else(|| RepositoryError::NoSuchEvidence(id.clone()))?;
    let damaged = |error: serde_json::Error| RepositoryError::Damaged {
        record: format!("the manifest of the evidence {id}"),
        reason: error.to_string(),
    };
    let text: SignedText = serde_json::from_slice(&bytes).map_err(damaged)?;
    let manifest: EvidenceManifest = serde_json::from_str(&text.manifest).map_err(damaged)?;
    if manifest.format > EVIDENCE_FORMAT {
        return Err(RepositoryError::UnsupportedFormat { format: manifest.format }.into());
    }
    let signature = text.signature.clone();
    Ok((text, EvidenceReport { manifest, signature }))
}
