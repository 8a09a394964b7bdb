//! Bundles as plain files, for people who have no key of the repository.
//!
//! A folder holds the items, `manifest.json`, its signature `manifest.sig` (64 bytes), the key `public-key.pem` and `SHA256SUMS`. Whoever
//! has the key from elsewhere checks it without this software: `openssl pkeyutl -verify -pubin -inkey public-key.pem -rawin -in
//! manifest.json -sigfile manifest.sig`, and `sha256sum -c SHA256SUMS`.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use futures::TryStreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::fs::{DirBuilder, File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::custody::{Custodian, CustodyAction, append};
use super::manifest::{EVIDENCE_FORMAT, EvidenceManifest, stored};
use super::sources::safe;
use super::verify::EvidenceVerdict;
use crate::crypto::PublicKey;
use crate::ops::{Error, Result};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{Repository, RepositoryError};
use crate::types::EvidenceId;

const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.sig";
const KEY: &str = "public-key.pem";
const SUMS: &str = "SHA256SUMS";

/// The largest manifest that is read from a file, in bytes.
const MANIFEST_LIMIT: u64 = 64 << 20;

/// A bundle that was written as plain files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EvidenceExport {
    /// The bundle.
    pub id: EvidenceId,
    /// The folder.
    pub folder: PathBuf,
    /// How many items it has.
    pub items: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// The SHA-256 sum of the manifest, in hexadecimal digits.
    pub manifest_sha256: String,
    /// What the signature is checked with. Who gets the files should get this by another way.
    pub public_key: PublicKey,
}

/// Writes a bundle as plain files into a folder that is not there yet, and that into the chain of custody beforehand. Files have mode 0600.
///
/// Backups that belong to it stay where they are.
///
/// # Errors
/// [`RepositoryError::NoSuchEvidence`]; [`RepositoryError::Damaged`] when it is not what was collected, and then nothing was handed
/// out; [`Error::Io`], also when the folder is there.
pub async fn export_evidence(
    repository: &Repository,
    id: &EvidenceId,
    folder: &Path,
    by: &Custodian,
    progress: &dyn Progress,
) -> Result<EvidenceExport> {
    let (text, report) = stored(repository, id).await?;
    let manifest = report.manifest;
    check_names(&manifest)?;
    let manifest_sha256 = hex::encode(Sha256::digest(text.manifest.as_bytes()));
    let failed = |action: String| move |source| Error::Io { action, source };
    DirBuilder::new().mode(0o700).create(folder).await.map_err(failed(format!("make {}", folder.display())))?;
    let written = async {
        // First: what is handed out must not be so without a word of it.
        let note = format!("to {}, the manifest's SHA-256 is {manifest_sha256}", folder.display());
        append(repository, id, by, CustodyAction::Exported, Some(note)).await?;
        let mut sums = String::new();
        for item in &manifest.items {
            let phase = PhaseGuard::start(progress, Phase::Evidence, &item.name, Some(item.bytes));
            let path = folder.join(&item.name);
            let mut file = create(&path).await?;
            let mut sum = Sha256::new();
            let mut pieces = repository.evidence_item(id, item.number).await?;
            while let Some(piece) = pieces.try_next().await? {
                sum.update(&piece);
                file.write_all(&piece).await.map_err(failed(format!("write {}", path.display())))?;
                phase.advance(piece.len() as u64);
            }
            sync(file, &path).await?;
            if hex::encode(sum.finalize()) != item.sha256 {
                let reason = "its bytes are not those that were collected".to_owned();
                return Err(RepositoryError::Damaged { record: item.name.clone(), reason }.into());
            }
            sums.push_str(&format!("{}  {}\n", item.sha256, item.name));
            phase.finish();
        }
        sums.push_str(&format!("{manifest_sha256}  {MANIFEST}\n"));
        let signature = hex::decode(&text.signature).unwrap_or_default();
        let pem = manifest.public_key.to_pem();
        let files: [(&str, &[u8]); 4] = [
            (SUMS, sums.as_bytes()),
            (KEY, pem.as_bytes()),
            (SIGNATURE, &signature),
            // Last: without it, the folder is no bundle.
            (MANIFEST, text.manifest.as_bytes()),
        ];
        for (name, bytes) in files {
            let path = folder.join(name);
            let mut file = create(&path).await?;
            file.write_all(bytes).await.map_err(failed(format!("write {}", path.display())))?;
            sync(file, &path).await?;
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = written.await {
        // Plain evidence that nobody answers for does not lie about.
        let _ = tokio::fs::remove_dir_all(folder).await;
        let note = format!("nothing was left in {}: {}", folder.display(), crate::causes::chain(&error));
        let _ = append(repository, id, by, CustodyAction::Noted, Some(note)).await;
        return Err(error);
    }
    Ok(EvidenceExport {
        id: id.clone(),
        folder: folder.to_owned(),
        items: manifest.items.len() as u64,
        bytes: manifest.items.iter().map(|item| item.bytes).sum(),
        manifest_sha256,
        public_key: manifest.public_key,
    })
}

/// Checks a bundle that was handed out as plain files: every byte of it, and its signature by `public_key`. Without one, that which the
/// bundle names itself is taken, which proves only that it is of one piece.
///
/// # Errors
/// [`Error::Io`] when the folder or its manifest cannot be read. What was altered, is missing or was added is a finding.
pub async fn verify_exported_evidence(
    folder: &Path,
    public_key: Option<PublicKey>,
    progress: &dyn Progress,
) -> Result<EvidenceVerdict> {
    let path = folder.join(MANIFEST);
    let text = read_small(&path).await?;
    let manifest: EvidenceManifest = serde_json::from_slice(&text)
        .map_err(|error| RepositoryError::Damaged { record: path.display().to_string(), reason: error.to_string() })?;
    if manifest.format > EVIDENCE_FORMAT {
        return Err(RepositoryError::UnsupportedFormat { format: manifest.format }.into());
    }
    check_names(&manifest)?;
    let mut findings = Vec::new();
    let key = public_key.unwrap_or(manifest.public_key);
    let signature = read_small(&folder.join(SIGNATURE)).await;
    if !signature.as_ref().is_ok_and(|signature| key.has_signed(&text, signature)) {
        findings.push(format!("{SIGNATURE}: the signature is not one of the manifest by that key"));
    }
    let sums: String = manifest.items.iter().map(|item| format!("{}  {}\n", item.sha256, item.name)).collect();
    let sums = format!("{sums}{}  {MANIFEST}\n", hex::encode(Sha256::digest(&text)));
    for (name, expected) in [(SUMS, sums), (KEY, key.to_pem())] {
        if !read_small(&folder.join(name)).await.is_ok_and(|found| found == expected.as_bytes()) {
            findings.push(format!("{name}: it is not what belongs to the manifest"));
        }
    }
    let mut sound = 0;
    for item in &manifest.items {
        let phase = PhaseGuard::start(progress, Phase::Evidence, &item.name, Some(item.bytes));
        match sum_of(&folder.join(&item.name)).await {
            Ok(sum) if sum == item.sha256 => sound += 1,
            Ok(_) => findings.push(format!("{}: its bytes are not those that were collected", item.name)),
            Err(error) => findings.push(format!("{}: {error}", item.name)),
        }
        phase.finish();
    }
    findings.extend(added(folder, &manifest).await?.into_iter().map(|name| format!("{name}: it is not of the bundle")));
    let signed_by = match public_key {
        Some(key) => format!("the key {key}"),
        None => format!("the key {key}, which the bundle names itself"),
    };
    Ok(EvidenceVerdict { sound, findings, signed_by, public_key: Some(key), ..EvidenceVerdict::of(&manifest.id) })
}

/// Refuses names that are no plain names of files, or that two items share: they would lead out of the folder, or over each other.
fn check_names(manifest: &EvidenceManifest) -> Result<()> {
    let mut known: BTreeSet<&str> = [MANIFEST, SIGNATURE, KEY, SUMS].into();
    for item in &manifest.items {
        if item.name.is_empty() || safe(&item.name) != item.name || !known.insert(&item.name) {
            let (record, reason) = (item.name.clone(), "it is no name of an item".to_owned());
            return Err(RepositoryError::Damaged { record, reason }.into());
        }
    }
    Ok(())
}

/// Lists the files of a folder that no manifest names.
async fn added(folder: &Path, manifest: &EvidenceManifest) -> Result<Vec<String>> {
    let failed = |source| Error::Io { action: format!("list {}", folder.display()), source };
    let known: BTreeSet<&str> =
        manifest.items.iter().map(|item| item.name.as_str()).chain([MANIFEST, SIGNATURE, KEY, SUMS]).collect();
    let mut added = Vec::new();
    let mut entries = tokio::fs::read_dir(folder).await.map_err(failed)?;
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !known.contains(name.as_str()) {
            added.push(name);
        }
    }
    added.sort();
    Ok(added)
}

async fn sum_of(path: &Path) -> io::Result<String> {
    let (mut file, mut sum, mut chunk) = (open(path).await?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut chunk).await? {
            0 => return Ok(hex::encode(sum.finalize())),
            read => sum.update(&chunk[..read]),
        }
    }
}

async fn read_small(path: &Path) -> Result<Vec<u8>> {
    let failed = |source| Error::Io { action: format!("read {}", path.display()), source };
    let mut bytes = Vec::new();
    let file = open(path).await.map_err(failed)?;
    file.take(MANIFEST_LIMIT).read_to_end(&mut bytes).await.map_err(failed)?;
    Ok(bytes)
}

/// Opens a file, and nothing else: a pipe would keep its reader waiting.
async fn open(path: &Path) -> io::Result<File> {
    match tokio::fs::symlink_metadata(path).await?.is_file() {
        true => File::open(path).await,
        false => Err(io::Error::other("it is no file")),
    }
}

async fn create(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await;
    opened.map_err(|source| Error::Io { action: format!("create {}", path.display()), source })
}

async fn sync(mut file: File, path: &Path) -> Result<()> {
    let failed = |source| Error::Io { action: format!("write {}", path.display()), source };
    file.flush().await.map_err(failed)?;
    file.sync_all().await.map_err(failed)
}
