//! How a segment is framed: eight bytes before its ciphertext say which it is and how long.

use super::CryptoError;

/// Bytes before each segment's ciphertext: number (u32, little-endian), then length and last flag (u32).
pub const SEGMENT_PREFIX: usize = 8;

const LAST: u32 = 1 << 31;

/// The prefix of a stored segment, not yet authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentPrefix {
    /// Position in its layer, counted from 0.
    pub number: u32,
    /// Bytes behind the prefix: ciphertext and tag.
    pub length: u32,
    /// Whether its layer ends with it.
    pub last: bool,
}

impl SegmentPrefix {
    /// Returns the stored form.
    pub fn encode(self) -> [u8; SEGMENT_PREFIX] {
        let mut bytes = [0; SEGMENT_PREFIX];
        bytes[..4].copy_from_slice(&self.number.to_le_bytes());
        bytes[4..].copy_from_slice(&(self.length | if self.last { LAST } else { 0 }).to_le_bytes());
        bytes
    }

    /// Reads a stored prefix.
    ///
    /// # Errors
    /// [`CryptoError::SegmentMalformed`] when there are fewer than [`SEGMENT_PREFIX`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CryptoError> {
        let (number, rest) = bytes.split_first_chunk().ok_or(CryptoError::SegmentMalformed { number: 0 })?;
        let number = u32::from_le_bytes(*number);
        let word = rest.first_chunk().ok_or(CryptoError::SegmentMalformed { number: u64::from(number) })?;
        let word = u32::from_le_bytes(*word);
        Ok(Self { number, length: word & !LAST, last: word & LAST != 0 })
    }
}

/// Which segments of an object a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentRun {
    /// The layer, which the MAC covers: 0 is the body, 1 the index.
    pub layer: u8,
    /// Number of the first segment.
    pub first: u32,
    /// Plaintext bytes of each segment but the last of the layer.
    pub segment_len: usize,
    /// Whether the layer ends with this run.
    pub last: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_two_little_endian_words_with_the_last_flag_on_top() {
        let prefix = SegmentPrefix { number: 0x0403_0201, length: 0x0706_0504, last: false };
        assert_eq!(prefix.encode(), [1, 2, 3, 4, 4, 5, 6, 7]);
        let last = SegmentPrefix { last: true, ..prefix };
        assert_eq!(last.encode(), [1, 2, 3, 4, 4, 5, 6, 0x87]);
        assert_eq!([prefix, last].map(|prefix| SegmentPrefix::decode(&prefix.encode()).unwrap()), [prefix, last]);
    }

    #[test]
    fn a_cut_prefix_is_malformed() {
        for len in 0..SEGMENT_PREFIX {
            assert!(matches!(SegmentPrefix::decode(&[0; 8][..len]), Err(CryptoError::SegmentMalformed { .. })));
        }
    }
}
