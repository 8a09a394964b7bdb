//! Writes blocks of data as pg_dump does, but for the size of the pieces: it makes one of each row, here a piece holds many.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::reader::{INT_BYTES, encode_int};
use super::rows::RowFingerprint;
use super::scanner::BLOCK_OF_DATA;
use super::{PostgresError, malformed};

/// Bytes of COPY text that become a piece of their own.
const PIECE: usize = 256 * 1024;
/// What pg_dump writes behind the rows of a COPY.
const TERMINATOR: &[u8] = b"\\.\n\n\n";

/// Bytes before the first row of a block: its type, and the number of its entry.
pub(crate) const BLOCK_START: u64 = 1 + INT_BYTES as u64;
/// Bytes behind the last row of a block that [`BlockWriter`] wrote.
pub(crate) const BLOCK_END: u64 = (INT_BYTES + TERMINATOR.len() + INT_BYTES) as u64;

/// Returns what comes before the rows of a block.
pub(crate) fn block_start(dump_id: i32) -> Bytes {
    let mut start = BytesMut::new();
    start.put_u8(BLOCK_OF_DATA);
    start.extend_from_slice(&encode_int(dump_id));
    start.freeze()
}

/// Returns what comes behind the rows of a block.
pub(crate) fn block_end() -> Bytes {
    let mut end = BytesMut::new();
    end.extend_from_slice(&encode_int(TERMINATOR.len() as i32));
    end.extend_from_slice(TERMINATOR);
    end.extend_from_slice(&encode_int(0));
    end.freeze()
}

/// Some rows of a block, as they lie among what a [`BlockWriter`] wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BlockExtent {
    /// Where they begin, with the start of the block if it begins with them.
    pub(crate) offset: u64,
    /// Their bytes, with the end of the block if it ends with them.
    pub(crate) length: u64,
    pub(crate) rows: u64,
    /// Bytes of their COPY text.
    pub(crate) bytes: u64,
    pub(crate) checksum: u64,
}

/// Makes extents of blocks out of COPY text.
#[derive(Debug, Default)]
pub(crate) struct BlockWriter {
    buffer: BytesMut,
    /// Where in the buffer the length of the piece lies that is being filled.
    piece: Option<usize>,
    /// Bytes that have left the buffer.
    gone: u64,
    extent: u64,
    rows: RowFingerprint,
}

impl BlockWriter {
    /// Begins an extent; with `dump_id` it is the first of its block.
    pub(crate) fn begin(&mut self, dump_id: Option<i32>) {
        self.extent = self.position();
        self.rows = RowFingerprint::default();
        if let Some(id) = dump_id {
            self.buffer.extend_from_slice(&block_start(id));
        }
    }

    /// Takes rows. Returns what is ready to be stored.
    pub(crate) fn push(&mut self, text: &[u8]) -> Result<Option<Bytes>, PostgresError> {
        if self.piece.is_none() {
            self.buffer.reserve(PIECE + PIECE / 4);
            self.piece = Some(self.buffer.len());
            self.buffer.put_bytes(0, INT_BYTES);
        }
        self.buffer.extend_from_slice(text);
        if self.buffer.len() < PIECE {
            return Ok(None);
        }
        self.close_piece()?;
        Ok(Some(self.take()))
    }

    /// Ends the extent; `is_last` of its block.
    pub(crate) fn end(&mut self, is_last: bool) -> Result<BlockExtent, PostgresError> {
        self.close_piece()?;
        self.rows.finish(false).map_err(malformed)?;
        if is_last {
            self.buffer.extend_from_slice(&block_end());
        }
        Ok(BlockExtent {
            offset: self.extent,
            length: self.position() - self.extent,
            rows: self.rows.rows,
            bytes: self.rows.bytes,
            checksum: self.rows.checksum,
        })
    }

    /// Returns what is left, between two extents.
    pub(crate) fn take(&mut self) -> Bytes {
        self.gone += self.buffer.len() as u64;
        self.buffer.split().freeze()
    }

    fn position(&self) -> u64 {
        self.gone + self.buffer.len() as u64
    }

    fn close_piece(&mut self) -> Result<(), PostgresError> {
        let Some(at) = self.piece.take() else { return Ok(()) };
        let text = &self.buffer[at + INT_BYTES..];
        self.rows.update(text).map_err(malformed)?;
        let length = i32::try_from(text.len()).map_err(|_| malformed("a row of more than 2 GiB"))?;
        self.buffer[at..at + INT_BYTES].copy_from_slice(&encode_int(length));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::archive::ArchiveScanner;

    const VECTOR: &[u8] = include_bytes!("../../../tests/vectors/pg/postgres-17.dump");

    /// Writes the rows of a block in two extents, and puts it into the place of the one that pg_dump wrote.
    #[test]
    fn a_block_in_larger_pieces_is_the_same_to_a_reader() {
        let mut scanner = ArchiveScanner::new();
        scanner.update(VECTOR).unwrap();
        let original = scanner.finish().unwrap();
        let table = original.tables.iter().find(|table| table.name == "items").unwrap();
        let mut writer = BlockWriter::default();
        writer.begin(Some(table.dump_id));
        assert_eq!(writer.push(b"1\tone\n2\t\\N\n").unwrap(), None);
        let first = writer.end(false).unwrap();
        writer.begin(None);
        assert_eq!(writer.push(b"3\ttwo\\nlines\n").unwrap(), None);
        assert_eq!(writer.push(b"4\t\n").unwrap(), None);
        let second = writer.end(true).unwrap();
        let block = writer.take();
        assert_eq!((first.offset, first.length + second.length), (0, block.len() as u64));
        assert_eq!((second.offset, first.rows, second.rows), (first.length, 2, 2));
        assert_eq!(first.checksum.wrapping_add(second.checksum), table.checksum);
        assert!(block.starts_with(&block_start(table.dump_id)) && block.ends_with(&block_end()));
        assert_eq!((BLOCK_START, BLOCK_END), (block_start(1).len() as u64, block_end().len() as u64));

        let (begin, end) = (table.offset as usize, (table.offset + table.length) as usize);
        let mut scanner = ArchiveScanner::new();
        for bytes in [&VECTOR[..begin], &block, &VECTOR[end..]] {
            scanner.update(bytes).unwrap();
        }
        let read = scanner.finish().unwrap();
        crate::postgres::compare_tables(&original.tables, &read.tables).unwrap();
    }

    #[test]
    fn pieces_leave_as_they_fill_and_a_row_without_its_end_is_refused() {
        let mut writer = BlockWriter::default();
        writer.begin(Some(7));
        let row = [vec![b'x'; 100_000], b"\n".to_vec()].concat();
        let stored: Vec<Bytes> = (0..7).filter_map(|_| writer.push(&row).unwrap()).collect();
        assert_eq!(stored.len(), 2);
        let extent = writer.end(true).unwrap();
        assert_eq!((extent.rows, extent.bytes), (7, 700_007));
        let length: u64 = stored.iter().chain([&writer.take()]).map(|bytes| bytes.len() as u64).sum();
        assert_eq!(extent.length, length);
        writer.begin(None);
        writer.push(b"half a row").unwrap();
        assert!(writer.end(true).is_err());
    }
}
