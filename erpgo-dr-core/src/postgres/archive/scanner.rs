//! Follows an archive as it streams past.

use std::collections::HashMap;

use super::head::{ArchiveHead, Compression, HeadParser, TocEntry};
use super::reader::{INT_BYTES, decode_int};
use super::rows::{ObjectFingerprint, RowFingerprint};
use super::{PostgresError, malformed};
use crate::postgres::TableContents;

/// Large enough for the table of contents of a few million objects.
const DEFAULT_HEAD_LIMIT: u64 = 1 << 30;

/// The first byte of a table of contents, whose first integer is positive.
///
/// Since PostgreSQL 16 pg_dump opens its standard output for appending (`_allocAH` in `pg_backup_archiver.c`). Of
/// `pg_dump > file` it therefore puts the table of contents that it writes again, with the offsets of the
/// data, behind the data, where pg_restore never looks.
const REPEATED_TABLE_OF_CONTENTS: u8 = 0;
pub(super) const BLOCK_OF_DATA: u8 = 1;
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
    /// Within the second table of contents.
    Repeated(Box<HeadParser>),
    /// Behind it.
    End,
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
            (State::BlockType | State::End, Some(head)) => {
                if let Some(missing) = self.awaited.values().min().and_then(|index| head.entries.get(*index)) {
                    return Err(malformed(format!("the data of {} is missing", name_of(missing))));
                }
                Ok(ArchiveContents { head, tables: self.tables, length: self.offset })
            }
            (State::Failed, _) => Err(malformed("it was found damaged before")),
            (State::Head(_) | State::Repeated(_), _) | (_, None) => {
                Err(malformed("it ends within its table of contents"))
            }
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
                State::BlockType if input[0] == REPEATED_TABLE_OF_CONTENTS => {
                    self.begin_repetition()?;
                    0
                }
                State::BlockType => {
                    self.begin_block(input[0])?;
                    1
                }
                State::Repeated(parser) => match parser.update(input)? {
                    Some(used) => {
                        self.end_repetition()?;
                        used
                    }
                    None => input.len(),
                },
                State::End => return Err(malformed("there is more behind its end")),
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

    fn begin_repetition(&mut self) -> Result<(), PostgresError> {
        match &self.head {
            Some(head) if self.awaited.is_empty() => self.state = State::Repeated(Box::new(HeadParser::repeated(head))),
            _ => return Err(malformed(format!("a block of unknown type 0 at {}", self.offset))),
        }
        Ok(())
    }

    fn end_repetition(&mut self) -> Result<(), PostgresError> {
        let State::Repeated(parser) = std::mem::replace(&mut self.state, State::End) else { return Ok(()) };
        let repeated = parser.finish()?;
        if self.head.as_ref().is_none_or(|head| head.entries != repeated.entries) {
            return Err(malformed("its second table of contents is another"));
        }
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
            cuts: Vec::new(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    const VECTORS: [&[u8]; 3] = [
        include_bytes!("../../../tests/vectors/pg/postgres-15.dump"),
        include_bytes!("../../../tests/vectors/pg/postgres-17.dump"),
        include_bytes!("../../../tests/vectors/pg/postgres-18.dump"),
    ];

    fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<ArchiveContents, PostgresError> {
        let mut scanner = ArchiveScanner::new();
        for piece in pieces {
            scanner.update(piece)?;
        }
        scanner.finish()
    }

    fn sum(rows: &[&[u8]]) -> u64 {
        rows.iter().fold(0, |sum, row| sum.wrapping_add(xxh3_64(row)))
    }

    #[test]
    fn known_dumps_hold_what_was_put_into_them() {
        for (vector, version) in VECTORS.into_iter().zip([(1, 14), (1, 16), (1, 16)]) {
            let contents = scan([vector]).unwrap();
            assert_eq!(contents.head.version, version);
            assert_eq!(contents.head.compression, Compression::None);
            assert!(contents.head.created.is_some());
            assert_eq!(contents.head.length, contents.tables[0].offset);
            let ends = contents.tables.iter().map(|table| table.offset + table.length);
            let begins = contents.tables.iter().skip(1).map(|table| table.offset).chain([vector.len() as u64]);
            assert!(ends.eq(begins), "block follows block");

            let find = |name: &str| contents.tables.iter().find(|table| table.name == name).unwrap();
            let (empty, items, objects) = (find("empty"), find("items"), find("BLOBS"));
            assert_eq!((empty.rows, empty.bytes, empty.checksum), (0, 0, 0));
            let rows: [&[u8]; 4] = [b"1\tone", b"2\t\\N", b"3\ttwo\\nlines", b"4\t"];
            assert_eq!((items.rows, items.bytes, items.checksum), (4, 27, sum(&rows)));
            let of_objects =
                [[&90_001u32.to_le_bytes(), b"large".as_slice()].concat(), 4_000_000_000u32.to_le_bytes().into()];
            assert_eq!((objects.rows, objects.bytes), (2, 5));
            assert_eq!(objects.checksum, sum(&of_objects.each_ref().map(Vec::as_slice)));
            assert_eq!(ArchiveHead::read(vector).unwrap(), contents.head);
        }
    }

    #[test]
    fn a_dump_cut_anywhere_is_not_whole() {
        for vector in VECTORS {
            for length in 0..vector.len() {
                let outcome = scan([&vector[..length]]);
                assert!(matches!(outcome, Err(PostgresError::MalformedArchive(_))), "{length}");
            }
            let longer = [vector, &[0]].concat();
            assert!(scan([longer.as_slice()]).is_err());
            let block = &vector[usize::try_from(scan([vector]).unwrap().tables[0].offset).unwrap()..];
            let twice = [vector, block].concat();
            assert!(scan([twice.as_slice()]).is_err(), "the same data twice");
        }
    }

    #[test]
    fn a_missing_block_is_named() {
        for vector in VECTORS {
            let tables = scan([vector]).unwrap().tables;
            for table in &tables {
                let (begin, end) = (table.offset as usize, (table.offset + table.length) as usize);
                let error = scan([&vector[..begin], &vector[end..]]).unwrap_err().to_string();
                assert!(error.contains("is missing"), "{error}");
                assert!(table.name == "BLOBS" || error.contains(&table.name), "{error}");
            }
        }
    }

    #[test]
    fn a_dump_redirected_into_a_file_may_have_its_table_of_contents_twice() {
        let redirected = include_bytes!("../../../tests/vectors/pg/postgres-17-redirected.dump");
        let contents = scan([redirected.as_slice()]).unwrap();
        assert_eq!(scan(redirected.chunks(1)).unwrap(), contents);
        let last = contents.tables.last().unwrap();
        let end = usize::try_from(last.offset + last.length).unwrap();
        assert!(end + 2000 < redirected.len());
        let once = scan([&redirected[..end]]).unwrap();
        assert_eq!((once.head, once.tables), (contents.head, contents.tables));
        for length in end + 1..redirected.len() {
            assert!(scan([&redirected[..length]]).is_err(), "{length}");
        }
        assert!(scan([redirected.as_slice(), &[0]]).is_err());
        let mut other = redirected.to_vec();
        let position = end + other[end..].windows(5).position(|bytes| bytes == b"items").unwrap();
        other[position] = b'j';
        assert!(scan([other.as_slice()]).is_err());
    }

    #[test]
    fn the_head_limit_holds() {
        for vector in VECTORS {
            let length = scan([vector]).unwrap().head.length;
            let mut scanner = ArchiveScanner::with_head_limit(length);
            scanner.update(vector).unwrap();
            assert!(ArchiveScanner::with_head_limit(length - 1).update(vector).is_err());
        }
        // A string that claims two gigabytes is refused before it is waited for.
        let mut head = VECTORS[0][..40].to_vec();
        head.extend([0, 0, 0, 0, 0x7f]);
        let mut scanner = ArchiveScanner::with_head_limit(1 << 20);
        let outcome = head.chunks(1).try_for_each(|byte| scanner.update(byte));
        assert!(outcome.is_err() || scanner.finish().is_err());
    }

    #[test]
    fn after_an_error_there_is_nothing_more() {
        let mut scanner = ArchiveScanner::new();
        assert!(scanner.update(b"not a dump").is_err());
        assert!(scanner.update(VECTORS[0]).is_err());
        assert!(scanner.finish().is_err());
    }

    #[test]
    fn no_flipped_bit_panics_and_each_cut_of_it_is_judged_alike() {
        for vector in VECTORS {
            let mut bytes = vector.to_vec();
            for position in 0..bytes.len() {
                for bit in 0..8 {
                    bytes[position] ^= 1 << bit;
                    let (whole, cut) = (scan([bytes.as_slice()]), scan(bytes.chunks(61)));
                    assert!(whole.ok() == cut.ok(), "{position} {bit}");
                    bytes[position] ^= 1 << bit;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_chunking_gives_the_same(vector in 0..VECTORS.len(), cuts in prop::collection::vec(0usize..6100, 0..40)) {
            let mut rest = VECTORS[vector];
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rest.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut position = 0;
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut - position);
                pieces.push(piece);
                rest = behind;
                position = cut;
            }
            pieces.push(rest);
            prop_assert_eq!(scan(pieces).unwrap(), scan([VECTORS[vector]]).unwrap());
        }

        #[test]
        fn nothing_panics(noise in prop::collection::vec(any::<u8>(), 0..300), vector in 0..VECTORS.len(), at in 0usize..6000) {
            let mut bytes = VECTORS[vector].to_vec();
            let at = at.min(bytes.len());
            bytes.splice(at..(at + noise.len()).min(bytes.len()), noise);
            let _ = scan([bytes.as_slice()]);
        }
    }
}
