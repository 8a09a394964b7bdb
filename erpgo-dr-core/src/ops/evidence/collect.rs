//! Collects a bundle: item after item, each sealed as it comes, and the manifest last.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::custody::{CustodyAction, append};
use super::manifest::{
    EVIDENCE_FORMAT, EvidenceBackup, EvidenceItem, EvidenceManifest, EvidenceReport, EvidenceServer, sealed,
};
use super::options::EvidenceOptions;
use super::server::Server;
use super::sources::{Failure, Wanted, of_host, of_server, program, safe};
use crate::ops::Result;
use crate::postgres::ConnectionSettings;
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{EvidenceWriter, Repository, RepositoryError};
use crate::types::EvidenceId;

/// How much longer than a statement may take its answer is waited for: by then the server has cut it off itself.
const GRACE: Duration = Duration::from_secs(15);

/// An item as it is collected.
pub(super) struct Item {
    writer: EvidenceWriter,
    number: u32,
    began: DateTime<Utc>,
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
    let backups = named_backups(repository, options).await?;
    let (epoch, signer) = repository.evidence_signer()?;
    let mut collection =
        Collection { repository, options, progress, id: EvidenceId::generate(began), items: Vec::new() };
    let server = match &options.server {
        Some(settings) => Some(collection.read_server(settings).await?),
        None => None,
    };
    for (name, line) in &options.programs {
        collection.run_program(name, line).await?;
    }
    for wanted in of_host(options) {
        collection.collect(&wanted, None).await?;
    }
    let Collection { id, items, .. } = collection;
    hold(repository, &id, &backups).await?;
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
    // Before the manifest: a bundle that is there has a chain that begins.
    append(repository, &id, &options.by, CustodyAction::Collected, None).await?;
    repository.create_evidence(&id, &document).await?;
    Ok(report)
}

/// A bundle that is being collected.
struct Collection<'c> {
    repository: &'c Repository,
    options: &'c EvidenceOptions,
    progress: &'c dyn Progress,
    id: EvidenceId,
    items: Vec<EvidenceItem>,
}

impl Collection<'_> {
    async fn read_server(&mut self, settings: &ConnectionSettings) -> Result<EvidenceServer> {
        let address = settings.to_string();
        let (mut server, unreachable) = match Server::connect(settings, self.options.patience).await {
            Ok(server) => (Some(server), None),
            Err(error) => (None, Some(crate::causes::chain(&error))),
        };
        for wanted in of_server(self.options, server.as_ref()).await {
            let cut_off = self.collect(&wanted, server.as_ref()).await?;
            if cut_off && wanted.source.is_of_server() {
                // Its answer may still come, and would be taken for another's.
                server = Server::connect(settings, self.options.patience).await.ok();
            }
        }
        if let Some(server) = server {
            server.close().await;
        }
        Ok(EvidenceServer { address, unreachable })
    }

    /// Collects an item; returns whether it was cut off for the time that it took.
    async fn collect(&mut self, wanted: &Wanted<'_>, server: Option<&Server>) -> Result<bool> {
        let phase = PhaseGuard::start(self.progress, Phase::Evidence, &wanted.what, None);
        let mut item = self.begin(0).await?;
        let limit = self.options.patience + GRACE;
        let poured = tokio::time::timeout(limit, wanted.source.pour(server, &mut item)).await;
        let cut_off = poured.is_err();
        let error = self.failure(poured)?;
        self.end(item, &wanted.name, &wanted.what, error, &phase).await?;
        phase.finish();
        Ok(cut_off)
    }

    /// Runs a program, and keeps both its outputs, also where one is empty: that is evidence, too.
    async fn run_program(&mut self, name: &str, line: &[String]) -> Result<()> {
        let shown = line.join(" ");
        let phase = PhaseGuard::start(self.progress, Phase::Evidence, &shown, None);
        let (mut output, mut errors) = (self.begin(0).await?, self.begin(1).await?);
        let ran = program(line, &self.options.environment, [&mut output, &mut errors]);
        let ran = tokio::time::timeout(self.options.patience, ran).await;
        let error = self.failure(ran)?;
        let name = safe(name);
        self.end(output, &format!("{name}.txt"), &format!("the output of {shown}"), error, &phase).await?;
        self.end(errors, &format!("{name}.err.txt"), &format!("the standard error of {shown}"), None, &phase).await?;
        phase.finish();
        Ok(())
    }

    async fn begin(&self, ahead: u32) -> Result<Item> {
        let number = self.items.len() as u32 + 1 + ahead;
        let writer = self.repository.evidence_writer(&self.id, number).await?;
        let began = self.repository.environment().clock.now();
        Ok(Item { writer, number, began, sum: Sha256::new(), bytes: 0 })
    }

    fn failure<E>(&self, outcome: std::result::Result<std::result::Result<(), Failure>, E>) -> Result<Option<String>> {
        match outcome {
            Ok(Ok(())) => Ok(None),
            Ok(Err(Failure::Source(reason))) => Ok(Some(reason)),
            Ok(Err(Failure::Store(error))) => Err(error),
            Err(_) => Ok(Some(format!("it was cut off after {} s", self.options.patience.as_secs()))),
        }
    }

    async fn end(
        &mut self,
        item: Item,
        name: &str,
        what: &str,
        error: Option<String>,
        phase: &PhaseGuard<'_>,
    ) -> Result<()> {
        let Item { writer, number, began, sum, bytes } = item;
        let report = writer.finish().await?;
        phase.advance(bytes);
        self.items.push(EvidenceItem {
            number,
            name: format!("{number:03}-{name}"),
            what: what.to_owned(),
            began,
            ended: self.repository.environment().clock.now(),
            bytes,
            stored_bytes: report.stored_bytes,
            sha256: hex::encode(sum.finalize()),
            error,
        });
        Ok(())
    }
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

/// Puts backups on hold, but for those that are already: why that is may matter more.
async fn hold(repository: &Repository, id: &EvidenceId, backups: &[EvidenceBackup]) -> Result<()> {
    if backups.is_empty() {
        return Ok(());
    }
    let catalogue = repository.catalogue().await?;
    for backup in backups {
        if catalogue.find(&backup.id).is_none_or(|entry| entry.hold.is_none()) {
            repository.hold(&backup.id, &format!("belongs to the evidence {id}")).await?;
        }
    }
    Ok(())
}
