//! What fuzz targets reach of what a server sends.

use bytes::{Bytes, BytesMut};

use super::{IncrementalParser, TarEvent, TarStream};

/// Reads a tar archive that comes in pieces of so many bytes. Returns its entries with their contents, as text, and how it ended.
pub fn archive(bytes: &[u8], piece: usize) -> (Vec<String>, String) {
    let (mut stream, mut found, mut contents) = (TarStream::default(), Vec::new(), BytesMut::new());
    for piece in bytes.chunks(piece.max(1)) {
        let mut data = Bytes::copy_from_slice(piece);
        loop {
            match stream.next(&mut data) {
                Ok(Some(TarEvent::Entry(entry))) => found.push(format!("{entry:?}")),
                Ok(Some(TarEvent::Contents(piece))) => contents.extend_from_slice(&piece),
                Ok(Some(TarEvent::End)) => found.push(format!("{:?}", contents.split())),
                Ok(None) => break,
                Err(error) => return (found, error.to_string()),
            }
        }
    }
    let ended = stream.finish().map_or_else(|error| error.to_string(), |()| String::new());
    (found, format!("{ended}{contents:?}"))
}

/// Reads the beginning of a file of which changes follow, and that comes in pieces of so many bytes. Returns the blocks that follow, how many blocks
/// the file has, and how many bytes lie behind the beginning; or what is wrong, and nothing where it is cut short.
pub fn changes(bytes: &[u8], piece: usize) -> Result<Option<(Vec<u32>, u32, usize)>, String> {
    let (mut parser, mut rest) = (IncrementalParser::default(), bytes.len());
    for piece in bytes.chunks(piece.max(1)) {
        let mut data = Bytes::copy_from_slice(piece);
        let header = parser.next(&mut data).map_err(|error| error.to_string())?;
        rest -= piece.len() - data.len();
        if let Some(header) = header {
            let length = header.length(u32::MAX).unwrap_or_default();
            return Ok(Some((header.blocks, length, rest)));
        }
    }
    Ok(None)
}
