//! Fingerprints of rows, computed as their text streams past.

use memchr::memchr;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// What ends the rows of a COPY.
const TERMINATOR: &[u8] = b"\\.";

/// Counts and sums the lines of COPY text, however it is cut into pieces.
#[derive(Debug, Default)]
pub(super) struct RowFingerprint {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) checksum: u64,
    terminated: bool,
    partial: PartialRow,
}

impl RowFingerprint {
    /// Takes the next piece of text.
    pub(super) fn update(&mut self, mut text: &[u8]) -> Result<(), &'static str> {
        if self.partial.length > 0 {
            let Some(end) = memchr(b'\n', text) else {
                self.partial.extend(text);
                return Ok(());
            };
            self.partial.extend(&text[..end]);
            text = &text[end + 1..];
            if self.partial.is_terminator() {
                self.terminated = true;
            } else {
                let hash = self.partial.hasher.digest();
                self.add(self.partial.length, hash);
            }
            self.partial.clear();
        }
        while !text.is_empty() {
            if self.terminated {
                // pg_dump puts two empty lines behind the terminator.
                return if text.iter().all(|byte| *byte == b'\n') { Ok(()) } else { Err("data behind its end") };
            }
            let Some(end) = memchr(b'\n', text) else {
                self.partial.extend(text);
                break;
            };
            let row = &text[..end];
            if row == TERMINATOR {
                self.terminated = true;
            } else {
                self.add(row.len() as u64, xxh3_64(row));
            }
            text = &text[end + 1..];
        }
        Ok(())
    }

    /// Checks that the text was complete; COPY text must have had its terminator.
    pub(super) fn finish(&self, is_copy: bool) -> Result<(), &'static str> {
        match () {
            () if self.partial.length > 0 => Err("a row without end"),
            () if is_copy && !self.terminated => Err("no end of its COPY"),
            () => Ok(()),
        }
    }

    #[inline]
    fn add(&mut self, length: u64, hash: u64) {
        self.rows += 1;
        self.bytes = self.bytes.wrapping_add(length + 1);
        self.checksum = self.checksum.wrapping_add(hash);
    }
}

/// A row of which only the beginning is there.
#[derive(Default)]
struct PartialRow {
    length: u64,
    start: [u8; TERMINATOR.len()],
    hasher: Box<Xxh3Default>,
}

impl PartialRow {
    fn extend(&mut self, piece: &[u8]) {
        if let Ok(length) = usize::try_from(self.length)
            && let Some(room) = self.start.get_mut(length..)
        {
            let count = room.len().min(piece.len());
            room[..count].copy_from_slice(&piece[..count]);
        }
        self.hasher.update(piece);
        self.length += piece.len() as u64;
    }

    fn is_terminator(&self) -> bool {
        self.length == TERMINATOR.len() as u64 && self.start == TERMINATOR
    }

    fn clear(&mut self) {
        self.length = 0;
        self.hasher.reset();
    }
}

impl std::fmt::Debug for PartialRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartialRow").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Counts and sums large objects: the hash of each is over its OID (four bytes, least significant first)
/// and its content.
#[derive(Default)]
pub(super) struct ObjectFingerprint {
    pub(super) objects: u64,
    pub(super) bytes: u64,
    pub(super) checksum: u64,
    hasher: Box<Xxh3Default>,
}

impl ObjectFingerprint {
    pub(super) fn begin(&mut self, oid: u32) {
        self.hasher.reset();
        self.hasher.update(&oid.to_le_bytes());
    }

    pub(super) fn update(&mut self, content: &[u8]) {
        self.hasher.update(content);
        self.bytes += content.len() as u64;
    }

    pub(super) fn end(&mut self) {
        self.objects += 1;
        self.checksum = self.checksum.wrapping_add(self.hasher.digest());
    }
}

impl std::fmt::Debug for ObjectFingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectFingerprint").field("objects", &self.objects).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[&[u8]]) -> (u64, u64, u64) {
        let mut fingerprint = RowFingerprint::default();
        for piece in pieces {
            fingerprint.update(piece).unwrap();
        }
        fingerprint.finish(true).unwrap();
        (fingerprint.rows, fingerprint.bytes, fingerprint.checksum)
    }

    #[test]
    fn the_terminator_and_what_follows_are_no_rows() {
        assert_eq!(of(&[b"\\.\n\n\n"]), (0, 0, 0));
        let sum = xxh3_64(b"a\tb").wrapping_add(xxh3_64(b"")).wrapping_add(xxh3_64(b"\\\\."));
        assert_eq!(of(&[b"a\tb\n\n\\\\.\n\\.\n\n\n"]), (3, 9, sum));
    }

    #[test]
    fn order_does_not_matter_but_content_does() {
        assert_eq!(of(&[b"a\nb\n\\.\n"]), of(&[b"b\na\n\\.\n"]));
        assert_ne!(of(&[b"a\nb\n\\.\n"]), of(&[b"a\na\n\\.\n"]));
    }

    #[test]
    fn every_cut_gives_the_same() {
        let long = vec![b'x'; 1000];
        let text = [b"one\n\n\\\\N\t\\N\n".as_slice(), &long, b"\n\\.\n\n\n"].concat();
        let whole = of(&[&text]);
        for cut in 0..text.len() {
            let (left, right) = text.split_at(cut);
            assert_eq!(of(&[left, right]), whole, "{cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(of(&single), whole);
    }

    #[test]
    fn what_is_not_complete_is_said() {
        let mut fingerprint = RowFingerprint::default();
        fingerprint.update(b"a\nb").unwrap();
        assert_eq!(fingerprint.finish(false), Err("a row without end"));
        fingerprint.update(b"\n").unwrap();
        assert_eq!(fingerprint.finish(false), Ok(()));
        assert_eq!(fingerprint.finish(true), Err("no end of its COPY"));
        fingerprint.update(b"\\.\n\n\n").unwrap();
        assert_eq!(fingerprint.finish(true), Ok(()));
        assert_eq!(fingerprint.update(b"x\n"), Err("data behind its end"));
    }
}
