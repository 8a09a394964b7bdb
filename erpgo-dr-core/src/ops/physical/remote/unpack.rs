//! Takes apart what a server sends, on a thread of its own: archives into files, and files into what is known and what is new.

use bytes::{Bytes, BytesMut};
use roaring::RoaringBitmap;
use tokio::sync::mpsc;

use super::super::collect::CHUNK;
use super::super::{BACKUP_LABEL, CONTROL_FILE, WAL_FOLDER};
use super::known::SortedFiles;
use crate::ops::Result;
use crate::postgres::PostgresError;
use crate::postgres::physical::{
    ChangedBlocks, ClusterEntry, ClusterEntryKind, FileOutcome, IncrementalParser, PAGE, PageHasher, Piece,
    ReceivedFile, RelationFile, TarEvent, TarStream, is_left_out,
};
use crate::repository::{Extent, ExtentCursor};
use crate::types::{Lsn, WalSegmentName};

/// What the name of a file begins with of which only changed blocks are sent.
const INCREMENTAL: &str = "INCREMENTAL.";

/// The largest file that is taken as a whole and is no log.
const WHOLE_LIMIT: u64 = 1 << 20;

/// What a server sends.
#[derive(Debug)]
pub(super) enum Packed {
    /// An archive begins: of a tablespace, or of the data directory.
    Archive(Option<u32>),
    /// The next bytes of it.
    Data(Bytes),
}

/// What was in it.
#[derive(Debug)]
pub(super) enum Unpacked {
    /// The next bytes of a file.
    Chunk(Bytes),
    /// The next bytes of a file, which an earlier backup has.
    Known(Vec<Extent>),
    /// A file has come whole, or a directory or link that has no contents.
    End(ClusterEntry, FileOutcome),
    /// The file `backup_label`.
    Label(Bytes),
    /// The control file.
    Control(ClusterEntry, Bytes),
    /// A segment of the log of the time of the backup.
    Wal(WalSegmentName, Bytes),
}

/// Takes apart.
pub(super) struct Unpacker {
    pub(super) hasher: PageHasher,
    pub(super) known: Option<SortedFiles>,
    /// What the log tells of changes since, where files come that hold changed blocks only.
    pub(super) told: Option<ChangedBlocks>,
    /// Where replay begins, if pages carry checksums.
    pub(super) checked_from: Option<Lsn>,
    pub(super) pages_per_file: u32,
    pub(super) unpacked: mpsc::Sender<Unpacked>,
}

impl Unpacker {
    /// Works until all has come, something is wrong, or nobody wants it any more.
    pub(super) fn run(self, packed: mpsc::Receiver<Packed>) -> Result<()> {
        let mut source = Source { packed, folder: String::new(), archive: None, data: Bytes::new() };
        while let Some(entry) = source.entry()? {
            if !self.entry(entry, &mut source)? {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether somebody wants to have more.
    fn entry(&self, entry: ClusterEntry, source: &mut Source) -> Result<bool> {
        let ClusterEntryKind::File { size, .. } = entry.kind else {
            return Ok(is_left_out(&entry.path) || self.send(Unpacked::End(entry, FileOutcome::default())));
        };
        let mut contents = Contents { source, gathered: BytesMut::new(), is_over: false };
        let segment = entry.path.strip_prefix(WAL_FOLDER).and_then(|name| name.strip_prefix('/')?.parse().ok());
        match (&*entry.path, segment) {
            (_, Some(name)) => {
                let whole = contents.whole(size)?;
                Ok(self.send(Unpacked::Wal(name, whole)))
            }
            (BACKUP_LABEL, _) => {
                let whole = contents.whole(size.min(WHOLE_LIMIT))?;
                Ok(self.send(Unpacked::Label(whole)))
            }
            (CONTROL_FILE, _) => {
                let whole = contents.whole(size.min(WHOLE_LIMIT))?;
                Ok(self.send(Unpacked::Control(entry, whole)))
            }
            (path, _) if is_left_out(path) => {
                while !contents.read(CHUNK)?.is_empty() {}
                Ok(true)
            }
            _ => self.file(entry, contents),
        }
    }

    fn file(&self, mut entry: ClusterEntry, mut contents: Contents<'_>) -> Result<bool> {
        let whole_name = self.told.as_ref().and_then(|_| whole_name(&entry.path));
        let changed_only = whole_name.is_some();
        entry.path = whole_name.map_or(entry.path, Into::into);
        let (pages, extents) = match &self.known {
            Some(known) => known.find(&entry.path)?.unzip(),
            None => (None, None),
        };
        let extents = extents.unwrap_or_default();
        let mut cursor = ExtentCursor::new(&extents);
        let mut forward = |piece| {
            self.send(match piece {
                Piece::Read(chunk) => {
                    cursor.advance(chunk.len() as u64, |_| {});
                    Unpacked::Chunk(chunk)
                }
                Piece::Known(length) => {
                    let mut extents = Vec::new();
                    cursor.advance(length, |extent| extents.push(extent));
                    Unpacked::Known(extents)
                }
            })
        };
        let relation = RelationFile::parse(&entry.path);
        let checks = relation.map(|relation| relation.first_block(self.pages_per_file)).zip(self.checked_from);
        let mut file = ReceivedFile::new(&self.hasher, pages.as_ref(), checks);
        let goes_on = match changed_only {
            true => {
                let told = self.told.as_ref().zip(relation.as_ref());
                let blocks = told.and_then(|(told, relation)| told.of_file(relation, self.pages_per_file));
                let Some(blocks) = blocks.filter(|_| pages.is_some()) else {
                    return Err(malformed(&entry.path, "the server sent changes of a file of which nothing is known"));
                };
                changed(&mut file, (&entry.path, self.pages_per_file), &blocks, &mut contents, &mut forward)?
            }
            false => whole(&mut file, &mut contents, &mut forward)?,
        };
        Ok(goes_on && self.send(Unpacked::End(entry, file.finish())))
    }

    fn send(&self, unpacked: Unpacked) -> bool {
        self.unpacked.blocking_send(unpacked).is_ok()
    }
}

/// Returns the name of the file of which only changed blocks follow; `None` for a file that follows whole.
fn whole_name(path: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/')?;
    Some(format!("{folder}/{}", name.strip_prefix(INCREMENTAL)?))
}

fn whole(
    file: &mut ReceivedFile<'_>,
    contents: &mut Contents<'_>,
    forward: &mut dyn FnMut(Piece) -> bool,
) -> Result<bool> {
    loop {
        let chunk = contents.read(CHUNK)?;
        if chunk.is_empty() {
            return Ok(true);
        }
        if !file.take(chunk, forward) {
            return Ok(false);
        }
    }
}

fn changed(
    file: &mut ReceivedFile<'_>,
    (path, most): (&str, u32),
    told: &RoaringBitmap,
    contents: &mut Contents<'_>,
    forward: &mut dyn FnMut(Piece) -> bool,
) -> Result<bool> {
    let mut parser = IncrementalParser::default();
    let header = loop {
        let mut beginning = contents.read(PAGE)?;
        if beginning.is_empty() {
            return Err(malformed(path, "it is cut short"));
        }
        if let Some(header) = parser.next(&mut beginning)? {
            break header;
        }
    };
    let length = header.length(most).ok_or_else(|| malformed(path, "it has more blocks than a file may have"))?;
    for run in header.blocks.chunk_by(|one, next| one + 1 == *next).flat_map(|run| run.chunks(CHUNK / PAGE)) {
        let chunk = contents.read(run.len() * PAGE)?;
        if chunk.len() != run.len() * PAGE {
            return Err(malformed(path, "it is cut short"));
        }
        if !file.skip_to(run[0], told, forward) || !file.take(chunk, forward) {
            return Ok(false);
        }
    }
    if !contents.read(1)?.is_empty() {
        return Err(malformed(path, "there is more in it than it says"));
    }
    Ok(file.skip_to(length, told, forward))
}

fn malformed(path: &str, reason: &str) -> crate::ops::Error {
    PostgresError::MalformedCluster(format!("{path}: {reason}")).into()
}

/// What a server sends, as entries of archives.
struct Source {
    packed: mpsc::Receiver<Packed>,
    /// What the paths of this archive begin with.
    folder: String,
    archive: Option<TarStream>,
    data: Bytes,
}

impl Source {
    /// Returns the next file, directory or link, of whichever archive; `None` when all have come.
    fn entry(&mut self) -> Result<Option<ClusterEntry>> {
        match self.event()? {
            None => Ok(None),
            Some(TarEvent::Entry(mut entry)) => {
                if !self.folder.is_empty() {
                    entry.path = format!("{}/{}", self.folder, entry.path).into();
                }
                Ok(Some(entry))
            }
            Some(_) => Err(malformed("a tar archive of the server", "contents without a file")),
        }
    }

    fn event(&mut self) -> Result<Option<TarEvent>> {
        loop {
            if let Some(archive) = &mut self.archive
                && let Some(event) = archive.next(&mut self.data)?
            {
                return Ok(Some(event));
            }
            let packed = self.packed.blocking_recv();
            match packed {
                Some(Packed::Data(data)) => self.data = data,
                ended_or_next => {
                    if let Some(archive) = self.archive.take() {
                        archive.finish()?;
                    }
                    let Some(Packed::Archive(tablespace)) = ended_or_next else { return Ok(None) };
                    self.folder = tablespace.map(|oid| format!("pg_tblspc/{oid}")).unwrap_or_default();
                    self.archive = Some(TarStream::default());
                }
            }
        }
    }
}

/// The contents of one file.
struct Contents<'s> {
    source: &'s mut Source,
    gathered: BytesMut,
    is_over: bool,
}

impl Contents<'_> {
    /// Returns the next so many bytes; fewer only where the file ends.
    fn read(&mut self, wanted: usize) -> Result<Bytes> {
        while self.gathered.len() < wanted && !self.is_over {
            match self.source.event()? {
                Some(TarEvent::Contents(piece)) => self.gathered.extend_from_slice(&piece),
                Some(TarEvent::End) => self.is_over = true,
                _ => return Err(malformed("a tar archive of the server", "a file ends without its end")),
            }
        }
        let there = wanted.min(self.gathered.len());
        Ok(self.gathered.split_to(there).freeze())
    }

    /// Returns the file, which has so many bytes, to its end.
    fn whole(&mut self, size: u64) -> Result<Bytes> {
        let whole = self.read(size as usize)?;
        while !self.read(CHUNK)?.is_empty() {}
        Ok(whole)
    }
}
