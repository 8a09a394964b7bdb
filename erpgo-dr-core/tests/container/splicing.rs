//! Whole segments moved, repeated, left out, or taken from another object.

use erpgo_dr_core::codec::Codec;
use erpgo_dr_core::container::ContainerError;

use crate::support::*;

/// Stored bytes of a full segment of 1024 bytes.
const SEGMENT: usize = 8 + 1040 + 32;
/// Header of an object with a name of one byte, and its tag.
const HEADER: usize = 82 + 1 + 32;
const TRAILER: usize = 80;

/// An object cut into header, body segments, index and trailer.
fn parts(name: &str, plain: &[u8]) -> Vec<Vec<u8>> {
    let stored = sealed(name, &options(Codec::None), plain);
    let (header, rest) = stored.split_at(HEADER);
    let (rest, trailer) = rest.split_at(rest.len() - TRAILER);
    let full = (plain.len() + 8 * plain.len().div_ceil(4096)) / 1024;
    let (body, index) = rest.split_at(full * SEGMENT);
    let mut parts = vec![header.to_vec()];
    parts.extend(body.chunks(SEGMENT).map(Vec::from));
    // The body's last, shorter segment and the index, of which both prefixes say the length.
    let last = 8 + (u32::from_le_bytes(index[4..8].try_into().unwrap()) & 0x7fff_ffff) as usize;
    parts.extend([index[..last].to_vec(), index[last..].to_vec(), trailer.to_vec()]);
    parts
}

fn refused(parts: &[Vec<u8>], truth: &[u8], what: &str) -> ContainerError {
    let stored = parts.concat();
    block_on(seek(&stored, &identity("a"), &keys())).expect_err(what);
    assert_refused(&stored, "a", truth, what)
}

#[test]
fn the_parts_are_the_whole() {
    let truth = sample(10_000, 1);
    let parts = parts("a", &truth);
    assert_eq!(parts.len(), 1 + 10 + 1 + 1);
    let (released, outcome) = block_on(stream(&parts.concat(), 999, &identity("a"), &keys()));
    outcome.unwrap();
    assert!(released == truth);
}

#[test]
fn segments_in_another_order() {
    let truth = sample(10_000, 1);
    let parts = parts("a", &truth);
    for one in 1..parts.len() {
        for two in one + 1..parts.len() {
            let mut swapped = parts.clone();
            swapped.swap(one, two);
            refused(&swapped, &truth, &format!("parts {one} and {two} swapped"));
        }
    }
}

#[test]
fn segments_repeated_or_left_out() {
    let truth = sample(10_000, 1);
    let parts = parts("a", &truth);
    for at in 0..parts.len() {
        let mut without = parts.clone();
        without.remove(at);
        refused(&without, &truth, &format!("part {at} left out"));
        let mut twice = parts.clone();
        twice.insert(at, parts[at].clone());
        refused(&twice, &truth, &format!("part {at} twice"));
        for to in at + 1..parts.len() {
            let mut shorter = parts.clone();
            shorter.drain(at..to);
            refused(&shorter, &truth, &format!("parts {at} to {to} left out"));
        }
    }
}

#[test]
fn segments_renumbered_to_stand_elsewhere() {
    let truth = sample(10_000, 1);
    let mut parts = parts("a", &truth);
    let (one, two) = (parts[2].clone(), parts[3].clone());
    parts[2] = [&one[..8], &two[8..]].concat();
    parts[3] = [&two[..8], &one[8..]].concat();
    let error = refused(&parts, &truth, "segments that say another number");
    assert!(matches!(error, ContainerError::Crypto { .. }), "{error:?}");
}

#[test]
fn a_last_flag_set_or_cleared() {
    let truth = sample(10_000, 1);
    let parts = parts("a", &truth);
    for at in 1..parts.len() - 1 {
        let mut flagged = parts.clone();
        flagged[at][7] ^= 0x80;
        refused(&flagged, &truth, &format!("the last flag of part {at} turned"));
    }
    // An early end that is made to look whole: the flag is set, and what follows is left out.
    let mut early = parts;
    early[5][7] |= 0x80;
    early.drain(6..12);
    refused(&early, &truth, "an early end");
}

#[test]
fn parts_of_another_object_of_the_same_name_and_key() {
    let (truth, other) = (sample(10_000, 1), sample(10_000, 2));
    let (mine, theirs) = (parts("a", &truth), parts("a", &other));
    assert_eq!(mine.len(), theirs.len());
    for at in 0..mine.len() {
        let mut mixed = mine.clone();
        mixed[at].clone_from(&theirs[at]);
        refused(&mixed, &truth, &format!("part {at} of another object"));
        let mut joined = mine.clone();
        joined[at..].clone_from_slice(&theirs[at..]);
        if at > 0 {
            refused(&joined, &truth, &format!("all of another object from part {at} on"));
        }
    }
}

#[test]
fn two_objects_that_changed_places() {
    let (one, two) = (sealed("a", &options(Codec::None), b"one"), sealed("b", &options(Codec::None), b"two"));
    for (stored, name) in [(one, "b"), (two, "a")] {
        let error = assert_refused(&stored, name, b"", "another object");
        assert!(matches!(error, ContainerError::WrongObject { .. }), "{error:?}");
    }
}
