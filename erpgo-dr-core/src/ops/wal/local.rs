//! A file of the log on the database's disk, read once and checked against its name.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};

use super::cluster;
use super::notes::FileStamp;
use crate::ops::{Error, Result};
use crate::postgres::wal::{SegmentHeader, TimelineHistory, WalError};
use crate::repository::{Repository, WAL_IN_MEMORY, WalContent, WalSource};
use crate::types::{WalFileName, WalNameError, WalSegmentName};

/// Bytes that are read at a time from a large file.
const CHUNK: usize = 1 << 20;

/// How the note on a base backup begins (`xlogbackup.c`).
const BACKUP_NOTE: &[u8] = b"START WAL LOCATION: ";

/// A file as far as it has been read: whole, or for a large one its first chunk.
#[derive(Debug)]
pub(super) struct LocalFile {
    pub(super) name: WalFileName,
    path: PathBuf,
    /// What it was when it was opened.
    pub(super) stamp: FileStamp,
    length: u64,
    begin: Bytes,
    rest: Option<File>,
}

impl LocalFile {
    /// Reads `path`, whose file name says what it should be.
    pub(super) async fn read(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        let task = tokio::task::spawn_blocking(move || Self::read_now(path));
        task.await.map_err(|error| failed(Path::new("a file"), io::Error::other(error)))?
    }

    fn read_now(path: PathBuf) -> Result<Self> {
        let name = name_of(&path)?;
        let mut file = File::open(&path).map_err(|source| failed(&path, source))?;
        let metadata = file.metadata().map_err(|source| failed(&path, source))?;
        let length = metadata.len();
        let whole = length <= WAL_IN_MEMORY;
        let now = if whole { length } else { CHUNK as u64 };
        let mut begin = Vec::with_capacity(usize::try_from(now).unwrap_or(CHUNK));
        file.by_ref().take(now).read_to_end(&mut begin).map_err(|source| failed(&path, source))?;
        if begin.len() as u64 != now {
            return Err(failed(&path, io::ErrorKind::UnexpectedEof.into()));
        }
        let (stamp, rest) = (FileStamp::of(&metadata), (!whole).then_some(file));
        Ok(Self { name, path, stamp, length, begin: begin.into(), rest })
    }

    /// Checks the file against its name, and finds its cluster without asking the repository.
    ///
    /// # Errors
    /// [`Error::Wal`].
    pub(super) fn cluster(&self, named: Option<u64>) -> Result<Option<u64>> {
        let expected = named.or_else(|| cluster::wal_cluster_around(&self.path));
        let file = self.name.to_string();
        match self.name {
            WalFileName::Segment(name) => Ok(Some(self.segment(name, expected)?)),
            WalFileName::Partial(name) => Ok(Some(self.header(name, expected)?.system_identifier)),
            WalFileName::History(timeline) => {
                TimelineHistory::parse(timeline, &self.begin)?;
                Ok(expected)
            }
            WalFileName::BackupHistory(..) if !self.begin.starts_with(BACKUP_NOTE) => {
                Err(WalError::BackupNote { file }.into())
            }
            WalFileName::BackupHistory(..) => Ok(expected),
        }
    }

    fn header(&self, name: WalSegmentName, expected: Option<u64>) -> Result<SegmentHeader> {
        let header = SegmentHeader::parse(&self.name.to_string(), &self.begin)?;
        header.check(name, expected)?;
        Ok(header)
    }

    fn segment(&self, name: WalSegmentName, expected: Option<u64>) -> Result<u64> {
        let header = self.header(name, expected)?;
        header.check_length(name, self.length)?;
        Ok(header.system_identifier)
    }

    /// Makes of it what the repository archives.
    pub(super) async fn into_source(self, repository: &Repository, named: Option<u64>) -> Result<WalSource> {
        let system_identifier = match self.cluster(named)? {
            Some(identifier) => identifier,
            None => cluster::of(repository, self.name, named, &self.path).await?,
        };
        let content = match self.rest {
            None => WalContent::Whole(self.begin),
            Some(file) => WalContent::Stream(chunks(self.begin, file)),
        };
        Ok(WalSource { system_identifier, name: self.name, content })
    }
}

/// Returns the file that a path names.
pub(super) fn name_of(path: &Path) -> Result<WalFileName> {
    let text = path.file_name().unwrap_or_default().to_string_lossy();
    text.parse().map_err(|error: WalNameError| Error::Io {
        action: format!("archive {}", path.display()),
        source: io::Error::new(io::ErrorKind::InvalidInput, error),
    })
}

fn chunks(begin: Bytes, file: File) -> BoxStream<'static, io::Result<Bytes>> {
    let rest = stream::try_unfold(file, |mut file| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::with_capacity(CHUNK);
            file.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
            Ok::<_, io::Error>((chunk, file))
        });
        let (chunk, file) = read.await.map_err(io::Error::other)??;
        Ok((!chunk.is_empty()).then_some((Bytes::from(chunk), file)))
    });
    stream::once(std::future::ready(Ok(begin))).chain(rest).boxed()
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Io { action: format!("read {}", path.display()), source }
}
