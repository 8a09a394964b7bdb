//! The end of the log: pieces of a segment that is not whole yet, stored as it grows.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::memory::{Gathered, MemoryWriter};
use crate::repository::{Repository, RepositoryError, layout};
use crate::types::{ObjectKey, WalSegmentName};

/// Pieces that are read at once.
const AT_ONCE: usize = 8;

/// A stretch of a segment, by the offsets in it. Where two overlap, the one of the higher sequence holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TailPiece {
    pub(crate) system_identifier: u64,
    pub(crate) segment: WalSegmentName,
    /// Counts the pieces of a segment in the order in which they were written.
    pub(crate) sequence: u32,
    pub(crate) from: u32,
    /// The first byte behind it.
    pub(crate) to: u32,
}

impl TailPiece {
    /// Reads what the key of a piece says; `None` for any other key.
    pub(super) fn parse(key: &ObjectKey) -> Option<Self> {
        let (system_identifier, segment, piece) = layout::parse_wal_tail(key)?;
        let mut numbers = piece.split('-').map(|digits| u32::from_str_radix(digits, 16).ok());
        let (sequence, from, to) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let found = Self { system_identifier, segment, sequence, from, to };
        (found.key() == *key && from < to).then_some(found)
    }

    fn key(&self) -> ObjectKey {
        let Self { sequence, from, to, .. } = self;
        layout::wal_tail(self.system_identifier, self.segment, &format!("{sequence:08x}-{from:08x}-{to:08x}"))
    }
}

impl Repository {
    /// Stores a piece, whose bytes are `plain`. It is durable when this returns.
    pub(crate) async fn store_wal_tail(&self, piece: &TailPiece, plain: Bytes) -> Result<(), RepositoryError> {
        let (sealing, key) = (self.sealing_key()?, piece.key());
        let gathered = Gathered::default();
        let target = Box::new(MemoryWriter { key: key.clone(), gathered: gathered.clone() });
        let mut writer = self.wal_writer(&key, &sealing, target)?;
        writer.write(plain).await?;
        writer.finish().await?;
        self.storage.create(&key, gathered.concat()).await?;
        Ok(())
    }

    /// Lists the pieces of a cluster's segments, or of all clusters', in the order of segments and sequence.
    pub(crate) async fn wal_tails(
        &self,
        system_identifier: Option<u64>,
        segment: Option<WalSegmentName>,
    ) -> Result<Vec<TailPiece>, RepositoryError> {
        // There are few of them, and a folder that is listed again and again is one that the primary can answer for again after it
        // was away: a segment's own would hold up every delete once it is not asked for any more.
        let folder = system_identifier.map_or_else(|| layout::WAL_TAILS.to_owned(), layout::wal_tails);
        let wanted = |piece: &TailPiece| segment.is_none_or(|segment| piece.segment == segment);
        let objects = self.storage.list(&folder).map_ok(|object| TailPiece::parse(&object.key).filter(wanted));
        let mut pieces: Vec<TailPiece> =
            objects.try_filter_map(|piece| std::future::ready(Ok(piece))).try_collect().await?;
        pieces.sort_unstable();
        Ok(pieces)
    }

    /// Puts the beginning of a segment together, up to the first byte that no piece has; `None` if there is nothing of it.
    pub(crate) async fn assemble_wal_tail(
        &self,
        system_identifier: u64,
        segment: WalSegmentName,
    ) -> Result<Option<Bytes>, RepositoryError> {
        let pieces = self.wal_tails(Some(system_identifier), Some(segment)).await?;
        let end = covered(&pieces);
        let wanted = pieces.into_iter().filter(|piece| piece.from < end);
        let reads = futures::stream::iter(wanted).map(|piece| async move {
            let plain = self.read_wal_tail(&piece).await?;
            Ok::<_, RepositoryError>(plain.map(|plain| (piece, plain)))
        });
        let mut reads = reads.buffered(AT_ONCE).boxed();
        let mut whole = vec![0; end as usize];
        while let Some(read) = reads.try_next().await? {
            // Gone since the list was made: the segment is whole by now, and is found as such when it is asked for again.
            let Some((piece, plain)) = read else { return Ok(None) };
            let (from, length) = (piece.from as usize, plain.len().min(end as usize - piece.from as usize));
            whole[from..from + length].copy_from_slice(&plain[..length]);
        }
        Ok((end > 0).then(|| whole.into()))
    }

    async fn read_wal_tail(&self, piece: &TailPiece) -> Result<Option<Bytes>, RepositoryError> {
        let Some(mut reader) = self.open_wal_object(self.storage.as_ref(), &piece.key()).await? else {
            return Ok(None);
        };
        let mut plain = Vec::with_capacity((piece.to - piece.from) as usize);
        while let Some(chunk) = reader.next().await? {
            plain.extend_from_slice(&chunk);
        }
        if plain.len() as u64 != u64::from(piece.to - piece.from) {
            let reason = format!("it has {} bytes, which is not what its name says", plain.len());
            return Err(RepositoryError::Damaged { record: piece.key().to_string(), reason });
        }
        Ok(Some(plain.into()))
    }

    /// Removes a piece.
    pub(crate) async fn remove_wal_tail(&self, piece: &TailPiece) -> Result<(), RepositoryError> {
        Ok(self.storage.delete(&piece.key()).await?)
    }
}

/// Returns how far the pieces cover a segment from its beginning without a hole.
pub(crate) fn covered(pieces: &[TailPiece]) -> u32 {
    let mut spans: Vec<(u32, u32)> = pieces.iter().map(|piece| (piece.from, piece.to)).collect();
    spans.sort_unstable();
    let mut end = 0;
    for (from, to) in spans {
        if from > end {
            break;
        }
        end = end.max(to);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(sequence: u32, from: u32, to: u32) -> TailPiece {
        let segment = "000000010000000000000003".parse().unwrap();
        TailPiece { system_identifier: 7, segment, sequence, from, to }
    }

    #[test]
    fn a_hole_ends_what_is_covered() {
        assert_eq!(covered(&[]), 0);
        assert_eq!(covered(&[piece(0, 8, 16)]), 0);
        assert_eq!(covered(&[piece(0, 0, 8), piece(1, 8, 24), piece(3, 32, 40)]), 24);
        assert_eq!(covered(&[piece(2, 16, 32), piece(0, 0, 24), piece(1, 4, 6)]), 32);
    }

    #[test]
    fn a_key_says_what_a_piece_is() {
        let whole = piece(3, 0x2000, 0x4000);
        assert_eq!(whole.key().as_str(), "wal-tails/7/000000010000000000000003/00000003-00002000-00004000");
        assert_eq!(TailPiece::parse(&whole.key()), Some(whole));
        for wrong in ["00000003-00002000", "00000003-00002000-00002000", "3-2000-4000", "00000003-00002000-00004000-0"]
        {
            let key = ObjectKey::new(format!("wal-tails/7/000000010000000000000003/{wrong}")).unwrap();
            assert_eq!(TailPiece::parse(&key), None, "{wrong}");
        }
    }
}
