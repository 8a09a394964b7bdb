//! What has changed of a file: which blocks, and then these.
//!
//! Source: `sendFile` and `GetFileBackupMethod` in `src/backend/backup/` of PostgreSQL 17, and `src/bin/pg_combinebackup/reconstruct.c`.

use bytes::{Bytes, BytesMut};

use super::super::checksum::PAGE;
use crate::postgres::PostgresError;

const MAGIC: u32 = 0xd3ae_1f0d;

/// Bytes of what every such file begins with.
const FIXED: usize = 12;

/// More blocks than a file has: there are 131,072 in a gigabyte, and a cluster may have been made with larger files.
const MOST_BLOCKS: u32 = 1 << 24;

/// What such a file begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IncrementalHeader {
    /// The blocks that follow, in order, counted from the beginning of the file.
    pub(crate) blocks: Vec<u32>,
    /// How many blocks the file had, if none of those that follow lies beyond.
    truncation: u32,
}

impl IncrementalHeader {
    /// Returns how many blocks the file has, of `most` at most; `None` where more follow than a file may have. One that does not follow is as
    /// the earlier backup has it, or zeros.
    ///
    /// Servers have sent the length of the relation as that of its first file.
    pub(crate) fn length(&self, most: u32) -> Option<u32> {
        let written = self.blocks.last().map_or(0, |last| last + 1);
        (written <= most).then(|| written.max(self.truncation.min(most)))
    }
}

/// Reads the beginning of such a file, which comes in pieces of any length.
#[derive(Debug, Default)]
pub(crate) struct IncrementalParser {
    gathered: BytesMut,
}

impl IncrementalParser {
    /// Takes from `data` what belongs to the beginning; returns what it says once all of it has come.
    ///
    /// # Errors
    /// [`PostgresError::MalformedCluster`].
    pub(crate) fn next(&mut self, data: &mut Bytes) -> Result<Option<IncrementalHeader>, PostgresError> {
        if !self.gather(FIXED, data) {
            return Ok(None);
        }
        let (words, _) = self.gathered[..FIXED].as_chunks::<4>();
        let [magic, count, truncation] = [0, 1, 2].map(|word| u32::from_ne_bytes(words[word]));
        if magic != MAGIC || count > MOST_BLOCKS || truncation > MOST_BLOCKS {
            return Err(malformed("it does not begin like one"));
        }
        let listed = FIXED + count as usize * 4;
        if !self.gather(if count == 0 { listed } else { listed.next_multiple_of(PAGE) }, data) {
            return Ok(None);
        }
        let (words, _) = self.gathered[FIXED..listed].as_chunks::<4>();
        let blocks: Vec<u32> = words.iter().map(|word| u32::from_ne_bytes(*word)).collect();
        if !blocks.is_sorted_by(|one, next| one < next) || blocks.last().is_some_and(|last| *last >= MOST_BLOCKS) {
            return Err(malformed("its blocks are not in order"));
        }
        Ok(Some(IncrementalHeader { blocks, truncation }))
    }

    fn gather(&mut self, wanted: usize, data: &mut Bytes) -> bool {
        let missing = wanted.saturating_sub(self.gathered.len()).min(data.len());
        self.gathered.extend_from_slice(&data.split_to(missing));
        self.gathered.len() >= wanted
    }
}

fn malformed(reason: &str) -> PostgresError {
    PostgresError::MalformedCluster(format!("an incremental file of the server is not to be read: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginning(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn the_beginning_ends_at_a_page_and_blocks_follow() {
        let mut file = beginning(&[MAGIC, 3, 5, 0, 4, 9]);
        file.resize(PAGE, 0);
        file.extend_from_slice(&[7; 100]);
        for piece in [1, 11, 12, 13, 5000, file.len()] {
            let (mut parser, mut found, mut rest) = (IncrementalParser::default(), None, 0);
            for piece in file.chunks(piece) {
                let mut data = Bytes::copy_from_slice(piece);
                if found.is_none() {
                    found = parser.next(&mut data).unwrap();
                }
                rest += data.len();
            }
            let found = found.unwrap();
            assert_eq!((found.blocks.as_slice(), found.length(100), rest), (&[0, 4, 9][..], Some(10), 100), "{piece}");
        }
        // What has not changed is as short as that.
        let mut unchanged = Bytes::from(beginning(&[MAGIC, 0, 5]));
        let found = IncrementalParser::default().next(&mut unchanged).unwrap().unwrap();
        assert_eq!((found.blocks.len(), found.length(100), found.length(4)), (0, Some(5), Some(4)));
    }

    #[test]
    fn what_no_server_sends_is_refused() {
        for words in [&[MAGIC + 1, 0, 0][..], &[MAGIC, MOST_BLOCKS + 1, 0], &[MAGIC, 0, MOST_BLOCKS + 1]] {
            assert!(IncrementalParser::default().next(&mut Bytes::from(beginning(words))).is_err());
        }
        for blocks in [[4, 4], [4, 3], [1, MOST_BLOCKS]] {
            let mut file = beginning(&[MAGIC, 2, 5, blocks[0], blocks[1]]);
            file.resize(PAGE, 0);
            assert!(IncrementalParser::default().next(&mut Bytes::from(file)).is_err());
        }
    }
}
