//! One zstd frame (RFC 8878) with its content size and without a checksum: the container's MAC covers it.

use std::cell::RefCell;
use std::io::Cursor;

use zstd::bulk::{Compressor, Decompressor};

use super::CodecError;

const NAME: &str = "zstd";

thread_local! {
    // A compressor's tables take megabytes to set up; the level they are set for is kept beside them.
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

pub(super) fn compress(level: i32, plain: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let failed = |source| CodecError::Failed { codec: NAME, source };
    out.reserve_exact(zstd::zstd_safe::compress_bound(plain.len()));
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some((kept, compressor)) if *kept == level => compressor,
            _ => &mut slot.insert((level, Compressor::new(level).map_err(failed)?)).1,
        };
        compressor.compress_to_buffer(plain, &mut at_end(out)).map_err(failed)
    })?;
    Ok(())
}

pub(super) fn decompress(stored: &[u8], plain_len: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let corrupt = |source| CodecError::Corrupt { codec: NAME, source };
    let start = out.len();
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(Decompressor::new().map_err(corrupt)?),
        };
        decompressor.decompress_to_buffer(stored, &mut at_end(out)).map_err(corrupt)
    })?;
    let found = out.len() - start;
    if found == plain_len { Ok(()) } else { Err(CodecError::WrongLength { expected: plain_len, found }) }
}

/// Lends the spare capacity of `out` to zstd, which never grows it.
fn at_end(out: &mut Vec<u8>) -> Cursor<&mut Vec<u8>> {
    let mut cursor = Cursor::new(out);
    cursor.set_position(cursor.get_ref().len() as u64);
    cursor
}
