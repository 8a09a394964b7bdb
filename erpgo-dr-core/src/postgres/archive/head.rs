//! The head of an archive: who wrote it, of what, and its table of contents.

use std::collections::HashSet;

use chrono::{NaiveDate, NaiveDateTime};

use super::reader::{Gap, Reader};
use super::{PostgresError, malformed};

/// Everything of an archive but its data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveHead {
    /// Version of the format: (1, 16) for PostgreSQL 17.
    pub version: (u8, u8),
    /// How pg_dump compressed the data.
    pub compression: Compression,
    /// When the dump began, in the local time of the machine that pg_dump ran on.
    pub created: Option<NaiveDateTime>,
    /// The database.
    pub database: String,
    /// The version of the server.
    pub server_version: String,
    /// The version of pg_dump.
    pub dump_version: String,
    /// The table of contents, in the order in which pg_restore would restore.
    pub entries: Vec<TocEntry>,
    /// Bytes of the head: where the first block of data begins.
    pub length: u64,
    /// Bytes of an offset in the table of contents.
    pub(super) offset_bytes: usize,
}

/// How pg_dump compressed the data of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// By zlib.
    Gzip,
    /// By LZ4.
    Lz4,
    /// By Zstandard.
    Zstd,
}

/// When an entry is restored.
///
/// Comments, privileges and security labels name no section: they have that of the entry before them, as
/// pg_restore sees it (`ProcessArchiveRestoreOptions`). Those of large objects are so among the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Before the data.
    PreData,
    /// The data.
    Data,
    /// After the data: indexes, constraints, triggers.
    PostData,
}

/// An entry of the table of contents. Its SQL text is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TocEntry {
    /// Its number in this archive.
    pub dump_id: i32,
    /// Whether the archive has a block of data for it.
    pub has_data: bool,
    /// OID of the catalogue that its object is in; 0 for none.
    pub table_oid: u32,
    /// OID of its object; 0 for none.
    pub oid: u32,
    /// Its name, for most kinds the object's: `orders`, `orders orders_pkey`, `COLUMN orders.id`.
    pub tag: String,
    /// Its kind: `TABLE`, `TABLE DATA`, `FK CONSTRAINT`...
    pub description: String,
    /// When it is restored.
    pub section: Section,
    /// Whether its data is the text of COPY, rather than INSERT statements.
    pub is_copy: bool,
    /// The schema of its object; empty for objects that have none.
    pub namespace: String,
    /// The owner of its object.
    pub owner: String,
    /// Numbers of the entries that must be restored before it.
    pub dependencies: Vec<i32>,
}

impl ArchiveHead {
    /// Reads the head of an archive; `bytes` may go on behind it.
    ///
    /// # Errors
    /// [`PostgresError::MalformedArchive`] for what is not a whole head of a known version.
    pub fn read(bytes: &[u8]) -> Result<Self, PostgresError> {
        let mut parser = HeadParser::new(bytes.len() as u64);
        match parser.update(bytes)? {
            Some(_) => parser.finish(),
            None => Err(malformed("it ends within its table of contents")),
        }
    }
}

/// Bytes of the shortest entry there can be: two integers, eleven empty strings, one null, an offset.
const SHORTEST_ENTRY: u64 = 60;

/// Reads a head as it arrives.
#[derive(Debug)]
pub(super) struct HeadParser {
    limit: u64,
    consumed: u64,
    /// The beginning of an item that is not all there.
    pending: Vec<u8>,
    /// How long `pending` must be before it is worth another look.
    needed: usize,
    prologue: Option<Prologue>,
    /// The head of which only the table of contents is expected again.
    original: Option<Prologue>,
    entries: Vec<TocEntry>,
    dump_ids: HashSet<i32>,
}

#[derive(Debug, Clone)]
pub(super) struct Prologue {
    pub(super) version: (u8, u8),
    pub(super) offset_bytes: usize,
    compression: Compression,
    created: Option<NaiveDateTime>,
    database: String,
    server_version: String,
    dump_version: String,
    pub(super) entries: u64,
}

impl HeadParser {
    /// Begins; a head of more than `limit` bytes is refused.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            consumed: 0,
            pending: Vec::new(),
            needed: 0,
            prologue: None,
            original: None,
            entries: Vec::new(),
            dump_ids: HashSet::new(),
        }
    }

    /// Begins a second table of contents of the archive that has this head.
    pub(super) fn repeated(head: &ArchiveHead) -> Self {
        let original = Prologue {
            version: head.version,
            offset_bytes: head.offset_bytes,
            compression: head.compression,
            created: head.created,
            database: head.database.clone(),
            server_version: head.server_version.clone(),
            dump_version: head.dump_version.clone(),
            entries: 0,
        };
        Self { original: Some(original), ..Self::new(head.length) }
    }

    /// Takes the next bytes. Returns how many of them belong to the head when it is complete.
    pub(super) fn update(&mut self, input: &[u8]) -> Result<Option<usize>, PostgresError> {
        let mut used = 0;
        while !self.is_complete() {
            let rest = &input[used..];
            if self.pending.is_empty() {
                match self.step(rest)? {
                    Ok(read) => used += read,
                    Err(needed) => return self.wait(rest.to_vec(), needed).map(|()| None),
                }
                continue;
            }
            // More than is needed, so that an item of many parts is not looked at for each of them.
            let more = (self.needed - self.pending.len()).max(self.pending.len()).min(rest.len());
            self.pending.extend_from_slice(&rest[..more]);
            used += more;
            if self.pending.len() < self.needed {
                return Ok(None);
            }
            let item = std::mem::take(&mut self.pending);
            match self.step(&item)? {
                // The item ends behind what was pending before: what is too much is all from `input`.
                Ok(read) => used = used.saturating_sub(item.len() - read),
                Err(needed) => self.wait(item, needed)?,
            }
        }
        Ok(Some(used))
    }

    pub(super) fn finish(self) -> Result<ArchiveHead, PostgresError> {
        let complete = self.is_complete();
        match self.prologue {
            Some(prologue) if complete => Ok(ArchiveHead {
                version: prologue.version,
                compression: prologue.compression,
                created: prologue.created,
                database: prologue.database,
                server_version: prologue.server_version,
                dump_version: prologue.dump_version,
                entries: self.entries,
                length: self.consumed,
                offset_bytes: prologue.offset_bytes,
            }),
            _ => Err(malformed("it ends within its table of contents")),
        }
    }

    fn is_complete(&self) -> bool {
        self.prologue.as_ref().is_some_and(|prologue| self.entries.len() as u64 == prologue.entries)
    }

    /// Keeps the beginning of an item until `needed` bytes of it are there.
    fn wait(&mut self, item: Vec<u8>, needed: usize) -> Result<(), PostgresError> {
        if self.consumed.saturating_add(needed as u64) > self.limit {
            return Err(self.too_long());
        }
        self.needed = needed;
        self.pending = item;
        Ok(())
    }

    fn too_long(&self) -> PostgresError {
        malformed(format!("its table of contents is longer than {} bytes", self.limit))
    }

    /// Reads one item, the prologue or an entry: how long it was, or how many bytes it needs.
    fn step(&mut self, item: &[u8]) -> Result<Result<usize, usize>, PostgresError> {
        let mut reader = Reader::new(item);
        let outcome = match (&self.prologue, &self.original) {
            (None, None) => read_prologue(&mut reader).map(|prologue| self.prologue = Some(prologue)),
            (None, Some(original)) => {
                read_count(&mut reader).map(|entries| self.prologue = Some(Prologue { entries, ..original.clone() }))
            }
            (Some(prologue), _) => {
                let section = self.entries.last().map_or(Section::PreData, |before| before.section);
                read_entry(&mut reader, prologue, section).map(|entry| self.entries.push(entry))
            }
        };
        match outcome {
            Ok(()) => {}
            Err(Gap::Needs(needed)) => return Ok(Err(needed)),
            Err(Gap::Wrong(what)) => return Err(malformed(what)),
        }
        self.consumed += reader.position() as u64;
        self.check_consistency()?;
        Ok(Ok(reader.position()))
    }

    fn check_consistency(&mut self) -> Result<(), PostgresError> {
        if self.consumed > self.limit {
            return Err(self.too_long());
        }
        match (self.entries.last(), &self.prologue) {
            (Some(entry), _) if !self.dump_ids.insert(entry.dump_id) => {
                Err(malformed(format!("two entries have the number {}", entry.dump_id)))
            }
            (None, Some(prologue)) if prologue.entries.saturating_mul(SHORTEST_ENTRY) > self.limit => {
                Err(self.too_long())
            }
            _ => Ok(()),
        }
    }
}

/// Reads what comes before the entries; the number of them is the last of it.
pub(super) fn read_prologue(reader: &mut Reader<'_>) -> Result<Prologue, Gap> {
    if reader.take(5)? != b"PGDMP" {
        return Err(Gap::Wrong("it does not begin with PGDMP"));
    }
    let version = (reader.byte()?, reader.byte()?);
    reader.byte()?; // revision: never anything but 0
    match version {
        (1, 12..=16) => {}
        (1, 0..12) | (0, _) => return Err(Gap::Wrong("its format is older than that of PostgreSQL 9.0")),
        _ => return Err(Gap::Wrong("its format is newer than that of PostgreSQL 18")),
    }
    if reader.byte()? != 4 {
        return Err(Gap::Wrong("its integers do not have four bytes"));
    }
    let offset_bytes = usize::from(reader.byte()?);
    if !matches!(offset_bytes, 4 | 8) {
        return Err(Gap::Wrong("its offsets have neither four nor eight bytes"));
    }
    if reader.byte()? != 1 {
        return Err(Gap::Wrong("it is not in the custom format"));
    }
    Ok(Prologue {
        version,
        offset_bytes,
        compression: read_compression(reader, version)?,
        created: read_time(reader)?,
        database: reader.text()?,
        server_version: reader.text()?,
        dump_version: reader.text()?,
        entries: read_count(reader)?,
    })
}

fn read_count(reader: &mut Reader<'_>) -> Result<u64, Gap> {
    u64::try_from(reader.int()?).map_err(|_| Gap::Wrong("a negative number of entries"))
}

/// A level until version 1.14, an algorithm from 1.15.
fn read_compression(reader: &mut Reader<'_>, version: (u8, u8)) -> Result<Compression, Gap> {
    if version < (1, 15) {
        return Ok(if reader.int()? == 0 { Compression::None } else { Compression::Gzip });
    }
    match reader.byte()? {
        0 => Ok(Compression::None),
        1 => Ok(Compression::Gzip),
        2 => Ok(Compression::Lz4),
        3 => Ok(Compression::Zstd),
        _ => Err(Gap::Wrong("its compression is unknown")),
    }
}

/// Reads the seven fields of a `struct tm`; `None` if they are no time.
fn read_time(reader: &mut Reader<'_>) -> Result<Option<NaiveDateTime>, Gap> {
    let mut fields = [0i32; 7];
    for field in &mut fields {
        *field = reader.int32()?;
    }
    let [second, minute, hour, day, month, year, _is_dst] = fields;
    let part = |value: i32| u32::try_from(value).ok();
    Ok((|| {
        let date = NaiveDate::from_ymd_opt(year.checked_add(1900)?, part(month.checked_add(1)?)?, part(day)?)?;
        date.and_hms_opt(part(hour)?, part(minute)?, part(second)?)
    })())
}

/// Reads an entry, which follows one in the section `before`.
pub(super) fn read_entry(reader: &mut Reader<'_>, prologue: &Prologue, before: Section) -> Result<TocEntry, Gap> {
    let dump_id = reader.int32()?;
    if dump_id <= 0 {
        return Err(Gap::Wrong("an entry whose number is not positive"));
    }
    let has_data = reader.int()? != 0;
    let table_oid = reader.decimal()?.unwrap_or(0);
    let oid = reader.decimal()?.unwrap_or(0);
    let tag = reader.text()?;
    let description = reader.text()?;
    let section = match reader.int()? {
        1 => before,
        2 => Section::PreData,
        3 => Section::Data,
        4 => Section::PostData,
        _ => return Err(Gap::Wrong("an entry in an unknown section")),
    };
    reader.string()?; // definition
    reader.string()?; // how to drop it
    let is_copy = reader.string()?.is_some_and(|statement| !statement.is_empty());
    let namespace = reader.text()?;
    reader.string()?; // tablespace
    if prologue.version >= (1, 14) {
        reader.string()?; // access method
    }
    if prologue.version >= (1, 16) {
        reader.int()?; // kind of relation
    }
    let owner = reader.text()?;
    reader.string()?; // whether it has OIDs
    let mut dependencies = Vec::new();
    while let Some(dependency) = reader.decimal()? {
        dependencies.push(dependency);
    }
    reader.byte()?; // whether the offset is set
    reader.take(prologue.offset_bytes)?;
    Ok(TocEntry {
        dump_id,
        has_data,
        table_oid,
        oid,
        tag,
        description,
        section,
        is_copy,
        namespace,
        owner,
        dependencies,
    })
}
