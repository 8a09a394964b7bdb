//! Compares the files of a folder with those of a backup, several at once.

use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;

use super::delta::differing;
use super::scatter::blocking;
use super::target::TargetFolders;
use super::{CONTROL_DRAFT, CONTROL_FILE};
use crate::ops::{Error, Result};
use crate::postgres::PostgresError;
use crate::postgres::physical::{PageHasher, hash_bytes};
use crate::progress::PhaseGuard;
use crate::repository::{FileKind, FileMapReader, FileRecord, Manifest, PageHashReader, PhysicalContents, Repository};

/// Files that are read at once: one thread reads and hashes several gigabytes a second.
const CONCURRENCY: usize = 4;

/// A record of the map, and the stretches of its file that differ.
type Compared = (FileRecord, Vec<Range<u64>>);

/// A walk along the map of a backup.
pub(super) struct Comparison {
    map: FileMapReader,
    hashes: PageHashReader,
    hasher: Arc<PageHasher>,
    work: FuturesOrdered<BoxFuture<'static, Result<Compared>>>,
    is_at_end: bool,
}

impl Comparison {
    pub(super) async fn begin(
        repository: &Repository,
        manifest: &Manifest,
        physical: &PhysicalContents,
    ) -> Result<Self> {
        let Some(pages) = &physical.pages else {
            let message = format!("{} has no hashes of its pages: restore it into an empty folder", manifest.id);
            return Err(PostgresError::InvalidOptions(message).into());
        };
        Ok(Self {
            map: repository.file_map(&manifest.id).await?,
            hashes: repository.page_hashes(&manifest.id).await?,
            hasher: Arc::new(PageHasher::new(&pages.key)),
            work: FuturesOrdered::new(),
            is_at_end: false,
        })
    }

    /// Returns the next record, in the order of the map, and the stretches in which the file of that name differs.
    pub(super) async fn next(&mut self, folders: &TargetFolders, phase: &PhaseGuard<'_>) -> Result<Option<Compared>> {
        while !self.is_at_end && self.work.len() < CONCURRENCY {
            match self.map.next().await? {
                Some(record) => self.compare(record, folders).await?,
                None => self.is_at_end = true,
            }
        }
        let Some(compared) = self.work.next().await.transpose()? else { return Ok(None) };
        let differing: u64 = compared.1.iter().map(|stretch| stretch.end - stretch.start).sum();
        phase.advance(compared.0.size() - differing);
        Ok(Some(compared))
    }

    async fn compare(&mut self, record: FileRecord, folders: &TargetFolders) -> Result<()> {
        let FileKind::File { .. } = record.kind else {
            self.work.push_back(Box::pin(async { Ok((record, Vec::new())) }));
            return Ok(());
        };
        let size = record.size();
        let hashes = self.hashes.next(hash_bytes(size)).await?;
        let path = match record.path.as_str() {
            CONTROL_FILE => folders.data().join(CONTROL_DRAFT),
            path => folders.resolve(path)?,
        };
        let hasher = Arc::clone(&self.hasher);
        // Begins at once, not when it is asked for.
        let work = tokio::spawn(blocking(move || {
            let stretches = differing(&path, size, &hashes, &hasher)?;
            Ok((record, stretches))
        }));
        self.work.push_back(Box::pin(async move {
            match work.await {
                Ok(compared) => compared,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(error) => {
                    let source = std::io::Error::other(error);
                    Err(Error::Io { action: "compare a file to its end".to_owned(), source })
                }
            }
        }));
        Ok(())
    }
}
