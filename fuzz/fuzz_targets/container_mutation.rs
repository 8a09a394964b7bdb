//! A good container, then changed: what is released is a beginning of the truth, and the change is found.

#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use erpgo_dr_core::codec::Codec;
use erpgo_dr_core::container::{ContainerOptions, ObjectIdentity, ObjectKind, SealingKey, seal_bytes};
use erpgo_dr_core::crypto::EpochKey;
use erpgo_dr_fuzz::{OneKey, read_all_ways, seek, stream};
use libfuzzer_sys::fuzz_target;

const KEY: [u8; 32] = [7; 32];

#[derive(Debug, Arbitrary)]
enum Change {
    Flip { at: u16, with: u8 },
    Cut { at: u16, bytes: u16 },
    Repeat { at: u16, bytes: u16, to: u16 },
    Overwrite { at: u16, from: u16, bytes: u16, other: bool },
    Truncate { at: u16 },
    Append(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
struct Input {
    codec: u8,
    chunk: u16,
    changes: Vec<Change>,
}

/// The truth, and for each codec two containers of it.
static GOOD: LazyLock<(Vec<u8>, [[Vec<u8>; 2]; 3])> = LazyLock::new(|| {
    let plain: Vec<u8> = (0..9000u32)
        .flat_map(|at| if at < 6000 { [at as u8, 7] } else { (at * at).to_le_bytes()[..2].try_into().expect("two") })
        .collect();
    let seal = |code| {
        let codec = Codec::from_code(code).expect("built in");
        let options = ContainerOptions::default().with_codec(codec).with_frame_len(4096).with_segment_len(1024);
        let epoch = "20260102T030405Z-0badcafe".parse().expect("an epoch");
        let key = SealingKey { epoch, key: EpochKey::from_bytes(KEY).into() };
        [0, 1].map(|_| seal_bytes(&identity(), &key, &options, &plain).expect("it seals"))
    };
    let sealed = [0, 1, 2].map(seal);
    (plain, sealed)
});

fn identity() -> ObjectIdentity {
    ObjectIdentity::new(ObjectKind::Wal, "wal/1")
}

fn apply(change: &Change, stored: &mut Vec<u8>, other: &[u8]) {
    let span = |at: u16, bytes: u16, len: usize| {
        let start = usize::from(at) % (len + 1);
        start..(start + usize::from(bytes)).min(len)
    };
    match *change {
        Change::Flip { at, with } => {
            let len = stored.len().max(1);
            if let Some(byte) = stored.get_mut(usize::from(at) % len) {
                *byte ^= with;
            }
        }
        Change::Cut { at, bytes } => drop(stored.drain(span(at, bytes, stored.len()))),
        Change::Repeat { at, bytes, to } => {
            let piece = stored[span(at, bytes, stored.len())].to_vec();
            let to = usize::from(to) % (stored.len() + 1);
            stored.splice(to..to, piece);
        }
        Change::Overwrite { at, from, bytes, other: foreign } => {
            let piece = if foreign {
                other[span(from, bytes, other.len())].to_vec()
            } else {
                stored[span(from, bytes, stored.len())].to_vec()
            };
            let to = span(at, piece.len() as u16, stored.len());
            let piece = piece[..to.len()].to_vec();
            stored[to].copy_from_slice(&piece);
        }
        Change::Truncate { at } => stored.truncate(usize::from(at)),
        Change::Append(ref bytes) => stored.extend_from_slice(bytes),
    }
}

fuzz_target!(|input: Input| {
    let (plain, sealed) = &*GOOD;
    let [one, two] = &sealed[usize::from(input.codec % 3)];
    let mut stored = one.clone();
    input.changes.iter().for_each(|change| apply(change, &mut stored, two));
    let (expected, keys) = (identity(), OneKey(KEY));
    let chunk = usize::from(input.chunk).max(16);
    let (released, _) = stream(&stored, chunk, &expected, &keys);
    assert!(plain.starts_with(&released), "something else than the truth was released");
    if let Ok(sought) = seek(&stored, Some(3000..9000), &expected, &keys) {
        assert_eq!(sought, plain[3000..9000]);
    }
    let good = stored == *one || stored == *two;
    assert_eq!(read_all_ways(&stored, chunk, &expected, &keys).is_some(), good);
});
