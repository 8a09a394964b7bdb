//! Adopts a file that the old scripts made: what was a dump behind three layers becomes a backup like any other.

use std::path::Path;
use std::time::Instant;

use chrono::{DateTime, Utc};

use super::backup::verify_new;
use super::legacy::{LegacyError, LegacyFileName, LegacyOptions, LegacySource};
use super::verify::GoodPacks;
use super::{BackupReport, Result};
use crate::codec::Codec;
use crate::postgres::{BackupSink, BackupSource as _, DatabaseDriver, PostgresError};
use crate::progress::{Phase, PhaseGuard, Progress};
use crate::repository::{BackupRun, DumpSink, Finished, ImportOrigin, Repository, VerifyLevel};
use crate::storage::StorageClass;
use crate::types::{BackupId, ContentHash};
use futures::TryStreamExt as _;

/// How a file is adopted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImportOptions {
    /// How its layers are opened.
    pub legacy: LegacyOptions,
    /// When it was made; by default the time in its name, or else of its last change.
    pub created: Option<DateTime<Utc>>,
    /// Another codec than the repository's.
    pub codec: Option<Codec>,
    /// The storage class of the data.
    pub storage_class: Option<StorageClass>,
    /// A name for people; by default the file's.
    pub label: Option<String>,
    /// How deep the backup is verified before this returns.
    pub verify: Option<VerifyLevel>,
    /// Whether a dump that is a backup already becomes another one.
    pub again: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            legacy: LegacyOptions::default(),
            created: None,
            codec: None,
            storage_class: None,
            label: None,
            verify: Some(VerifyLevel::Mac),
            again: false,
        }
    }
}

/// Reads the file to its end, and if the dump in it is whole, stores it as a backup of the time it was made.
///
/// Nothing is written before the whole file was found good. What nobody can tell is whether somebody had
/// altered an `openssl enc` file before: the manifest records the layers.
///
/// # Errors
/// [`LegacyError::AlreadyImported`] unless it may be imported again, any other [`LegacyError`] for the file, and those of [`backup`](super::backup()).
pub async fn import(
    repository: &Repository,
    path: &Path,
    options: &ImportOptions,
    checker: Option<&dyn DatabaseDriver>,
    progress: &dyn Progress,
) -> Result<BackupReport> {
    let started = Instant::now();
    let source = LegacySource::examine(path, &options.legacy).await?;
    let created = match options.created {
        Some(created) => created,
        None => time_of(path).await?,
    };
    if !options.again
        && let Some(backup) = find_imported(repository, source.hash()).await?
    {
        return Err(LegacyError::AlreadyImported { file: path.display().to_string(), backup }.into());
    }
    let run = BackupRun::begin(repository, options.codec, Some(created)).await?;
    let mut sink = run.sink(options.storage_class.clone());
    let phase =
        PhaseGuard::start(progress, Phase::Import, &path.display().to_string(), Some(source.streams()[0].bytes));
    if let Err(error) = copy(&source, &mut sink, &phase).await {
        drop(sink);
        run.abandon().await;
        return Err(error.into());
    }
    phase.finish();
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let databases = source.contents().databases.iter().map(|found| found.database.clone()).collect();
    let finished = Finished {
        kind: "import",
        contents: source.contents().clone(),
        streams: sink.into_streams(),
        label: options.label.clone().or_else(|| Some(file.clone())),
        physical: None,
        origin: Some(ImportOrigin {
            file,
            layers: source.layers().iter().map(|layer| layer.kind.to_string()).collect(),
            fingerprinted: source.is_fingerprinted(),
            dump: Some(source.hash()),
        }),
    };
    let (summary, _) = run.commit(finished).await?;
    let missed = repository.storage().take_missed_writes();
    let mut report = BackupReport::new(&summary, databases, started.elapsed().as_secs_f64(), missed);
    if let Some(level) = options.verify {
        report.verdict = Some(verify_new(repository, checker, &summary, GoodPacks::default(), level, progress).await?);
        report.missed.extend(repository.storage().take_missed_writes());
    }
    Ok(report)
}

/// Finds the backup that a dump has become. Manifests that cannot be read, for lack of a key or otherwise, tell nothing.
async fn find_imported(repository: &Repository, dump: ContentHash) -> Result<Option<BackupId>> {
    let catalogue = match repository.catalogue().await.map_err(super::Error::from) {
        Ok(catalogue) => catalogue,
        Err(error) if error.kind() == super::ErrorKind::Locked => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in catalogue.entries.iter().filter(|entry| entry.summary.kind == "import") {
        let Ok(manifest) = repository.manifest(&entry.summary).await else { continue };
        if manifest.origin.and_then(|origin| origin.dump) == Some(dump) {
            return Ok(Some(entry.id().clone()));
        }
    }
    Ok(None)
}

async fn copy(
    source: &LegacySource,
    sink: &mut DumpSink,
    phase: &PhaseGuard<'_>,
) -> std::result::Result<(), PostgresError> {
    let stream = &source.streams()[0];
    let mut pieces = source.open(stream.number, None).await.map_err(PostgresError::Source)?;
    sink.begin(&stream.kind).await.map_err(PostgresError::Sink)?;
    let mut copied = 0;
    while let Some(piece) = pieces.try_next().await.map_err(PostgresError::Source)? {
        copied += piece.len() as u64;
        phase.advance(piece.len() as u64);
        sink.write(piece).await.map_err(PostgresError::Sink)?;
    }
    if copied != stream.bytes {
        return Err(PostgresError::ContentsDiffer("the file was changed while it was being read".to_owned()));
    }
    sink.end().await.map_err(PostgresError::Sink)
}

async fn time_of(path: &Path) -> Result<DateTime<Utc>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if let Ok(name) = name.parse::<LegacyFileName>() {
        return Ok(name.time);
    }
    let read = async { tokio::fs::metadata(path).await?.modified() };
    let modified =
        read.await.map_err(|source| super::Error::Io { action: format!("read {}", path.display()), source })?;
    Ok(modified.into())
}
