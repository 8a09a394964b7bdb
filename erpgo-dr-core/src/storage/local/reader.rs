//! Reading one file, with the next piece under way while one is consumed.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};

use super::{Place, blocking, files};
use crate::storage::{ByteStream, StorageError};
use crate::types::ObjectKey;

/// The size of a piece.
const PIECE: u64 = 1 << 20;
/// How many pieces are under way.
const AHEAD: usize = 2;

/// Opens the file of `key` and returns its bytes in `range`.
pub(super) fn open(place: &Arc<Place>, key: ObjectKey, range: Option<Range<u64>>) -> Result<ByteStream, StorageError> {
    let opened = place.root.check().and_then(|()| File::open(place.path(&key))).and_then(|file| {
        let size = files::regular(file.metadata()?)?.len();
        Ok((file, size))
    });
    let (file, size) = opened.map_err(|error| place.error("read", &key, error))?;
    let wanted = clamp(range, size);
    if wanted.end - wanted.start > PIECE {
        // Advice only: where it is not taken the read is as right.
        let _ = rustix::fs::fadvise(&file, wanted.start, None, rustix::fs::Advice::Sequential);
    }
    let reader = Arc::new(Reader { place: Arc::clone(place), key, file, size });
    let pieces = pieces(wanted).map(move |piece| {
        let reader = Arc::clone(&reader);
        blocking(move || reader.read(piece))
    });
    Ok(stream::iter(pieces).buffered(AHEAD).boxed())
}

/// Cuts `range` off at the end of an object of `size` bytes.
fn clamp(range: Option<Range<u64>>, size: u64) -> Range<u64> {
    let range = range.unwrap_or(0..size);
    let start = range.start.min(size);
    start..range.end.clamp(start, size)
}

fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> + Send {
    let Range { start, end } = range;
    (0..(end - start).div_ceil(PIECE)).map(move |n| {
        let from = start + n * PIECE;
        from..(from + PIECE).min(end)
    })
}

#[derive(Debug)]
struct Reader {
    place: Arc<Place>,
    key: ObjectKey,
    file: File,
    size: u64,
}

impl Reader {
    fn read(&self, piece: Range<u64>) -> Result<Bytes, StorageError> {
        let length = (piece.end - piece.start) as usize;
        let mut data = Vec::with_capacity(length);
        while data.len() < length {
            let offset = piece.start + data.len() as u64;
            match rustix::io::pread(&self.file, rustix::buffer::spare_capacity(&mut data), offset) {
                Ok(0) => return Err(self.shortened(offset)),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(self.place.error("read", &self.key, io::Error::from(error))),
            }
        }
        data.truncate(length);
        Ok(Bytes::from(data))
    }

    fn shortened(&self, found: u64) -> StorageError {
        StorageError::ShortRead { location: self.place.location(), key: self.key.clone(), expected: self.size, found }
    }
}
