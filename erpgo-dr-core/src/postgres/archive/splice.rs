//! Adds entries for data that pg_dump was told to leave out, so that the archive can have their blocks behind its own.

use std::collections::HashMap;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::head::{HeadParser, Prologue, Section, TocEntry, read_entry, read_prologue};
use super::reader::{Gap, INT_BYTES, Reader, encode_int};
use super::{PostgresError, malformed};

/// The catalogue that tables are in: `pg_class`.
const TABLES: u32 = 1259;
/// `K_OFFSET_POS_NOT_SET`: there is data, and it must be looked for.
const OFFSET_NOT_SET: u8 = 1;
/// `SECTION_DATA`.
const SECTION_DATA: i32 = 3;

/// A table whose data can be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddedData {
    /// The table.
    pub(crate) oid: u32,
    /// The statement that takes the data in: `COPY a.b (c) FROM stdin;` and the end of the line.
    pub(crate) statement: String,
}

/// A head with entries that were added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SplicedHead {
    /// The head.
    pub(crate) bytes: Bytes,
    /// By how many bytes it became longer.
    pub(crate) growth: u64,
    /// What was added, in its order: the place of the table among those that were given, and the number of its new entry.
    pub(crate) added: Vec<(usize, i32)>,
}

/// Gathers the head of an archive as it arrives.
#[derive(Debug)]
pub(crate) struct HeadCollector {
    parser: HeadParser,
    bytes: BytesMut,
}

impl HeadCollector {
    /// Begins before the first byte of an archive; a head of more than `limit` bytes is refused.
    pub(crate) fn new(limit: u64) -> Self {
        Self { parser: HeadParser::new(limit), bytes: BytesMut::new() }
    }

    /// Takes the next bytes. Returns the whole head, and what of `chunk` lies behind it, when it is complete.
    pub(crate) fn take(&mut self, mut chunk: Bytes) -> Result<Option<(Bytes, Bytes)>, PostgresError> {
        let used = self.parser.update(&chunk)?;
        self.bytes.extend_from_slice(&chunk[..used.unwrap_or(chunk.len())]);
        Ok(used.map(|used| (self.bytes.split().freeze(), chunk.split_off(used))))
    }
}

/// Adds an entry of data for each of `tables` that `head` defines and has no data of.
///
/// The new entries are the last of the data, so that their blocks come behind all others, in the order of `tables`. pg_restore
/// makes indexes, constraints and triggers wait for them as for any others.
pub(crate) fn add_data(head: &[u8], tables: &[AddedData]) -> Result<SplicedHead, PostgresError> {
    splice(head, tables).map_err(|gap| match gap {
        Gap::Needs(_) => malformed("it ends within its table of contents"),
        Gap::Wrong(what) => malformed(what),
    })
}

fn splice(head: &[u8], tables: &[AddedData]) -> Result<SplicedHead, Gap> {
    let mut reader = Reader::new(head);
    let prologue = read_prologue(&mut reader)?;
    let count_at = reader.position() - INT_BYTES;
    let places: HashMap<u32, usize> = tables.iter().enumerate().map(|(place, table)| (table.oid, place)).collect();
    let mut found: Vec<Option<TocEntry>> = vec![None; tables.len()];
    let mut has_data = vec![false; tables.len()];
    let (mut section, mut insert_at, mut last_id) = (Section::PreData, None, 0);
    for _ in 0..prologue.entries {
        let begin = reader.position();
        let entry = read_entry(&mut reader, &prologue, section)?;
        section = entry.section;
        if section == Section::PostData {
            insert_at.get_or_insert(begin);
        }
        last_id = entry.dump_id.max(last_id);
        if let Some(place) = places.get(&entry.oid) {
            has_data[*place] |= entry.description == "TABLE DATA";
            if entry.description == "TABLE" && entry.table_oid == TABLES {
                found[*place] = Some(entry);
            }
        }
    }
    let insert_at = insert_at.unwrap_or(reader.position());
    let mut added = Vec::new();
    let mut entries = BytesMut::new();
    for (place, table) in found.iter().enumerate() {
        let Some(table) = table.as_ref().filter(|_| !has_data[place]) else { continue };
        last_id = last_id.checked_add(1).ok_or(Gap::Wrong("no number is left for another entry"))?;
        encode(&mut entries, last_id, table, &tables[place].statement, &prologue)?;
        added.push((place, last_id));
    }
    let count = prologue.entries + added.len() as u64;
    let count = i32::try_from(count).map_err(|_| Gap::Wrong("too many entries"))?;
    let mut bytes = BytesMut::with_capacity(head.len() + entries.len());
    bytes.extend_from_slice(&head[..count_at]);
    bytes.extend_from_slice(&encode_int(count));
    bytes.extend_from_slice(&head[count_at + INT_BYTES..insert_at]);
    bytes.extend_from_slice(&entries);
    bytes.extend_from_slice(&head[insert_at..]);
    Ok(SplicedHead { bytes: bytes.freeze(), growth: entries.len() as u64, added })
}

/// Writes the entry as pg_dump does (`dumpTableData`, `WriteToc`).
fn encode(out: &mut BytesMut, dump_id: i32, table: &TocEntry, statement: &str, prologue: &Prologue) -> Result<(), Gap> {
    let string = |out: &mut BytesMut, text: Option<&str>| {
        let length = text.map_or(Ok(-1), |text| i32::try_from(text.len()));
        out.extend_from_slice(&encode_int(length.map_err(|_| Gap::Wrong("a string that is too long"))?));
        out.extend_from_slice(text.unwrap_or_default().as_bytes());
        Ok(())
    };
    out.extend_from_slice(&encode_int(dump_id));
    out.extend_from_slice(&encode_int(1)); // has data
    string(out, Some("0"))?; // a table's data is in no catalogue
    string(out, Some(&table.oid.to_string()))?;
    string(out, Some(&table.tag))?;
    string(out, Some("TABLE DATA"))?;
    out.extend_from_slice(&encode_int(SECTION_DATA));
    string(out, None)?; // definition
    string(out, None)?; // how to drop it
    string(out, Some(statement))?;
    string(out, Some(&table.namespace))?;
    string(out, None)?; // tablespace
    if prologue.version >= (1, 14) {
        string(out, None)?; // access method
    }
    if prologue.version >= (1, 16) {
        out.extend_from_slice(&encode_int(0)); // kind of relation
    }
    string(out, Some(&table.owner))?;
    string(out, Some("false"))?; // whether it has OIDs
    string(out, Some(&table.dump_id.to_string()))?;
    string(out, None)?; // the end of the dependencies
    out.put_u8(OFFSET_NOT_SET);
    out.put_bytes(0, prologue.offset_bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::archive::ArchiveHead;

    const VECTORS: [&[u8]; 3] = [
        include_bytes!("../../../tests/vectors/pg/postgres-15.dump"),
        include_bytes!("../../../tests/vectors/pg/postgres-17.dump"),
        include_bytes!("../../../tests/vectors/pg/postgres-18.dump"),
    ];

    /// Reads the entries of a head, each with its bytes.
    fn entries(head: &[u8]) -> (Prologue, Vec<(TocEntry, &[u8])>) {
        let mut reader = Reader::new(head);
        let prologue = read_prologue(&mut reader).unwrap();
        let mut section = Section::PreData;
        let entry = |_| {
            let begin = reader.position();
            let entry = read_entry(&mut reader, &prologue, section).unwrap();
            section = entry.section;
            (entry, &head[begin..reader.position()])
        };
        let entries = (0..prologue.entries).map(entry).collect();
        (prologue, entries)
    }

    #[test]
    fn an_entry_is_what_pg_dump_writes() {
        for vector in VECTORS {
            let (prologue, entries) = entries(vector);
            let mut compared = 0;
            for (data, bytes) in entries.iter().filter(|(entry, _)| entry.description == "TABLE DATA") {
                let is_table = |entry: &&TocEntry| entry.description == "TABLE" && entry.oid == data.oid;
                let table = entries.iter().map(|(entry, _)| entry).find(is_table).unwrap();
                let at = bytes.windows(5).position(|window| window == b"COPY ").unwrap();
                let length = bytes[at..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
                let statement = str::from_utf8(&bytes[at..at + length]).unwrap();
                let mut encoded = BytesMut::new();
                encode(&mut encoded, data.dump_id, table, statement, &prologue).unwrap();
                // A dump into a file knows the offsets in the end.
                let before_offset = bytes.len() - 1 - prologue.offset_bytes;
                assert_eq!(encoded[..before_offset], bytes[..before_offset]);
                assert_eq!(encoded.len(), bytes.len());
                compared += 1;
            }
            assert!(compared >= 2);
        }
    }

    #[test]
    fn data_is_added_once_and_before_what_needs_it() {
        for vector in VECTORS {
            let (_, all) = entries(vector);
            let oid = |tag: &str| {
                let is_it = |(entry, _): &&(TocEntry, &[u8])| entry.description == "TABLE" && entry.tag == tag;
                all.iter().find(is_it).unwrap().0.oid
            };
            let wanted = |oids: &[u32]| {
                oids.iter().map(|oid| AddedData { oid: *oid, statement: "COPY".into() }).collect::<Vec<_>>()
            };
            // As it is, each has its data already, and a table that is not there is passed over.
            let untouched = add_data(vector, &wanted(&[oid("items"), 4_000_000_000])).unwrap();
            assert_eq!((untouched.growth, untouched.added.len(), &untouched.bytes[..]), (0, 0, vector));

            // With the entry of its data taken out, it is wanted again.
            let data =
                all.iter().find(|(entry, _)| entry.description == "TABLE DATA" && entry.tag == "items").unwrap().1;
            let at = data.as_ptr() as usize - vector.as_ptr() as usize;
            let count_at = all[0].1.as_ptr() as usize - vector.as_ptr() as usize - INT_BYTES;
            let count = encode_int(i32::try_from(all.len() - 1).unwrap());
            let without = [&vector[..count_at], &count, &vector[count_at + INT_BYTES..at], &vector[at + data.len()..]];
            let head = add_data(&without.concat(), &wanted(&[4_000_000_000, oid("items")])).unwrap();
            let last = all.iter().map(|(entry, _)| entry.dump_id).max().unwrap();
            assert_eq!(head.added, [(1, last + 1)]);
            assert_eq!(head.growth, (head.bytes.len() - (vector.len() - data.len())) as u64);
            let read = ArchiveHead::read(&head.bytes).unwrap();
            assert_eq!(read.entries.len(), all.len());
            let place = read.entries.iter().position(|entry| entry.dump_id == last + 1).unwrap();
            let (before, behind) = (&read.entries[..place], &read.entries[place + 1..]);
            assert!(before.iter().all(|entry| entry.section <= Section::Data));
            assert!(!behind.is_empty() && behind.iter().all(|entry| entry.section == Section::PostData));
        }
    }

    #[test]
    fn a_head_is_gathered_however_it_is_cut() {
        for vector in VECTORS {
            let length = usize::try_from(ArchiveHead::read(vector).unwrap().length).unwrap();
            for size in [1, 7, 61, 100_000] {
                let mut collector = HeadCollector::new(1 << 20);
                let mut chunks = vector.chunks(size).map(Bytes::copy_from_slice);
                let (head, rest) = chunks.find_map(|chunk| collector.take(chunk).unwrap()).unwrap();
                assert_eq!(head, vector[..length]);
                assert_eq!(rest, vector[length..length.next_multiple_of(size).min(vector.len())]);
            }
        }
    }
}
