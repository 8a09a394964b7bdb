//! `restore_command`: a file comes out of the archive.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use serde::Serialize;

use super::part::PartFile;
use super::tail::Tail;
use super::{cluster, gap, spool};
use crate::container::ContainerReader;
use crate::ops::{Error, ErrorKind, Result};
use crate::repository::{Repository, RepositoryError};
use crate::storage::Storage;
use crate::types::{WalFileName, WalSegmentName};

/// How a file is fetched.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct WalFetchOptions {
    /// The cluster; what is not said is found out.
    pub system_identifier: Option<u64>,
    /// The places of the repository, the primary first, if there are several: where one has a damaged copy, the next is read.
    pub places: Vec<Arc<dyn Storage>>,
}

impl WalFetchOptions {
    /// Sets the cluster.
    pub fn with_system_identifier(mut self, identifier: Option<u64>) -> Self {
        self.system_identifier = identifier;
        self
    }

    /// Sets the places of the repository, the primary first.
    pub fn with_places(mut self, places: Vec<Arc<dyn Storage>>) -> Self {
        self.places = places;
        self
    }
}

/// A file that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WalFetchReport {
    /// The cluster.
    pub system_identifier: u64,
    /// The file.
    pub name: WalFileName,
    /// Whether it is in the archive. If not, this is the end of what can be replayed, and nothing was written.
    pub found: bool,
    /// Whether it is a segment that was not whole when its last piece was received, filled up with zeros: the end of the log.
    pub partial: bool,
    /// Bytes of it that are of the log.
    pub bytes: u64,
}

impl WalFetchReport {
    /// Reports a file that was restored.
    pub fn restored(system_identifier: u64, name: WalFileName, bytes: u64) -> Self {
        Self { system_identifier, name, found: true, partial: false, bytes }
    }
}

/// Writes the archived file `name` to `destination`: whole, authentic, durable, with mode 0600, or not at all.
///
/// Of a segment that is there in pieces only, as [`wal_stream`](super::wal_stream()) stores the end of the log, it writes what there is.
///
/// For a server that recovers, a segment that is missing or not whole before others of its timeline is [`RepositoryError::WalGap`]: it
/// would end its recovery there as if the log did. Not if it lies in the server's own `pg_wal`: then it is not there, and PostgreSQL
/// takes that.
/// That the file is not there is said only if every place says so, and only of a cluster of which the archive has anything: a wrong
/// address must not look like the end of the log.
///
/// # Errors
/// Every failure but that: storage that cannot be reached, keys that are missing, a damaged object;
/// [`RepositoryError::WalSystemUnknown`], [`RepositoryError::NoWalOfSystem`].
pub async fn wal_fetch(
    repository: &Repository,
    name: WalFileName,
    destination: &Path,
    options: &WalFetchOptions,
) -> Result<WalFetchReport> {
    let system = cluster::of(repository, name, options.system_identifier, destination).await?;
    let whole = fetch_to(repository, system, name, destination, &options.places).await?;
    let written = match (whole, name) {
        (None, WalFileName::Segment(name)) => fetch_incomplete(repository, system, name, destination, options).await?,
        (whole, _) => whole.map(Written::whole),
    };
    if written.is_none() && !repository.has_wal_of(system).await? {
        let location = repository.storage().location();
        return Err(RepositoryError::NoWalOfSystem { location, system_identifier: system }.into());
    }
    Ok(WalFetchReport {
        system_identifier: system,
        name,
        found: written.is_some(),
        partial: written.is_some_and(|written| written.partial),
        bytes: written.map_or(0, |written| written.bytes),
    })
}

/// What was written to the destination.
#[derive(Debug, Clone, Copy)]
struct Written {
    bytes: u64,
    partial: bool,
}

impl Written {
    fn whole(bytes: u64) -> Self {
        Self { bytes, partial: false }
    }
}

/// Writes what there is of a segment that was not found whole, unless the log goes on behind it: then it is a gap for who recovers.
async fn fetch_incomplete(
    repository: &Repository,
    system: u64,
    name: WalSegmentName,
    destination: &Path,
    options: &WalFetchOptions,
) -> Result<Option<Written>> {
    // It becomes whole while one looks, and its pieces go.
    let again = async || {
        let whole = fetch_to(repository, system, WalFileName::Segment(name), destination, &options.places).await?;
        Ok::<_, Error>(whole.map(Written::whole))
    };
    let tail = Tail::read(repository, system, name).await?;
    let is_partial = !tail.as_ref().is_some_and(Tail::is_whole);
    if is_partial
        && cluster::is_for_recovery(destination)
        && let Some(later) = gap::behind(repository, system, name).await?
    {
        let whole = again().await?;
        if whole.is_some() || cluster::has_own_copy(destination, system, name) {
            return Ok(whole);
        }
        return Err(RepositoryError::WalGap { location: repository.storage().location(), name, later }.into());
    }
    match tail {
        Some(tail) => Ok(Some(Written { bytes: tail.write(destination).await?, partial: is_partial })),
        None => again().await,
    }
}

/// Fetches from the repository, and where that copy is damaged from each of its places by itself.
pub(super) async fn fetch_to(
    repository: &Repository,
    system: u64,
    name: WalFileName,
    destination: &Path,
    places: &[Arc<dyn Storage>],
) -> Result<Option<u64>> {
    let first = fetch_from(repository, repository.storage(), system, name, destination).await;
    let Err(damage) = first else { return first };
    if damage.kind() != ErrorKind::Integrity {
        return Err(damage);
    }
    for place in places {
        match fetch_from(repository, place, system, name, destination).await {
            Ok(Some(bytes)) => {
                tracing::warn!(file = %name, error = %damage, from = place.location(), "a damaged copy was passed over");
                return Ok(Some(bytes));
            }
            outcome => tracing::debug!(file = %name, place = place.location(), ?outcome, "no good copy here"),
        }
    }
    Err(damage)
}

async fn fetch_from(
    repository: &Repository,
    place: &Arc<dyn Storage>,
    system: u64,
    name: WalFileName,
    destination: &Path,
) -> Result<Option<u64>> {
    match repository.open_wal(place.as_ref(), system, name).await? {
        Some(reader) => Ok(Some(write(reader, destination).await?)),
        None => Ok(None),
    }
}

/// Writes what a reader gives.
async fn write(reader: ContainerReader, destination: &Path) -> Result<u64> {
    write_chunks(reader.into_stream().map_err(Error::from), destination).await
}

/// Writes chunks under another name, and renames it when all have come without an error. Returns their length.
pub(super) async fn write_chunks(chunks: impl Stream<Item = Result<Bytes>> + Send, destination: &Path) -> Result<u64> {
    let mut chunks = pin!(chunks);
    let failed = |source| spool::failed("write", destination, source);
    let begun = PartFile::begin(destination).map_err(failed)?;
    let mut part = begun.ok_or_else(|| Error::Io {
        action: format!("write {}", destination.display()),
        source: std::io::Error::new(std::io::ErrorKind::ResourceBusy, "another process is writing it"),
    })?;
    let mut bytes = 0;
    while let Some(chunk) = chunks.try_next().await? {
        bytes += chunk.len() as u64;
        part = blocking(move || part.write(&chunk).map(|()| part)).await.map_err(failed)?;
    }
    blocking(move || part.publish()).await.map_err(failed)?;
    Ok(bytes)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
