//! One gzip member (RFC 1952).

use std::cell::RefCell;
use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::CodecError;

const NAME: &str = "gzip";
const WINDOW_BITS: u8 = 15;

thread_local! {
    static COMPRESSOR: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
}

pub(super) fn compress(level: u32, plain: &[u8], out: &mut Vec<u8>) -> Result<(), CodecError> {
    let failed = |reason: String| CodecError::Failed { codec: NAME, source: io::Error::other(reason) };
    out.reserve_exact(bound(plain.len()));
    COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some((kept, compressor)) if *kept == level => compressor,
            _ => &mut slot.insert((level, Compress::new_gzip(Compression::new(level), WINDOW_BITS))).1,
        };
        compressor.reset();
        match compressor.compress_vec(plain, out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => Ok(()),
            Ok(status) => Err(failed(format!("{status:?} before the end"))),
            Err(error) => Err(failed(error.to_string())),
        }
    })
}

pub(super) fn decompress(stored: &[u8], plain_len: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let corrupt = |reason: String| CodecError::Corrupt { codec: NAME, source: io::Error::other(reason) };
    let start = out.len();
    let mut decompressor = Decompress::new_gzip(WINDOW_BITS);
    match decompressor.decompress_vec(stored, out, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) if decompressor.total_in() == stored.len() as u64 => {}
        Ok(Status::StreamEnd) => return Err(corrupt("bytes follow the end of the member".to_owned())),
        Ok(status) => return Err(corrupt(format!("{status:?} before the end of the member"))),
        Err(error) => return Err(corrupt(error.to_string())),
    }
    let found = out.len() - start;
    if found == plain_len { Ok(()) } else { Err(CodecError::WrongLength { expected: plain_len, found }) }
}

/// Returns the most that a member of `plain_len` bytes can take: zlib's own `deflateBound` for any
/// settings, and the gzip header and trailer.
fn bound(plain_len: usize) -> usize {
    plain_len + plain_len.div_ceil(8) + plain_len.div_ceil(64) + 64
}
