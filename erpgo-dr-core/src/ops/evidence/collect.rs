//! Collects a bundle: item after item, each sealed as it comes, and the manifest last.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::custody::{CustodyAction, append};
use super::manifest::{
    EVIDENCE_FORMAT, EvidenceBackup, EvidenceItem, EvidenceManifest, EvidenceReport, EvidenceServer, sealed,
};
use super::options::EvidenceOptions;
use super::sources::{Failure, Wanted, wanted};
use crate::ops::Result;
use crate::postgres::{Client, ConnectionSettings};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{EvidenceWriter, Repository, RepositoryError};
use crate::types::EvidenceId;

/// An item as it is collected.
pub(super) struct Item {
    writer: EvidenceWriter,
    sum: Sha256,
    bytes: u64,
}

impl Item {
    /// Takes the next bytes.
    pub(super) async fn write(&mut self, data: Bytes) -> std::result::Result<(), Failure> {
        self.sum.update(&data);
        self.bytes += data.len() as u64;
        self.writer.write(data).await.map_err(|error| Failure::Store(error.into()))
    }
}

/// Collects evidence into the repository, signs its manifest, and puts the backups that belong to it on hold.
///
/// What is read of the server is read in one snapshot, as far as it lies in tables. An item whose source fails is kept as far as it
/// came, and the report says why; the others are collected all the same. Nothing is written anywhere but into the repository.
///
/// # Errors
/// When the repository fails, or has no backup of those named. What was collected then is no bundle.
pub async fn collect_evidence(
    repository: &Repository,
    options: &EvidenceOptions,
    progress: &dyn Progress,
) -> Result<EvidenceReport> {
    let clock = &repository.environment().clock;
    let began = clock.now();
    let id = EvidenceId::generate(began);
    let backups = named_backups(repository, options).await?;
    for backup in &backups {
        repository.hold(&backup.id, &format!("belongs to the evidence {id}")).await?;
    }
    let (epoch, signer) = repository.evidence_signer()?;
    let (client, server) = connect(options.server.as_ref()).await;
    let mut items = Vec::new();
    for (number, wanted) in (1..).zip(wanted(options)) {
        let phase = PhaseGuard::start(progress, Phase::Evidence, &wanted.what, None);
        let item = collect(repository, &id, number, &wanted, client.as_ref(), options).await?;
        phase.advance(item.bytes);
        phase.finish();
        items.push(item);
    }
    if let Some(client) = client {
        client.close().await;
    }
    let manifest = EvidenceManifest {
        format: EVIDENCE_FORMAT,
        id: id.clone(),
        label: options.label.clone(),
        repository: repository.settings().id.clone(),
        by: options.by.clone(),
        began,
        ended: clock.now(),
        server,
        items,
        backups,
        epoch,
        public_key: signer.public(),
    };
    let (document, report) = sealed(manifest, &signer);
    repository.create_evidence(&id, &document).await?;
    append(repository, &id, &options.by, CustodyAction::Collected, None).await?;
    Ok(report)
}

/// Connects, in a transaction that sees one state of the database and changes nothing.
async fn connect(settings: Option<&ConnectionSettings>) -> (Option<Client>, Option<EvidenceServer>) {
    let Some(settings) = settings else { return (None, None) };
    let opened = async {
        let client = settings.connect().await?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        client.batch_execute(begin).await.map_err(client.query_error("begin to read"))?;
        Ok::<_, crate::postgres::PostgresError>(client)
    };
    let address = settings.to_string();
    match opened.await {
        Ok(client) => (Some(client), Some(EvidenceServer { address, unreachable: None })),
        Err(error) => (None, Some(EvidenceServer { address, unreachable: Some(crate::causes::chain(&error)) })),
    }
}

async fn collect(
    repository: &Repository,
    id: &EvidenceId,
    number: u32,
    wanted: &Wanted<'_>,
    client: Option<&Client>,
    options: &EvidenceOptions,
) -> Result<EvidenceItem> {
    let clock = &repository.environment().clock;
    let began = clock.now();
    let mut item = Item { writer: repository.evidence_writer(id, number).await?, sum: Sha256::new(), bytes: 0 };
    let poured = tokio::time::timeout(options.patience, wanted.source.pour(client, &mut item)).await;
    let error = match poured {
        Ok(Ok(())) => None,
        Ok(Err(Failure::Source(reason))) => Some(reason),
        Ok(Err(Failure::Store(error))) => return Err(error),
        Err(_) => Some(format!("it was cut off after {} s", options.patience.as_secs())),
    };
    let (sum, bytes) = (hex::encode(item.sum.finalize()), item.bytes);
    let report = item.writer.finish().await?;
    Ok(EvidenceItem {
        number,
        name: format!("{number:03}-{}", wanted.name),
        what: wanted.what.clone(),
        began,
        ended: clock.now(),
        bytes,
        stored_bytes: report.stored_bytes,
        sha256: sum,
        error,
    })
}

async fn named_backups(repository: &Repository, options: &EvidenceOptions) -> Result<Vec<EvidenceBackup>> {
    if options.backups.is_empty() {
        return Ok(Vec::new());
    }
    let catalogue = repository.catalogue().await?;
    let mut found = BTreeMap::new();
    for id in &options.backups {
        let entry = catalogue.find(id).ok_or_else(|| RepositoryError::NoSuchBackup(id.to_string()))?;
        let backup =
            EvidenceBackup { id: id.clone(), created: entry.summary.created, manifest: entry.summary.manifest.hash };
        found.insert(id.clone(), backup);
    }
    Ok(found.into_values().collect())
}
