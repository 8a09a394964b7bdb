//! One container, every byte of it altered and every length cut: nothing but a beginning of the truth is released.

use erpgo_dr_core::codec::Codec;
use erpgo_dr_core::container::{ContainerError, ObjectIdentity, ObjectKind};

use crate::support::*;

#[test]
fn every_altered_byte_is_found() {
    for codec in [Codec::None, Codec::Zstd { level: 3 }] {
        let truth = sample(6000, 11);
        let stored = sealed("dumps/x/0", &options(codec), &truth);
        for at in 0..stored.len() {
            for bit in [0x01, 0x80] {
                let mut altered = stored.clone();
                altered[at] ^= bit;
                assert_refused(&altered, "dumps/x/0", &truth, &format!("{codec}: byte {at} ^ {bit:#x}"));
                let sought = block_on(seek(&altered, &identity("dumps/x/0"), &keys()));
                sought.expect_err("an altered byte, read by range");
            }
        }
    }
}

#[test]
fn every_truncation_is_found() {
    let truth = sample(6000, 12);
    let stored = sealed("t", &options(Codec::Zstd { level: 3 }), &truth);
    for len in 0..stored.len() {
        let error = assert_refused(&stored[..len], "t", &truth, &format!("cut to {len}"));
        assert!(matches!(error, ContainerError::Truncated { .. }), "cut to {len}: {error:?}");
        block_on(seek(&stored[..len], &identity("t"), &keys())).expect_err("a cut object, read by range");
    }
}

#[test]
fn bytes_behind_the_end_are_found() {
    let truth = sample(3000, 13);
    let stored = sealed("t", &options(Codec::None), &truth);
    for extra in [&b"\0"[..], &[7; 80], &stored.clone()] {
        let longer = [&stored[..], extra].concat();
        let error = assert_refused(&longer, "t", &truth, "bytes behind the end");
        assert!(matches!(error, ContainerError::TrailingBytes { .. }), "{error:?}");
        block_on(seek(&longer, &identity("t"), &keys())).expect_err("a longer object, read by range");
    }
}

/// Each fault of a header by its own name, in the order in which a reader looks.
#[test]
fn a_header_is_refused_for_the_first_thing_that_is_wrong_with_it() {
    let truth = sample(100, 14);
    let stored = sealed("name", &options(Codec::None), &truth);
    let altered = |changes: &[(usize, u8)]| {
        let mut bytes = stored.clone();
        changes.iter().for_each(|&(at, byte)| bytes[at] = byte);
        assert_refused(&bytes, "name", &truth, "an altered header")
    };
    use ContainerError as E;
    assert!(matches!(altered(&[(0, b'X'), (8, 9)]), E::NotAContainer { .. }));
    assert!(matches!(altered(&[(7, 2)]), E::NotAContainer { .. }));
    assert!(matches!(altered(&[(8, 2), (10, 0)]), E::UnsupportedVersion { version: 2, .. }));
    assert!(matches!(altered(&[(8, 0)]), E::UnsupportedVersion { version: 0, .. }));
    assert!(matches!(altered(&[(10, 87)]), E::Malformed { part: "header", .. }));
    assert!(matches!(altered(&[(12, 99)]), E::Malformed { part: "header", .. }));
    assert!(matches!(altered(&[(13, 2)]), E::Malformed { part: "header", .. }));
    assert!(matches!(altered(&[(14, 9)]), E::Codec { .. }));
    assert!(matches!(altered(&[(15, 1)]), E::Malformed { part: "header", .. }));
    assert!(matches!(altered(&[(16, 1)]), E::HeaderNotAuthentic { .. }));
    assert!(matches!(altered(&[(19, 0x7f)]), E::Malformed { part: "header", .. }));
    assert!(matches!(altered(&[(23, 0x7f)]), E::Malformed { part: "header", .. }));
    assert!(matches!(altered(&[(60, b'x')]), E::Malformed { part: "header", .. }));
    assert!(matches!(altered(&[(82, 0xff)]), E::Malformed { part: "header", .. }));
    assert!(matches!(altered(&[(12, 3), (59, b'7')]), E::WrongObject { .. }));
    assert!(matches!(altered(&[(82, b'N'), (80, b'0')]), E::WrongObject { .. }));
    assert!(matches!(altered(&[(80, b'0'), (30, 0)]), E::NoKey { .. }));
    assert!(matches!(altered(&[(14, 1)]), E::HeaderNotAuthentic { .. }));
}

#[test]
fn what_is_not_a_container_is_called_so() {
    for (bytes, truncated) in [(&b""[..], true), (b"ERPG", true), (b"PGDMP\x01\x0e\x00", false), (b"Salted__", false)] {
        let error = assert_refused(bytes, "t", b"", "no container");
        assert_eq!(matches!(error, ContainerError::Truncated { .. }), truncated, "{error:?}");
        assert_eq!(matches!(error, ContainerError::NotAContainer { .. }), !truncated, "{error:?}");
    }
}

#[test]
fn another_object_is_told_apart_from_an_altered_one() {
    let stored = sealed("one", &options(Codec::None), b"text");
    let open = |expected: ObjectIdentity| block_on(stream(&stored, 100, &expected, &keys())).1;
    assert!(matches!(open(identity("two")), Err(ContainerError::WrongObject { .. })));
    let error = open(ObjectIdentity::new(ObjectKind::Wal, "one")).unwrap_err();
    assert_eq!(error.to_string(), "Wal one: another object lies in its place: Dump one");
    assert!(open(identity("one")).is_ok());
}

#[test]
fn a_missing_key_is_told_apart_from_a_wrong_one() {
    let stored = sealed("one", &options(Codec::None), b"text");
    let open = |keys: Keys| block_on(stream(&stored, 100, &identity("one"), &keys)).1;
    assert!(matches!(open(Keys::default()), Err(ContainerError::NoKey { .. })));
    let mut wrong = sealing_key();
    wrong.key = std::sync::Arc::new(erpgo_dr_core::crypto::EpochKey::from_bytes([8; 32]));
    assert!(matches!(open(Keys(vec![wrong])), Err(ContainerError::HeaderNotAuthentic { .. })));
}
