//! A legacy file as a source of restores: one stream, proven whole before it is used.

use std::ops::Range;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::stream::{BoxStream, StreamExt as _};

use super::{Contents, Layer, LegacyError, LegacyOptions, LegacyReader};
use crate::ops::Result;
use crate::postgres::archive::{ArchiveContents, ArchiveScanner, Compression};
use crate::postgres::{
    BackupContents, BackupSource, BoxError, DatabaseContents, PostgresError, Scope, ServerInfo, StreamInfo, StreamKind,
};
use crate::types::{ContentHash, ContentHasher};

/// A file whose dump was read to its end and found whole.
#[derive(Debug)]
pub(crate) struct LegacySource {
    path: PathBuf,
    options: LegacyOptions,
    layers: Vec<Layer>,
    streams: Vec<StreamInfo>,
    contents: BackupContents,
    fingerprinted: bool,
    hash: ContentHash,
}

impl LegacySource {
    /// Reads the whole file, and records what is in it.
    pub(crate) async fn examine(path: &Path, options: &LegacyOptions) -> Result<Self> {
        let mut reader = LegacyReader::open_file(path, options.clone()).await?;
        require_archive(reader.contents())?;
        let (mut scanner, mut hasher) = (ArchiveScanner::new(), ContentHasher::new());
        while let Some(piece) = reader.next().await? {
            hasher.update(&piece);
            scanner = scan(scanner, piece).await?;
        }
        let archive = scanner.finish().map_err(incomplete)?;
        let kind = StreamKind::Database { database: archive.head.database.clone() };
        Ok(Self {
            path: path.to_owned(),
            options: options.clone(),
            layers: reader.layers().to_vec(),
            streams: vec![StreamInfo { number: 0, kind, bytes: archive.length }],
            fingerprinted: archive.head.compression == Compression::None,
            contents: describe(archive),
            hash: hasher.finish(),
        })
    }

    pub(crate) fn contents(&self) -> &BackupContents {
        &self.contents
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Returns the hash of the dump without its layers.
    pub(crate) fn hash(&self) -> ContentHash {
        self.hash
    }

    pub(crate) fn is_fingerprinted(&self) -> bool {
        self.fingerprinted
    }
}

/// Scans a piece off the async runtime.
async fn scan(mut scanner: ArchiveScanner, piece: Bytes) -> Result<ArchiveScanner> {
    let outcome = tokio::task::spawn_blocking(move || scanner.update(&piece).map(|()| scanner)).await;
    let scanned = outcome.map_err(|_| LegacyError::Stopped)?;
    Ok(scanned.map_err(incomplete)?)
}

/// An archive that is not whole is a fault of the file, and of no repository.
fn incomplete(error: PostgresError) -> LegacyError {
    LegacyError::Incomplete { source: Box::new(error) }
}

fn require_archive(contents: Contents) -> Result<()> {
    let instead = match contents {
        Contents::PgDumpCustom => return Ok(()),
        Contents::PgDumpTar => "pg_restore",
        Contents::PgDumpText | Contents::Sql => "psql",
        Contents::Tar => "tar",
    };
    Err(LegacyError::NotAnArchive { contents, instead }.into())
}

/// Describes the archive as the manifest of a backup does.
fn describe(archive: ArchiveContents) -> BackupContents {
    let head = &archive.head;
    let (server, dumped_with) = (version_num(&head.server_version), version_num(&head.dump_version) / 10_000);
    let server = ServerInfo::new(server, head.server_version.clone(), None, false);
    let (has_schema, has_data) =
        (head.entries.iter().any(|entry| entry.description == "TABLE"), !archive.tables.is_empty());
    let scope = match (has_schema, has_data) {
        (true, false) => Scope::Schema,
        (false, true) => Scope::Data,
        _ => Scope::Full,
    };
    let entries = head.entries.len() as u64;
    let database = DatabaseContents::new(head.database.clone(), 0, entries, archive.tables);
    BackupContents::new(server, scope, dumped_with, vec![database])
}

/// Turns `17.10 (Debian 17.10-1)` into 170010, as `server_version_num` has it.
fn version_num(text: &str) -> u32 {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let major = numbers.next().unwrap_or(0);
    major.saturating_mul(10_000).saturating_add(numbers.next().unwrap_or(0))
}

#[async_trait]
impl BackupSource for LegacySource {
    fn streams(&self) -> &[StreamInfo] {
        &self.streams
    }

    /// Reads the file anew; the part before a range is read and dropped, since layers cannot be entered midway.
    async fn open(
        &self,
        _stream: u32,
        range: Option<Range<u64>>,
    ) -> std::result::Result<BoxStream<'static, std::result::Result<Bytes, BoxError>>, BoxError> {
        let reader = LegacyReader::open_file(&self.path, self.options.clone()).await?;
        let pieces = reader.into_stream().map_err(BoxError::from);
        Ok(match range {
            None => pieces.boxed(),
            Some(range) => within(pieces.boxed(), range),
        })
    }
}

type Pieces = BoxStream<'static, std::result::Result<Bytes, BoxError>>;

fn within(pieces: Pieces, range: Range<u64>) -> Pieces {
    let cut = move |start: &mut u64, piece: Bytes| {
        let end = *start + piece.len() as u64;
        let (from, to) = (range.start.clamp(*start, end), range.end.clamp(*start, end));
        let part = piece.slice((from - *start) as usize..(to.max(from) - *start) as usize);
        let done = *start >= range.end;
        *start = end;
        (!done).then_some(part)
    };
    pieces
        .scan(0, move |start, piece| {
            futures::future::ready(match piece {
                Ok(piece) => cut(start, piece).map(Ok),
                Err(error) => Some(Err(error)),
            })
        })
        .try_filter(|part| futures::future::ready(!part.is_empty()))
        .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_as_the_server_counts_them() {
        assert_eq!(version_num("17.10 (Debian 17.10-1)"), 170_010);
        assert_eq!(version_num("18beta1"), 180_000);
        assert_eq!(version_num("nonsense"), 0);
    }

    #[tokio::test]
    async fn a_range_is_cut_out_of_the_pieces() {
        let pieces =
            || futures::stream::iter(["abc", "", "defg", "h"].map(|p| Ok(Bytes::from_static(p.as_bytes())))).boxed();
        let text = async |range: Range<u64>| {
            let parts: Vec<Bytes> = within(pieces(), range).try_collect().await.unwrap();
            String::from_utf8(parts.concat()).unwrap()
        };
        assert_eq!(text(0..8).await, "abcdefgh");
        assert_eq!(text(2..5).await, "cde");
        assert_eq!(text(3..3).await, "");
        assert_eq!(text(7..100).await, "h");
    }
}
