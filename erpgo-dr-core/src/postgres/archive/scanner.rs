//! Follows an archive as it streams past.

use std::collections::HashMap;

use super::head::{ArchiveHead, Compression, HeadParser, TocEntry};
use super::reader::{INT_BYTES, decode_int};
use super::rows::{ObjectFingerprint, RowFingerprint};
use super::{PostgresError, malformed};
use crate::postgres::TableContents;

/// Large enough for the table of contents of a few million objects.
const DEFAULT_HEAD_LIMIT: u64 = 1 << 30;

const BLOCK_OF_DATA: u8 = 1;
const BLOCK_OF_LARGE_OBJECTS: u8 = 3;

/// Reads an archive in pieces of any size, and says in the end whether it was whole.
///
/// ```
/// use erpgo_dr_core::postgres::archive::ArchiveScanner;
///
/// let mut scanner = ArchiveScanner::new();
/// assert!(scanner.update(b"PGDMP").is_ok());
/// assert!(scanner.finish().is_err(), "that was not all of it");
/// ```
#[derive(Debug)]
pub struct ArchiveScanner {
    state: State,
    offset: u64,
    /// The first bytes of an integer that is cut.
    cut: [u8; INT_BYTES],
    cut_length: usize,
    head: Option<ArchiveHead>,
    /// Index in the table of contents of every entry whose data has not been seen.
    awaited: HashMap<i32, usize>,
    block: Block,
    tables: Vec<TableContents>,
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveContents {
    /// Everything but the data.
    pub head: ArchiveHead,
    /// The blocks of data in their order in the archive. The rows and checksums of an archive that pg_dump
    /// compressed ([`ArchiveHead::compression`]) are 0, and the bytes are the compressed ones.
    pub tables: Vec<TableContents>,
    /// Bytes of the archive.
    pub length: u64,
}

#[derive(Debug)]
enum State {
    Head(Box<HeadParser>),
    /// Before the type of a block, or at the end.
    BlockType,
    /// Before the number of the entry that a block belongs to.
    DumpId {
        large_objects: bool,
    },
    /// Before the length of a piece of a table's data; 0 ends the block.
    Length,
    /// Within a piece of a table's data.
    Data {
        left: u64,
    },
    /// Before the OID of a large object; 0 ends the block.
    Oid,
    /// Before the length of a piece of a large object; 0 ends the object.
    ObjectLength,
    /// Within a piece of a large object.
    ObjectData {
        left: u64,
    },
    /// After an error.
    Failed,
}

/// The block that is being read.
#[derive(Debug, Default)]
struct Block {
    entry: usize,
    offset: u64,
    /// Bytes of its content, for archives that are not fingerprinted.
    bytes: u64,
    rows: RowFingerprint,
    objects: ObjectFingerprint,
}

impl Default for ArchiveScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl ArchiveScanner {
    /// Begins before the first byte of an archive. A table of contents of more than 1 GiB is refused.
    pub fn new() -> Self {
        Self::with_head_limit(DEFAULT_HEAD_LIMIT)
    }

    /// Begins, and refuses a table of contents of more than `bytes` bytes. The memory that the scanner needs
    /// is bounded by a small multiple of them.
    pub fn with_head_limit(bytes: u64) -> Self {
        Self {
            state: State::Head(Box::new(HeadParser::new(bytes))),
            offset: 0,
            cut: [0; INT_BYTES],
            cut_length: 0,
            head: None,
            awaited: HashMap::new(),
            block: Block::default(),
            tables: Vec::new(),
        }
    }

    /// Takes the next bytes of the archive.
    ///
    /// # Errors
    /// [`PostgresError::MalformedArchive`]; nothing that comes later changes it.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), PostgresError> {
        let outcome = self.consume(bytes);
        if outcome.is_err() {
            self.state = State::Failed;
        }
        outcome
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// [`PostgresError::MalformedArchive`] if it was cut short: within its head, within a block, or before the
    /// data of each entry that should have some was there.
    pub fn finish(self) -> Result<ArchiveContents, PostgresError> {
        match (self.state, self.head) {
            (State::BlockType, Some(head)) => {
                if let Some(missing) = self.awaited.values().min().and_then(|index| head.entries.get(*index)) {
                    return Err(malformed(format!("the data of {} is missing", name_of(missing))));
                }
                Ok(ArchiveContents { head, tables: self.tables, length: self.offset })
            }
            (State::Failed, _) => Err(malformed("it was found damaged before")),
            (State::Head(_), _) | (_, None) => Err(malformed("it ends within its table of contents")),
            (_, Some(head)) => {
                let entry = head.entries.get(self.block.entry);
                Err(malformed(format!("it ends within the data of {}", entry.map_or_else(String::new, name_of))))
            }
        }
    }

    fn consume(&mut self, mut input: &[u8]) -> Result<(), PostgresError> {
        while !input.is_empty() {
            let used = match &mut self.state {
                State::Head(parser) => match parser.update(input)? {
                    Some(used) => {
                        self.end_head()?;
                        used
                    }
                    None => input.len(),
                },
                State::BlockType => {
                    self.begin_block(input[0])?;
                    1
                }
                State::Data { left } => {
                    let used = at_most(input, *left);
                    *left -= used as u64;
                    if *left == 0 {
                        self.state = State::Length;
                    }
                    self.take_rows(&input[..used])?;
                    used
                }
                State::ObjectData { left } => {
                    let used = at_most(input, *left);
                    *left -= used as u64;
                    if *left == 0 {
                        self.state = State::ObjectLength;
                    }
                    self.block.objects.update(&input[..used]);
                    used
                }
                State::DumpId { .. } | State::Length | State::Oid | State::ObjectLength => self.take_int(input)?,
                State::Failed => return Err(malformed("it was found damaged before")),
            };
            input = &input[used..];
            self.offset += used as u64;
        }
        Ok(())
    }

    fn end_head(&mut self) -> Result<(), PostgresError> {
        let State::Head(parser) = std::mem::replace(&mut self.state, State::BlockType) else { return Ok(()) };
        let head = parser.finish()?;
        let with_data = head.entries.iter().enumerate().filter(|(_, entry)| entry.has_data);
        self.awaited = with_data.map(|(index, entry)| (entry.dump_id, index)).collect();
        self.head = Some(head);
        Ok(())
    }

    fn begin_block(&mut self, block_type: u8) -> Result<(), PostgresError> {
        self.block = Block { offset: self.offset, ..Block::default() };
        self.state = match block_type {
            BLOCK_OF_DATA => State::DumpId { large_objects: false },
            BLOCK_OF_LARGE_OBJECTS => State::DumpId { large_objects: true },
            other => return Err(malformed(format!("a block of unknown type {other} at {}", self.offset))),
        };
        Ok(())
    }

    /// Takes an integer, or what is there of it.
    #[inline]
    fn take_int(&mut self, input: &[u8]) -> Result<usize, PostgresError> {
        if self.cut_length == 0
            && let Some(bytes) = input.first_chunk::<INT_BYTES>()
        {
            self.act_on(decode_int(*bytes), INT_BYTES)?;
            return Ok(INT_BYTES);
        }
        let used = (INT_BYTES - self.cut_length).min(input.len());
        self.cut[self.cut_length..self.cut_length + used].copy_from_slice(&input[..used]);
        self.cut_length += used;
        if self.cut_length == INT_BYTES {
            self.cut_length = 0;
            self.act_on(decode_int(self.cut), used)?;
        }
        Ok(used)
    }

    /// Acts on an integer, whose last `used` bytes are not counted in the offset yet.
    #[inline]
    fn act_on(&mut self, value: i64, used: usize) -> Result<(), PostgresError> {
        match self.state {
            State::Length => match value {
                1.. => self.state = State::Data { left: value.unsigned_abs() },
                0 => self.end_block(used, false)?,
                _ => return Err(self.bad_length()),
            },
            State::ObjectLength => match value {
                1.. => self.state = State::ObjectData { left: value.unsigned_abs() },
                0 => {
                    self.block.objects.end();
                    self.state = State::Oid;
                }
                _ => return Err(self.bad_length()),
            },
            State::Oid => match value {
                0 => self.end_block(used, true)?,
                _ => {
                    // pg_dump writes the OID as if it were signed.
                    let oid = if value < 0 { (value as i32).cast_unsigned() } else { value as u32 };
                    self.block.objects.begin(oid);
                    self.state = State::ObjectLength;
                }
            },
            State::DumpId { large_objects } => self.find_entry(value, large_objects)?,
            _ => {}
        }
        Ok(())
    }

    fn find_entry(&mut self, dump_id: i64, large_objects: bool) -> Result<(), PostgresError> {
        let found = i32::try_from(dump_id).ok().and_then(|id| self.awaited.remove(&id));
        let entry = found.and_then(|index| Some((index, self.head.as_ref()?.entries.get(index)?)));
        let Some((index, entry)) = entry else {
            return Err(malformed(format!("data for entry {dump_id}, which should have none, or no more")));
        };
        if (entry.description == "BLOBS") != large_objects {
            return Err(malformed(format!("data of a wrong type for {}", name_of(entry))));
        }
        self.block.entry = index;
        self.state = if large_objects { State::Oid } else { State::Length };
        Ok(())
    }

    #[inline]
    fn take_rows(&mut self, text: &[u8]) -> Result<(), PostgresError> {
        self.block.bytes += text.len() as u64;
        if !self.is_plain() {
            return Ok(());
        }
        self.block.rows.update(text).map_err(|what| self.damaged(what))
    }

    fn is_plain(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.compression == Compression::None)
    }

    fn end_block(&mut self, used: usize, large_objects: bool) -> Result<(), PostgresError> {
        let plain = self.is_plain();
        let Some(entry) = self.head.as_ref().and_then(|head| head.entries.get(self.block.entry)) else {
            return Err(malformed("a block without an entry"));
        };
        let (rows, bytes, checksum) = match (&self.block, large_objects) {
            (Block { objects, .. }, true) if plain => (objects.objects, objects.bytes, objects.checksum),
            (Block { objects, .. }, true) => (0, objects.bytes, 0),
            (Block { rows, .. }, false) if plain => {
                rows.finish(entry.is_copy).map_err(|what| self.damaged(what))?;
                (rows.rows, rows.bytes, rows.checksum)
            }
            (Block { bytes, .. }, false) => (0, *bytes, 0),
        };
        let name = if large_objects { "BLOBS" } else { entry.tag.as_str() };
        self.tables.push(TableContents {
            schema: entry.namespace.clone(),
            name: name.to_owned(),
            dump_id: entry.dump_id,
            rows,
            bytes,
            checksum,
            offset: self.block.offset,
            length: self.offset + used as u64 - self.block.offset,
        });
        self.state = State::BlockType;
        Ok(())
    }

    fn damaged(&self, what: &str) -> PostgresError {
        let entry = self.head.as_ref().and_then(|head| head.entries.get(self.block.entry));
        malformed(format!("{what} in the data of {}", entry.map_or_else(String::new, name_of)))
    }

    fn bad_length(&self) -> PostgresError {
        self.damaged("a piece of negative length")
    }
}

fn at_most(input: &[u8], left: u64) -> usize {
    usize::try_from(left).map_or(input.len(), |left| left.min(input.len()))
}

fn name_of(entry: &TocEntry) -> String {
    if entry.namespace.is_empty() { entry.tag.clone() } else { format!("{}.{}", entry.namespace, entry.tag) }
}
