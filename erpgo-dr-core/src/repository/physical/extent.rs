//! Where a piece of a file lies.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The next piece of a file's contents. A file is its extents, one after the other.
///
/// In JSON: `[pack, offset, length]`, or `[length]` for zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Bytes of a pack.
    Stored {
        /// Number of the pack in the manifest's table.
        pack: u32,
        /// Where it begins in the pack's plaintext.
        offset: u32,
        /// How many bytes.
        length: u32,
    },
    /// Zero bytes, which are stored nowhere.
    Zeros {
        /// How many.
        length: u64,
    },
}

impl Extent {
    /// Returns how many bytes of the file it is.
    pub fn length(self) -> u64 {
        match self {
            Self::Stored { length, .. } => u64::from(length),
            Self::Zeros { length } => length,
        }
    }

    /// Returns `length` bytes of it from `from` on.
    fn part(self, from: u64, length: u64) -> Self {
        match self {
            // No longer than the whole, whose parts fit as well.
            Self::Stored { pack, offset, .. } => {
                Self::Stored { pack, offset: offset + from as u32, length: length as u32 }
            }
            Self::Zeros { .. } => Self::Zeros { length },
        }
    }

    /// Returns both as one, where `next` goes on where this ends.
    pub(crate) fn joined(self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Zeros { length }, Self::Zeros { length: more }) => Some(Self::Zeros { length: length + more }),
            (
                Self::Stored { pack, offset, length },
                Self::Stored { pack: next_pack, offset: next_offset, length: more },
            ) if pack == next_pack && offset.checked_add(length) == Some(next_offset) => {
                length.checked_add(more).map(|length| Self::Stored { pack, offset, length })
            }
            _ => None,
        }
    }
}

/// Appends an extent, or lengthens the last one.
pub(crate) fn push_extent(extents: &mut Vec<Extent>, next: Extent) {
    match extents.last_mut() {
        Some(last) => match last.joined(next) {
            Some(joined) => *last = joined,
            None => extents.push(next),
        },
        None => extents.push(next),
    }
}

/// Walks along the extents of a file.
#[derive(Debug)]
pub(crate) struct ExtentCursor<'a> {
    rest: &'a [Extent],
    /// Bytes of the first one that lie behind.
    passed: u64,
}

impl<'a> ExtentCursor<'a> {
    pub(crate) fn new(extents: &'a [Extent]) -> Self {
        Self { rest: extents, passed: 0 }
    }

    /// Goes `length` bytes on, and gives the extents of these to `each`.
    pub(crate) fn advance(&mut self, mut length: u64, mut each: impl FnMut(Extent)) {
        while let Some(first) = self.rest.first().filter(|_| length > 0) {
            let part = length.min(first.length() - self.passed);
            each(first.part(self.passed, part));
            length -= part;
            self.passed += part;
            if self.passed == first.length() {
                (self.rest, self.passed) = (&self.rest[1..], 0);
            }
        }
    }
}

impl Serialize for Extent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Stored { pack, offset, length } => (pack, offset, length).serialize(serializer),
            Self::Zeros { length } => (length,).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Extent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let narrow = |number: u64| u32::try_from(number).map_err(serde::de::Error::custom);
        match Vec::<u64>::deserialize(deserializer)?[..] {
            [pack, offset, length] => {
                let (pack, offset, length) = (narrow(pack)?, narrow(offset)?, narrow(length)?);
                if offset.checked_add(length).is_none() {
                    return Err(serde::de::Error::custom("an extent ends beyond any pack"));
                }
                Ok(Self::Stored { pack, offset, length })
            }
            [length] => Ok(Self::Zeros { length }),
            _ => Err(serde::de::Error::custom("an extent has one number or three")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_gives_parts_in_order() {
        let extents = [Extent::Stored { pack: 3, offset: 100, length: 50 }, Extent::Zeros { length: 30 }];
        let mut cursor = ExtentCursor::new(&extents);
        let mut parts = Vec::new();
        cursor.advance(10, |_| {});
        cursor.advance(0, |part| parts.push(part));
        cursor.advance(45, |part| parts.push(part));
        cursor.advance(100, |part| parts.push(part));
        let zeros = |length| Extent::Zeros { length };
        assert_eq!(parts, [Extent::Stored { pack: 3, offset: 110, length: 40 }, zeros(5), zeros(25)]);
    }

    #[test]
    fn neighbours_become_one_and_json_is_short() {
        let stored = |pack, offset, length| Extent::Stored { pack, offset, length };
        let mut extents = Vec::new();
        for next in [
            stored(0, 0, 8),
            stored(0, 8, 8),
            stored(1, 16, 8),
            Extent::Zeros { length: 5 },
            Extent::Zeros { length: 6 },
            stored(1, 24, u32::MAX - 24),
            stored(2, 0, 1),
        ] {
            push_extent(&mut extents, next);
        }
        let json = serde_json::to_string(&extents).unwrap();
        assert_eq!(json, format!("[[0,0,16],[1,16,8],[11],[1,24,{0}],[2,0,1]]", u32::MAX - 24));
        assert_eq!(serde_json::from_str::<Vec<Extent>>(&json).unwrap(), extents);
        assert!(serde_json::from_str::<Extent>("[1,2]").is_err());
        assert!(serde_json::from_str::<Extent>("[4294967296,0,1]").is_err());
        assert!(serde_json::from_str::<Extent>("[0,4294967295,1]").is_err());
    }
}
