//! Tells layers and dumps by their first bytes.

use super::Contents;
use crate::crypto::openssl_enc;

/// How many of the first bytes are looked at.
pub(super) const HEAD: usize = 512;

const TEXT_STARTS: [&[u8]; 13] = [
    b"--",
    b"/*",
    b"\\connect ",
    b"\\restrict ",
    b"SET ",
    b"BEGIN;",
    b"START TRANSACTION",
    b"SELECT ",
    b"CREATE ",
    b"ALTER ",
    b"DROP ",
    b"INSERT INTO ",
    b"COPY ",
];

/// What some bytes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sniffed {
    /// The header of `openssl enc`.
    Openssl,
    /// A gzip member.
    Gzip,
    /// A zstd frame; whether it ends in a checksum.
    Zstd {
        /// Whether the frame's header announces a checksum.
        checksum: bool,
    },
    /// A dump.
    Contents(Contents),
}

/// Returns what `head`, the first bytes of something, begins with. Never panics.
///
/// It is strict, since it also judges what came of a guessed key: it takes 16 random bytes for known less
/// than once in 2^31 times.
pub fn sniff(head: &[u8]) -> Option<Sniffed> {
    if head.starts_with(openssl_enc::MAGIC) {
        return Some(Sniffed::Openssl);
    }
    if head.starts_with(b"PGDMP") {
        return Some(Sniffed::Contents(Contents::PgDumpCustom));
    }
    if head.starts_with(b"toc.dat\0") {
        return Some(Sniffed::Contents(Contents::PgDumpTar));
    }
    // POSIX ustar, and GNU tar's own: the magic of the first entry's header.
    if head.get(257..262) == Some(b"ustar".as_slice()) {
        return Some(Sniffed::Contents(Contents::Tar));
    }
    if is_gzip(head) {
        return Some(Sniffed::Gzip);
    }
    // RFC 8878, 3.1.1: the magic, then a descriptor of which bit 3 is reserved.
    if let Some(&[descriptor, ..]) = head.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])
        && descriptor & 0b1000 == 0
    {
        return Some(Sniffed::Zstd { checksum: descriptor & 0b100 != 0 });
    }
    text(head).map(Sniffed::Contents)
}

/// RFC 1952, 2.3: magic, method 8, no reserved flag, a level's mark, a known system.
fn is_gzip(head: &[u8]) -> bool {
    let &[0x1f, 0x8b, 8, flags, _, _, _, _, extra, system, ..] = head else { return false };
    flags & 0b1110_0000 == 0 && matches!(extra, 0 | 2 | 4) && (system <= 13 || system == 255)
}

fn text(head: &[u8]) -> Option<Contents> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let plain = |b: &u8| matches!(b, b' '..=b'~' | b'\t' | b'\n' | b'\r');
    let looked_at = &head[..head.len().min(64)];
    if !looked_at.iter().all(plain) {
        return None;
    }
    if head.starts_with(b"--\n-- PostgreSQL database ") || head.starts_with(b"--\r\n-- PostgreSQL database ") {
        return Some(Contents::PgDumpText);
    }
    let start = looked_at.trim_ascii_start();
    TEXT_STARTS.iter().any(|known| start.starts_with(known)).then_some(Contents::Sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_beginnings() {
        let cases: [(&[u8], Option<Sniffed>); 12] = [
            (b"Salted__12345678", Some(Sniffed::Openssl)),
            (b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b", Some(Sniffed::Gzip)),
            (b"\x1f\x8b\x08\xe0\0\0\0\0\0\x03\x4b", None),
            (b"\x1f\x8b", None),
            (b"\x28\xb5\x2f\xfd\x04", Some(Sniffed::Zstd { checksum: true })),
            (b"\x28\xb5\x2f\xfd\x08", None),
            (b"PGDMP\x01\x0e\0", Some(Sniffed::Contents(Contents::PgDumpCustom))),
            (b"--\n-- PostgreSQL database cluster dump\n", Some(Sniffed::Contents(Contents::PgDumpText))),
            (b"\xef\xbb\xbf\n-- by hand\nSELECT 1;", Some(Sniffed::Contents(Contents::Sql))),
            (b"--\xff", None),
            (b"hello", None),
            (b"", None),
        ];
        for (head, expected) in cases {
            assert_eq!(sniff(head), expected, "{head:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = sniff(&bytes);
        }
    }

    #[test]
    fn random_blocks_are_not_known() {
        // 2^20 blocks of 16 random bytes: what is expected of them is one in 2^11 runs.
        for _ in 0..1 << 20 {
            let block: [u8; 16] = rand::random();
            assert_eq!(sniff(&block), None, "{block:?}");
        }
    }
}
