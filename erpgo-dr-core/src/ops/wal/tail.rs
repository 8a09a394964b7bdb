//! The end of the log: the beginning of a segment that is not whole yet, given to PostgreSQL as if it were.

use std::path::Path;

use bytes::Bytes;

use super::fetch::write_chunks;
use crate::ops::Result;
use crate::postgres::wal::SegmentHeader;
use crate::repository::Repository;
use crate::types::WalSegmentName;

/// Zeros that are written at a time.
const ZEROS: Bytes = Bytes::from_static(&[0; 64 << 10]);

/// What there is of a segment that is stored in pieces.
pub(super) struct Tail {
    begin: Bytes,
    segment_bytes: u64,
}

impl Tail {
    /// Puts the pieces of a segment together; `None` if there is nothing of it.
    pub(super) async fn read(repository: &Repository, system: u64, name: WalSegmentName) -> Result<Option<Self>> {
        let Some(begin) = repository.assemble_wal_tail(system, name).await? else { return Ok(None) };
        if begin.len() < SegmentHeader::LEN {
            return Ok(None);
        }
        let header = SegmentHeader::parse(&name.to_string(), &begin)?;
        header.check(name, Some(system))?;
        Ok(Some(Self { begin, segment_bytes: header.segment_size.bytes() }))
    }

    /// Returns whether the pieces are all of the segment.
    pub(super) fn is_whole(&self) -> bool {
        self.begin.len() as u64 >= self.segment_bytes
    }

    /// Writes it to `destination`, filled up with zeros to a whole segment: replay ends where the records do.
    ///
    /// Returns how many bytes of it are of the log.
    pub(super) async fn write(self, destination: &Path) -> Result<u64> {
        let received = self.begin.len() as u64;
        let mut missing = self.segment_bytes.saturating_sub(received);
        let zeros = std::iter::from_fn(|| {
            let piece = missing.min(ZEROS.len() as u64);
            missing -= piece;
            (piece > 0).then(|| ZEROS.slice(..piece as usize))
        });
        let chunks = std::iter::once(self.begin).chain(zeros).map(Ok);
        write_chunks(futures::stream::iter(chunks), destination).await?;
        Ok(received)
    }
}
